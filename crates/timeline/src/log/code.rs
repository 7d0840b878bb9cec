//! How one entry is written: a byte for kind and place, the difference in time, the rest.

use stackvm_machine::{ConsoleId, Input, Instant, NicId, PortId};

use super::UNIT_TICKS;
use crate::event::{ActorId, Entry, Event};
use crate::limits::DATA_BYTES_MAX;

/// Kinds, in the low four bits of the first byte.
mod kind {
    pub(super) const ACTOR: u8 = 0;
    pub(super) const KEY: u8 = 1;
    pub(super) const CONSOLE: u8 = 2;
    pub(super) const RESIZE: u8 = 3;
    pub(super) const PORT_OPEN: u8 = 4;
    pub(super) const PORT_CLOSE: u8 = 5;
    pub(super) const PORT: u8 = 6;
    pub(super) const FRAME: u8 = 7;
    pub(super) const RATE: u8 = 8;
    pub(super) const IDENTITY: u8 = 9;
    pub(super) const RESET: u8 = 10;
}

/// Bit 7 of the first byte: the difference in time is in ticks, not units.
const IN_TICKS: u8 = 0x80;
/// A place that does not fit into three bits: a byte with it follows.
const PLACE_FOLLOWS: u8 = 7;
const NOT_SHORTEST: &str = "a number is not in its shortest form";

/// A terminal, port or network interface: three bits of the first byte, and another byte if they
/// are not enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(u16);

impl Place {
    pub(crate) fn of_console(console: ConsoleId) -> Place {
        match console {
            ConsoleId::Serial => Place(0),
            ConsoleId::Hvc(n) => Place(u16::from(n) + 1),
        }
    }

    pub(crate) fn console(self) -> Result<ConsoleId, String> {
        match self.0 {
            0 => Ok(ConsoleId::Serial),
            n => u8::try_from(n - 1).map(ConsoleId::Hvc).map_err(|_| "no such console".to_owned()),
        }
    }

    fn number(self) -> Result<u8, String> {
        u8::try_from(self.0).map_err(|_| "no such port or interface".to_owned())
    }

    /// Its bits of the first byte.
    pub(crate) fn bits(self) -> u8 {
        u8::try_from(self.0).map_or(PLACE_FOLLOWS, |n| n.min(PLACE_FOLLOWS)) << 4
    }

    /// What follows the first byte.
    pub(crate) fn put(self, out: &mut Vec<u8>) {
        if let Some(rest) = self.0.checked_sub(u16::from(PLACE_FOLLOWS)) {
            put_varint(u64::from(rest), out);
        }
    }

    pub(crate) fn read(first: u8, reader: &mut Reader<'_>) -> Result<Place, String> {
        match first >> 4 & 7 {
            PLACE_FOLLOWS => {
                let rest = reader.varint()?;
                let rest = u8::try_from(rest).map_err(|_| "no such place".to_owned())?;
                Ok(Place(u16::from(rest) + u16::from(PLACE_FOLLOWS)))
            }
            n => Ok(Place(u16::from(n))),
        }
    }
}

/// Seven bits to a byte, the lowest first; bit 7 says that more follow.
pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The time from `before` to `at`: its bit of the first byte, and its number.
pub(crate) fn put_difference(before: Instant, at: Instant) -> (u8, u64) {
    let ticks = at.since(before).get();
    if ticks.is_multiple_of(UNIT_TICKS) { (0, ticks / UNIT_TICKS) } else { (IN_TICKS, ticks) }
}

/// Reads bytes that may be anything.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, offset: 0 }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset as u64
    }

    pub(crate) fn rest(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Nothing more is read.
    pub(crate) fn end(&mut self) {
        self.offset = self.bytes.len();
    }

    pub(crate) fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let bytes = self.bytes[self.offset..].get(..count).ok_or("an entry is cut off")?;
        self.offset += count;
        Ok(bytes)
    }

    fn long(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("8 bytes")))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err("a number is too large".to_owned());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(NOT_SHORTEST.to_owned())
                } else {
                    Ok(value)
                };
            }
        }
        Err("a number is too long".to_owned())
    }

    /// A number of 16 bits.
    pub(crate) fn short(&mut self) -> Result<u16, String> {
        u16::try_from(self.varint()?).map_err(|_| "a number is too large".to_owned())
    }

    /// The instant that comes after `before`, by the first byte and what follows here.
    pub(crate) fn instant(&mut self, first: u8, before: Instant) -> Result<Instant, String> {
        let number = self.varint()?;
        let ticks = if first & IN_TICKS == 0 {
            number.checked_mul(UNIT_TICKS)
        } else if number.is_multiple_of(UNIT_TICKS) {
            return Err(NOT_SHORTEST.to_owned());
        } else {
            Some(number)
        };
        let at = ticks.and_then(|ticks| before.ticks().checked_add(ticks));
        at.map(Instant::from_ticks).ok_or_else(|| "an instant is too large".to_owned())
    }

    /// A length and so many bytes.
    pub(crate) fn data(&mut self) -> Result<Vec<u8>, String> {
        let length = self.varint()?;
        if length > DATA_BYTES_MAX as u64 {
            return Err(format!("{length} bytes of data: at most {DATA_BYTES_MAX}"));
        }
        Ok(self.take(length as usize)?.to_vec())
    }
}

/// Bytes that a key makes are so common that their length is not written.
fn console_kind(bytes: &[u8]) -> u8 {
    if bytes.len() == 1 { kind::KEY } else { kind::CONSOLE }
}

