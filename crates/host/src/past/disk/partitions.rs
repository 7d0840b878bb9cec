//! Partition tables: where the parts of a disk are. MBR (primary partitions) and GPT.

use std::io;

/// Bytes in the sectors that partition tables count.
const SECTOR_BYTES: u64 = 512;
/// Most entries of a GPT that are looked at.
const GPT_ENTRIES_MAX: u32 = 128;
/// MBR type of the entry that stands for a GPT.
const GPT_PROTECTIVE: u8 = 0xee;

/// A part of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Its number, from 1; 0 is the whole disk.
    pub(super) number: u32,
    /// Where it begins.
    pub(super) start_bytes: u64,
    /// Its size.
    pub(super) size_bytes: u64,
}

/// The partitions of a disk of `disk_bytes`; none without a table that makes sense. Those that
/// reach behind the disk's end are left out.
pub(super) fn partitions(
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    disk_bytes: u64,
) -> Vec<Part> {
    let mut mbr = [0; SECTOR_BYTES as usize];
    if read(0, &mut mbr).is_err() || mbr[510..] != [0x55, 0xaa] {
        return Vec::new();
    }
    let entries = mbr[446..510].chunks_exact(16).zip(1_u32..);
    if entries.clone().any(|(entry, _)| entry[4] == GPT_PROTECTIVE) {
        return gpt(read, disk_bytes).unwrap_or_default();
    }
    entries
        .filter(|(entry, _)| entry[4] != 0)
        .filter_map(|(entry, number)| {
            let (first, count) = (u64::from(u32_at(entry, 8)), u64::from(u32_at(entry, 12)));
            part(number, first, count, disk_bytes)
        })
        .collect()
}

fn gpt(
    read: &mut dyn FnMut(u64, &mut [u8]) -> io::Result<()>,
    disk_bytes: u64,
) -> io::Result<Vec<Part>> {
    let mut header = [0; SECTOR_BYTES as usize];
    read(SECTOR_BYTES, &mut header)?;
    let (count, size) = (u32_at(&header, 80).min(GPT_ENTRIES_MAX), u32_at(&header, 84));
    if &header[..8] != b"EFI PART" || !(128..=SECTOR_BYTES as u32).contains(&size) {
        return Ok(Vec::new());
    }
    let mut parts = Vec::new();
    let table = u64_at(&header, 72).checked_mul(SECTOR_BYTES);
    for (index, number) in (0..count).zip(1..) {
        let at = table.and_then(|table| table.checked_add(u64::from(index) * u64::from(size)));
        let Some(at) = at else { break };
        let mut entry = [0; 128];
        if read(at, &mut entry).is_err() {
            break;
        }
        // A type of zeroes is an unused entry.
        if entry[..16] == [0; 16] {
            continue;
        }
        let (first, last) = (u64_at(&entry, 32), u64_at(&entry, 40));
        let sectors = last.checked_sub(first).and_then(|rest| rest.checked_add(1));
        parts.extend(sectors.and_then(|sectors| part(number, first, sectors, disk_bytes)));
    }
    Ok(parts)
}

fn part(number: u32, first: u64, sectors: u64, disk_bytes: u64) -> Option<Part> {
    let start_bytes = first.checked_mul(SECTOR_BYTES)?;
    let size_bytes = sectors.checked_mul(SECTOR_BYTES)?;
    let end = start_bytes.checked_add(size_bytes)?;
    let fits = first > 0 && sectors > 0 && end <= disk_bytes;
    fits.then_some(Part { number, start_bytes, size_bytes })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK_BYTES: u64 = 64 << 10;

    fn seen(disk: &[u8]) -> Vec<(u32, u64, u64)> {
        let read = &mut |at: u64, buf: &mut [u8]| {
            let at = usize::try_from(at).map_err(io::Error::other)?;
            let end = at.checked_add(buf.len()).filter(|end| *end <= disk.len());
            let Some(end) = end else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            buf.copy_from_slice(&disk[at..end]);
            Ok(())
        };
        let parts = partitions(read, disk.len() as u64);
        parts.iter().map(|part| (part.number, part.start_bytes, part.size_bytes)).collect()
    }

    fn mbr(entries: &[(usize, u8, u32, u32)]) -> Vec<u8> {
        let mut disk = vec![0; DISK_BYTES as usize];
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        for &(index, kind, first, count) in entries {
            let entry = &mut disk[446 + 16 * index..][..16];
            entry[4] = kind;
            entry[8..12].copy_from_slice(&first.to_le_bytes());
            entry[12..].copy_from_slice(&count.to_le_bytes());
        }
        disk
    }

    fn gpt(entries: &[(usize, u64, u64)], size: u32) -> Vec<u8> {
        let mut disk = mbr(&[(0, GPT_PROTECTIVE, 1, 127)]);
        let header = &mut disk[512..1024];
        header[..8].copy_from_slice(b"EFI PART");
        header[72..80].copy_from_slice(&2_u64.to_le_bytes());
        header[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
        header[84..88].copy_from_slice(&size.to_le_bytes());
        for &(index, first, last) in entries {
            let entry = &mut disk[1024 + size as usize * index..][..128];
            entry[0] = 1;
            entry[32..40].copy_from_slice(&first.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
        }
        disk
    }

    #[test]
    fn parts_are_where_the_tables_say() {
        let check = |disk: &[u8], parts: &[(u32, u64, u64)]| assert_eq!(seen(disk), parts);
        check(&mbr(&[(0, 0x83, 8, 16), (2, 0x83, 64, 64)]), &[(1, 4096, 8192), (3, 32768, 32768)]);
        check(&gpt(&[(0, 40, 55), (3, 56, 127)], 128), &[(1, 20480, 8192), (4, 28672, 36864)]);
        check(&gpt(&[(1, 40, 40)], 512), &[(2, 20480, 512)]);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let check = |disk: &[u8]| assert_eq!(seen(disk), []);
        check(&[]);
        check(&[0; 512]);
        check(&vec![0; DISK_BYTES as usize]);
        check(&mbr(&[(0, 0x83, 8, 1000), (1, 0x83, u32::MAX, u32::MAX), (2, 0x83, 0, 8)]));
        check(&gpt(&[(0, 40, 20), (1, 0, u64::MAX), (2, u64::MAX, u64::MAX)], 128));
        check(&gpt(&[(0, 40, 55)], 7));
        check(&gpt(&[(0, 40, 55)], 128)[..1024]);
        let mut far = gpt(&[(0, 40, 55)], 128);
        far[512 + 72..512 + 80].copy_from_slice(&u64::MAX.to_le_bytes());
        check(&far);
    }
}
