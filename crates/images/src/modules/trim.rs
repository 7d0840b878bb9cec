//! Takes the symbols out of a kernel module that neither loading nor linking it needs.
//!
//! RISC-V modules carry a label for nearly every branch: five of the seven megabytes of `ext4`
//! are local symbols that no relocation names. They would be copied into the guest's memory,
//! then walked over by its module loader.

const SHT_SYMTAB: u32 = 2;
const SHT_RELA: u32 = 4;
const SHDR_BYTES: usize = 64;
const SYM_BYTES: usize = 24;
const RELA_BYTES: usize = 24;
/// Sections behind the symbols move by a multiple of this, which no section's alignment exceeds.
const ALIGNMENT: usize = 64;

/// Drops the unneeded symbols of a relocatable 64-bit little-endian ELF file. A file that is not
/// exactly as expected is left as it is.
pub(super) fn trim_symbols(file: &mut Vec<u8>) {
    if let Some(trimmed) = trimmed(file) {
        *file = trimmed;
    }
}

/// The fields of a section header that matter here.
#[derive(Clone, Copy)]
struct Section {
    header: usize,
    kind: u32,
    offset: usize,
    bytes: usize,
    link: u32,
}

fn trimmed(file: &[u8]) -> Option<Vec<u8>> {
    let identity = file.get(..6)?;
    if identity != b"\x7fELF\x02\x01" {
        return None;
    }
    let headers = usize::try_from(read(file, 0x28, 8)?).ok()?;
    let count = usize::try_from(read(file, 0x3c, 2)?).ok()?;
    let sections: Vec<Section> = (0..count)
        .map(|index| section(file, headers + index * SHDR_BYTES))
        .collect::<Option<_>>()?;
    let symbols_index = sections.iter().position(|section| section.kind == SHT_SYMTAB)?;
    let symbols = sections[symbols_index];
    let relocations: Vec<Section> = sections
        .iter()
        .filter(|section| section.kind == SHT_RELA && section.link as usize == symbols_index)
        .copied()
        .collect();
    let renumbered = renumber(file, symbols, &relocations)?;

    let mut out = file.to_vec();
    for section in &relocations {
        for entry in (section.offset..section.offset + section.bytes).step_by(RELA_BYTES) {
            let symbol = usize::try_from(read(file, entry + 12, 4)?).ok()?;
            write(&mut out, entry + 12, u64::from((*renumbered.get(symbol)?)?), 4);
        }
    }
    let (mut kept, mut locals) = (0, 0);
    for (index, place) in renumbered.iter().enumerate() {
        let Some(place) = place else { continue };
        let from = symbols.offset + index * SYM_BYTES;
        out.copy_within(from..from + SYM_BYTES, symbols.offset + *place as usize * SYM_BYTES);
        kept += 1;
        locals += u64::from(is_local(file, symbols, index)?);
    }
    write(&mut out, symbols.header + 0x20, (kept * SYM_BYTES) as u64, 8);
    write(&mut out, symbols.header + 0x2c, locals, 4);

    let gap = (renumbered.len() - kept) * SYM_BYTES / ALIGNMENT * ALIGNMENT;
    let end = symbols.offset + symbols.bytes;
    for section in sections.iter().filter(|section| section.offset >= end) {
        write(&mut out, section.header + 0x18, (section.offset - gap) as u64, 8);
    }
    if headers >= end {
        write(&mut out, 0x28, (headers - gap) as u64, 8);
    }
    out.drain(end - gap..end);
    Some(out)
}

/// For each symbol its new index, or `None` for those that go: local ones no relocation names.
fn renumber(file: &[u8], symbols: Section, relocations: &[Section]) -> Option<Vec<Option<u32>>> {
    let count = symbols.bytes / SYM_BYTES;
    let mut needed = vec![false; count];
    *needed.first_mut()? = true;
    for section in relocations {
        for entry in (section.offset..section.offset + section.bytes).step_by(RELA_BYTES) {
            *needed.get_mut(usize::try_from(read(file, entry + 12, 4)?).ok()?)? = true;
        }
    }
    let mut next = 0;
    let mut renumbered = Vec::with_capacity(count);
    for (index, needed) in needed.into_iter().enumerate() {
        let keep = needed || !is_local(file, symbols, index)?;
        renumbered.push(keep.then_some(next));
        next += u32::from(keep);
    }
    Some(renumbered)
}

fn is_local(file: &[u8], symbols: Section, index: usize) -> Option<bool> {
    Some(file.get(symbols.offset + index * SYM_BYTES + 4)? >> 4 == 0)
}