fn put_data(bytes: &[u8], out: &mut Vec<u8>) {
    assert!(bytes.len() <= DATA_BYTES_MAX, "{} bytes in one entry", bytes.len());
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn kind_and_place(event: &Event) -> (u8, Place) {
    let numbered = |n: u8| Place(u16::from(n));
    match event {
        Event::Input(Input::Console { console, bytes }) => {
            (console_kind(bytes), Place::of_console(*console))
        }
        Event::Input(Input::Resize { console, .. }) => (kind::RESIZE, Place::of_console(*console)),
        Event::Input(Input::PortOpen { port }) => (kind::PORT_OPEN, numbered(port.0)),
        Event::Input(Input::PortClose { port }) => (kind::PORT_CLOSE, numbered(port.0)),
        Event::Input(Input::Port { port, .. }) => (kind::PORT, numbered(port.0)),
        Event::Input(Input::Frame { nic, .. }) => (kind::FRAME, numbered(nic.0)),
        Event::Input(Input::Rate { .. }) => (kind::RATE, Place(0)),
        Event::Input(Input::Identity { .. }) => (kind::IDENTITY, Place(0)),
        Event::Reset { .. } => (kind::RESET, Place(0)),
    }
}

/// Writes an entry that comes after another at `before` from `actor`.
pub(super) fn write_entry(entry: &Entry, before: Instant, actor: ActorId, out: &mut Vec<u8>) {
    if entry.actor != actor {
        out.push(kind::ACTOR);
        put_varint(u64::from(entry.actor.0), out);
    }
    let (kind, place) = kind_and_place(&entry.event);
    let (in_ticks, difference) = put_difference(before, entry.at);
    out.push(in_ticks | place.bits() | kind);
    place.put(out);
    put_varint(difference, out);
    match &entry.event {
        Event::Input(input) => match input {
            Input::Console { bytes, .. } if kind == kind::KEY => out.push(bytes[0]),
            Input::Console { bytes, .. }
            | Input::Port { bytes, .. }
            | Input::Frame { bytes, .. } => {
                put_data(bytes, out);
            }
            Input::Resize { columns, rows, .. } => {
                put_varint(u64::from(*columns), out);
                put_varint(u64::from(*rows), out);
            }
            Input::PortOpen { .. } | Input::PortClose { .. } => {}
            Input::Rate { ticks } => put_varint(u64::from(*ticks), out),
            Input::Identity { seed, rtc_ns } => {
                out.extend_from_slice(&seed.to_le_bytes());
                out.extend_from_slice(&rtc_ns.to_le_bytes());
            }
        },
        Event::Reset { seed, rtc_ns } => {
            out.extend_from_slice(&seed.to_le_bytes());
            out.extend_from_slice(&rtc_ns.to_le_bytes());
        }
    }
}

/// Reads an entry that comes after another at `before` from `actor`; the first of a block has no
/// difference to it.
pub(super) fn read_entry(
    reader: &mut Reader<'_>,
    before: Instant,
    mut actor: ActorId,
    first_of_block: bool,
) -> Result<Entry, String> {
    let mut first = reader.byte()?;
    if first == kind::ACTOR {
        let changed = ActorId(reader.short()?);
        if changed == actor {
            return Err("an actor change that changes nothing".to_owned());
        }
        actor = changed;
        first = reader.byte()?;
    }
    let place = Place::read(first, reader)?;
    let at = reader.instant(first, before)?;
    if first_of_block && at != before {
        return Err("a block's first entry is not at the block's instant".to_owned());
    }
    let event = read_event(first & 0xf, place, reader)?;
    Ok(Entry { at, actor, event })
}

fn read_event(kind: u8, place: Place, reader: &mut Reader<'_>) -> Result<Event, String> {
    let port = || place.number().map(PortId);
    let input = match kind {
        kind::KEY => Input::Console { console: place.console()?, bytes: vec![reader.byte()?] },
        kind::CONSOLE => {
            let bytes = reader.data()?;
            if bytes.len() == 1 {
                return Err(NOT_SHORTEST.to_owned());
            }
            Input::Console { console: place.console()?, bytes }
        }
        kind::RESIZE => Input::Resize {
            console: place.console()?,
            columns: reader.short()?,
            rows: reader.short()?,
        },
        kind::PORT_OPEN => Input::PortOpen { port: port()? },
        kind::PORT_CLOSE => Input::PortClose { port: port()? },
        kind::PORT => Input::Port { port: port()?, bytes: reader.data()? },
        kind::FRAME => Input::Frame { nic: NicId(place.number()?), bytes: reader.data()? },
        kind::RATE | kind::IDENTITY | kind::RESET if place != Place(0) => {
            return Err("a place where there is none".to_owned());
        }
        kind::RATE => {
            let ticks = reader.varint()?;
            if !ticks.is_power_of_two() || ticks > 1024 {
                return Err(format!("a rate of {ticks} ticks: a power of two from 1 to 1024"));
            }
            Input::Rate { ticks: ticks as u32 }
        }
        kind::IDENTITY => Input::Identity { seed: reader.long()?, rtc_ns: reader.long()? },
        kind::RESET => {
            return Ok(Event::Reset { seed: reader.long()?, rtc_ns: reader.long()? });
        }
        kind => return Err(format!("unknown kind of entry {kind}")),
    };
    Ok(Event::Input(input))
}
