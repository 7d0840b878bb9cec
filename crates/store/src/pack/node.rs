//! How nodes of trees are written into a pack: runs instead of 16 KiB of digests, and differences
//! from other nodes. The format is described in [`super`].

use stackvm_machine::digest::{Digest, FAN_OUT};

use super::varint::{self, Input};

/// Differences that lead from a node to one that is stored in full, at most, as written here.
pub(crate) const DEPTH_MAX: u32 = 8;

/// A node's children.
pub(crate) type Children = [Digest; FAN_OUT];

/// A node as it is stored.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Record {
    /// Differences up to a node that is stored in full; 0 for one that is.
    pub(crate) depth: u32,
    /// What it is a difference from.
    pub(crate) base: Option<Reference>,
    /// All children with their slots, or with a base those that differ from it.
    pub(crate) children: Vec<(usize, Reference)>,
}

/// How a chunk is named inside a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reference {
    /// It is one of zeroes.
    Zero,
    /// A chunk of the same pack: twice its number, plus one for nodes.
    Own(u64),
    /// Any chunk.
    Digest(Digest),
}

const ZERO: u64 = 0;
const OWN: u64 = 1;
const DIGESTS: u64 = 2;
const KEEP: u64 = 3;

/// Writes a node. `own` knows the chunks of the pack; `base` is given with its children and its
/// own depth.
pub(crate) fn encode(
    children: &Children,
    base: Option<(&Digest, &Children, u32)>,
    own: impl Fn(&Digest) -> Option<u64>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    match base {
        None => varint::put(&mut bytes, 0),
        Some((id, _, depth)) => {
            varint::put(&mut bytes, u64::from(depth) + 1);
            match own(id) {
                Some(reference) => varint::put(&mut bytes, reference + 1),
                None => {
                    varint::put(&mut bytes, 0);
                    bytes.extend_from_slice(id.as_bytes());
                }
            }
        }
    }
    let kinds: Vec<(u64, u64)> = (0..FAN_OUT)
        .map(|slot| match base {
            Some((_, before, _)) if before[slot] == children[slot] => (KEEP, 0),
            _ if children[slot] == Digest::ZERO => (ZERO, 0),
            _ => own(&children[slot]).map_or((DIGESTS, 0), |reference| (OWN, reference)),
        })
        .collect();
    let mut slot = 0;
    while slot < FAN_OUT {
        let (kind, first) = kinds[slot];
        let same = |&(index, &(other, reference)): &(usize, &(u64, u64))| {
            other == kind && (kind != OWN || reference == first + 2 * index as u64)
        };
        let count = kinds[slot..].iter().enumerate().take_while(same).count();
        varint::put(&mut bytes, (count as u64) << 2 | kind);
        match kind {
            OWN => varint::put(&mut bytes, first),
            DIGESTS => {
                let digests = &children[slot..slot + count];
                bytes.extend(digests.iter().flat_map(|digest| digest.as_bytes()));
            }
            _ => {}
        }
        slot += count;
    }
    bytes
}

/// The depth that a node's record says.
pub(crate) fn depth(record: &[u8]) -> Option<u32> {
    u32::try_from(Input(record).number()?).ok()
}

/// Reads a node; says what is wrong with it otherwise.
pub(crate) fn decode(record: &[u8]) -> Result<Record, &'static str> {
    let mut input = Input(record);
    let short = "the node is cut off";
    let depth = u32::try_from(input.number().ok_or(short)?).map_err(|_| "an absurd depth")?;
    let base = match depth {
        0 => None,
        _ => Some(match input.number().ok_or(short)? {
            0 => Reference::Digest(digest(&mut input).ok_or(short)?),
            reference => Reference::Own(reference - 1),
        }),
    };
    let mut children = Vec::new();
    let mut slot = 0;
    while slot < FAN_OUT {
        let head = input.number().ok_or(short)?;
        let (count, kind) = ((head >> 2) as usize, head & 3);
        if count == 0 || count > FAN_OUT - slot {
            return Err("a run of children of an impossible length");
        }
        let first = if kind == OWN { input.number().ok_or(short)? } else { 0 };
        for index in 0..count {
            let child = match kind {
                KEEP if base.is_none() => {
                    return Err("a kept child without a node to keep it from");
                }
                KEEP => continue,
                ZERO => Reference::Zero,
                OWN => Reference::Own(first + 2 * index as u64),
                _ => Reference::Digest(digest(&mut input).ok_or(short)?),
            };
            children.push((slot + index, child));
        }
        slot += count;
    }
    if !input.0.is_empty() {
        return Err("bytes behind the node");
    }
    Ok(Record { depth, base, children })
}

fn digest(input: &mut Input<'_>) -> Option<Digest> {
    Some(Digest::from_bytes(input.bytes(32)?.try_into().ok()?))
}

/// A node's chunk as its children.
pub(crate) fn children_of(bytes: &[u8]) -> Option<Box<Children>> {
    if bytes.len() != FAN_OUT * 32 {
        return None;
    }
    let mut children = Box::new([Digest::ZERO; FAN_OUT]);
    for (child, bytes) in children.iter_mut().zip(bytes.chunks_exact(32)) {
        *child = Digest::from_bytes(bytes.try_into().expect("32 bytes"));
    }
    Some(children)
}

/// A node's chunk from its children.
pub(crate) fn chunk_of(children: &Children) -> Vec<u8> {
    children.iter().flat_map(|child| *child.as_bytes()).collect()
}
