//! Which instructions are compiled together.
//!
//! A region is code of one page that is reached from where it is hot, as far as it ever ran:
//! segments, each a straight run that is entered at its beginning alone and left at its end, or by
//! a branch out of the region.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stackvm_riscv::native::{Code, Op, Source};

const PAGE_BYTES: u16 = 4096;

/// A straight run of instructions.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Where it begins in the page.
    pub(crate) offset: u16,
    /// Never empty; [`Op::n`] counts to the segment's end.
    pub(crate) ops: Vec<Op>,
    /// Offset behind the last instruction, which may be the page's end, or two bytes behind it.
    pub(crate) end: u16,
}

/// Where a direct jump or branch goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// An offset of the same page.
    Inside(u16),
    /// So many bytes from the beginning of this page.
    Beyond(i64),
}

/// Where a direct jump or branch goes.
pub(crate) fn target(op: &Op) -> Target {
    let at = op.offset() as i64 + i64::from(op.imm);
    match u16::try_from(at) {
        Ok(offset) if offset < PAGE_BYTES => Target::Inside(offset),
        _ => Target::Beyond(at),
    }
}

/// Whether its second half is on the next page.
pub(crate) fn straddles(op: &Op) -> bool {
    op.offset() + op.len() > PAGE_BYTES.into()
}

/// Whether it is a conditional branch.
pub(crate) fn is_branch(code: Code) -> bool {
    use Code::*;
    matches!(code, Beq | Bne | Blt | Bge | Bltu | Bgeu)
}

/// The segments of the region at [`Source::offset`], that one first, of `ops_max` instructions or
/// few more; none if its first instruction is on two pages. Code that is compiled already (of which
/// the table holds something else than `miss`) is left where it is.
pub(crate) fn build(source: &Source<'_>, miss: u64, ops_max: usize) -> Vec<Segment> {
    let (ops, leaders) = discover(source, miss, ops_max);
    let first = [source.offset];
    let rest = leaders.iter().copied().filter(|offset| *offset != source.offset);
    first.into_iter().chain(rest).filter_map(|offset| segment(&ops, &leaders, offset)).collect()
}

/// Instructions by offset, and where segments begin.
fn discover(source: &Source<'_>, miss: u64, ops_max: usize) -> (BTreeMap<u16, Op>, BTreeSet<u16>) {
    let ran = |offset: u16| {
        let slot = usize::from(offset) / 2;
        source.ran[slot] != 0 && source.entries[slot] == miss
    };
    let mut ops = BTreeMap::new();
    let mut leaders = BTreeSet::from([source.offset]);
    let mut queue = VecDeque::from([source.offset]);
    while let Some(mut offset) = queue.pop_front() {
        while offset < PAGE_BYTES && !ops.contains_key(&offset) && ops.len() < ops_max {
            let Some((op, end)) = source.decode(offset) else { break };
            ops.insert(offset, op);
            let direct = is_branch(op.code) || matches!(op.code, Code::J | Code::Jal);
            let inside = match target(&op) {
                Target::Inside(to) if direct && (ran(to) || leaders.contains(&to)) => Some(to),
                _ => None,
            };
            let ends = op.code.ends_block();
            let behind = (if ends { ran_at(end, ran) } else { inside.is_some() }).then_some(end);
            for leader in [inside, behind].into_iter().flatten() {
                if leaders.insert(leader) && (ends || leader != end) {
                    queue.push_back(leader);
                }
            }
            if ends {
                break;
            }
            offset = end;
        }
    }
    (ops, leaders)
}

fn ran_at(offset: u16, ran: impl Fn(u16) -> bool) -> bool {
    offset < PAGE_BYTES && ran(offset)
}

fn segment(ops: &BTreeMap<u16, Op>, leaders: &BTreeSet<u16>, offset: u16) -> Option<Segment> {
    let mut run = Vec::new();
    let mut end = offset;
    while let Some(op) = ops.get(&end) {
        run.push(*op);
        end += op.len() as u16;
        // `n` is a byte, and holds no more.
        if op.code.ends_block() || leaders.contains(&end) || run.len() == usize::from(u8::MAX) {
            break;
        }
    }
    for (rest, op) in run.iter_mut().rev().enumerate() {
        op.n = rest as u8 + 1;
    }
    (!run.is_empty()).then_some(Segment { offset, ops: run, end })
}

#[cfg(test)]
mod tests;
