//! What a sequence left behind, as the guest sends it: a count of 64-bit words, then the words.
//! In a full record these are index, `x1`–`x31`, `f0`–`f31`, `fcsr`, hash of the memory, bytes of
//! trap log, and the log: cause, value, pc, status of each trap.

use std::fmt::Write;

use crate::runtime::LOGGED_IN_S;

/// Words before the trap log.
pub(crate) const WORDS_FIXED: u64 = 67;
pub(crate) const LOG_ENTRY_WORDS: u64 = 4;
/// A sequence ends after this many traps.
pub(crate) const TRAPS_MAX: u64 = 64;

/// Splits a UART stream into records.
pub(crate) fn parse(stream: &[u8]) -> Result<Vec<Vec<u64>>, String> {
    let mut words = stream.chunks(8).map(|bytes| match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => Ok(u64::from_le_bytes(bytes)),
        Err(_) => Err(format!("stream of {} bytes ends in the middle of a word", stream.len())),
    });
    let mut records = Vec::new();
    while let Some(count) = words.next() {
        let count = count? as usize;
        let record: Vec<u64> = words.by_ref().take(count).collect::<Result<_, _>>()?;
        if record.len() < count {
            return Err(format!("record {} ends after {} words", records.len(), record.len()));
        }
        records.push(record);
    }
    Ok(records)
}

/// Where two full records differ, one line for each difference.
pub(crate) fn difference(ours: &[u64], oracle: &[u64]) -> String {
    let mut text = String::new();
    for at in 0..ours.len().max(oracle.len()) {
        let (mine, theirs) = (ours.get(at), oracle.get(at));
        if mine != theirs {
            let show = |word: Option<&u64>| word.map_or("-".into(), |word| format!("{word:#x}"));
            let _ = writeln!(text, "  {}: ours {} oracle {}", name(at), show(mine), show(theirs));
        }
    }
    text
}

/// The trap log of a full record, one line for each trap.
pub(crate) fn traps(record: &[u64]) -> String {
    let mut text = String::new();
    for trap in record.iter().skip(WORDS_FIXED as usize).collect::<Vec<_>>().chunks(4) {
        if let [cause, value, pc, status] = trap {
            let mode = if **cause & LOGGED_IN_S == 0 { 'M' } else { 'S' };
            let cause = **cause & !LOGGED_IN_S;
            let _ = writeln!(
                text,
                "  {mode}: cause {cause} value {value:#x} pc {pc:#x} status {status:#x}"
            );
        }
    }
    text
}

/// Cause, value and pc of the traps of a full record, whichever mode took them.
pub(crate) fn trap_entries(record: &[u64]) -> impl Iterator<Item = (u64, u64, u64)> {
    let log = record.get(WORDS_FIXED as usize..).unwrap_or_default();
    log.chunks_exact(LOG_ENTRY_WORDS as usize)
        .map(|trap| (trap[0] & !LOGGED_IN_S, trap[1], trap[2]))
}

fn name(word: usize) -> String {
    match word {
        0 => "index".into(),
        1..32 => format!("x{word}"),
        32..64 => format!("f{}", word - 32),
        64 => "fcsr".into(),
        65 => "memory hash".into(),
        66 => "log bytes".into(),
        _ => {
            let (entry, part) = ((word - 67) / 4, (word - 67) % 4);
            format!("trap {entry} {}", ["cause", "value", "pc", "status"][part])
        }
    }
}