fn section(file: &[u8], header: usize) -> Option<Section> {
    file.get(header..header.checked_add(SHDR_BYTES)?)?;
    let section = Section {
        header,
        kind: u32::try_from(read(file, header + 4, 4)?).ok()?,
        offset: usize::try_from(read(file, header + 0x18, 8)?).ok()?,
        bytes: usize::try_from(read(file, header + 0x20, 8)?).ok()?,
        link: u32::try_from(read(file, header + 0x28, 4)?).ok()?,
    };
    let whole =
        section.bytes.is_multiple_of(SYM_BYTES) || ![SHT_SYMTAB, SHT_RELA].contains(&section.kind);
    let inside = section.kind == 8 || section.offset.checked_add(section.bytes)? <= file.len();
    (whole && inside).then_some(section)
}

fn read(file: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let mut value = [0; 8];
    value[..bytes].copy_from_slice(file.get(at..at.checked_add(bytes)?)?);
    Some(u64::from_le_bytes(value))
}

fn write(file: &mut [u8], at: usize, value: u64, bytes: usize) {
    file[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A relocatable file: symbols null, `.L0` (unneeded), `.L1` (relocated), `global`; then one
    /// relocation section behind the symbols. Enough padding symbols make the gap a whole unit.
    fn sample() -> Vec<u8> {
        let symbol = |bind: u8, value: u64| {
            let mut bytes = vec![0; 24];
            bytes[4] = bind << 4;
            bytes[8..16].copy_from_slice(&value.to_le_bytes());
            bytes
        };
        let mut symbols = [symbol(0, 0), symbol(0, 10), symbol(0, 11)].concat();
        for _ in 0..8 {
            symbols.extend(symbol(0, 99));
        }
        symbols.extend(symbol(1, 12));
        let rela = |index: u32| [&[0; 12][..], &index.to_le_bytes(), &[0; 8]].concat();
        let relocations = [rela(2), rela(11)].concat();
        let header = |kind: u32, offset: usize, bytes: usize, link: u32, info: u32| {
            let mut out = vec![0; 64];
            out[4..8].copy_from_slice(&kind.to_le_bytes());
            out[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
            out[0x20..0x28].copy_from_slice(&(bytes as u64).to_le_bytes());
            out[0x28..0x2c].copy_from_slice(&link.to_le_bytes());
            out[0x2c..0x30].copy_from_slice(&info.to_le_bytes());
            out
        };
        let (at, behind) = (64, 64 + symbols.len());
        let table = behind + relocations.len();
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
        file[0x3c] = 3;
        let headers = [
            header(0, 0, 0, 0, 0),
            header(SHT_SYMTAB, at, symbols.len(), 0, 11),
            header(SHT_RELA, behind, relocations.len(), 1, 0),
        ];
        [file, symbols, relocations, headers.concat()].concat()
    }

    #[test]
    fn unneeded_symbols_go_and_the_rest_is_renumbered() {
        let mut file = sample();
        let before = file.len();
        trim_symbols(&mut file);
        // Nine symbols of 24 bytes go: 216 bytes, of which 192 are a multiple of 64.
        assert_eq!(before - file.len(), 192);
        let headers = read(&file, 0x28, 8).expect("there") as usize;
        let symbols = section(&file, headers + 64).expect("there");
        assert_eq!(symbols.bytes, 3 * SYM_BYTES);
        assert_eq!(read(&file, symbols.header + 0x2c, 4), Some(2), "two of them are local");
        let value = |index: usize| read(&file, symbols.offset + index * SYM_BYTES + 8, 8);
        assert_eq!([value(0), value(1), value(2)], [Some(0), Some(11), Some(12)]);
        let relocations = section(&file, headers + 128).expect("there");
        let named = |index: usize| read(&file, relocations.offset + index * RELA_BYTES + 12, 4);
        assert_eq!([named(0), named(1)], [Some(1), Some(2)]);
    }

    #[test]
    fn other_files_stay_as_they_are() {
        let check = |file: &[u8]| {
            let mut copy = file.to_vec();
            trim_symbols(&mut copy);
            assert_eq!(copy, file);
        };
        check(b"");
        check(b"\x7fELF\x02\x01");
        let file = sample();
        check(&file[..file.len() - 1]);
        let mut wild = file.clone();
        let relocation = 64 + 12 * SYM_BYTES + 12;
        wild[relocation..relocation + 4].copy_from_slice(&500_u32.to_le_bytes());
        check(&wild);
    }
}
