//! Places in a timeline, and how people name them.

use stackvm_machine::Instant;
use stackvm_machine::instant::{TICKS_PER_NS, Ticks};

use crate::branch::BranchId;
use crate::timeline::NoSuchInstant;

/// A place in a timeline: a branch at an instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// Which branch.
    pub branch: BranchId,
    /// When. An instant before the branch's fork point is in an ancestor.
    pub at: Instant,
    /// How many of the branch's own entries have been put in. `None` is all of those at or before
    /// `at`.
    pub entries: Option<u64>,
}

/// An instant as people write it: `83.5`, `1:23.5`, `50%`, `#mark`, `123456.0625ns`, `@N`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    /// An instant counted from the machine's start.
    Exact(Instant),
    /// Time from the beginning of the recording, in ticks.
    Elapsed(Ticks),
    /// A part of the whole, in millionths.
    Part(u32),
    /// A mark's name.
    Mark(String),
    /// Right after the N-th input of the branch's whole path, counted from 1.
    Entry(u64),
}

impl When {
    /// Reads what people write: `83.5` (seconds), `1:23.5`, `1:02:03` (from the beginning of the
    /// recording), `50%`, `#mark`, `123456.0625ns` (an exact instant), `@N` (after the N-th input).
    ///
    /// # Errors
    /// What is wrong, and what is possible.
    pub fn parse(text: &str) -> Result<When, NoSuchInstant> {
        let text = text.trim();
        let parsed = if let Some(name) = text.strip_prefix('#') {
            if name.is_empty() { None } else { Some(When::Mark(name.to_owned())) }
        } else if let Some(number) = text.strip_prefix('@') {
            number.parse().ok().filter(|_| digits(number)).filter(|n| *n > 0).map(When::Entry)
        } else if let Some(part) = text.strip_suffix('%') {
            fixed(part, 4).filter(|part| *part <= 1_000_000).map(|part| When::Part(part as u32))
        } else if let Some(ns) = text.strip_suffix("ns") {
            fixed(ns.trim_end(), 4).and_then(exact).map(When::Exact)
        } else {
            elapsed(text).map(When::Elapsed)
        };
        parsed.ok_or_else(|| {
            NoSuchInstant(format!(
                "{text:?} is no instant: 83.5 or 1:23.5 (seconds from the beginning), 50%, #MARK, \
                 123456.0625ns (in sixteenths), or @N (after the Nth input)"
            ))
        })
    }
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number with at most so many decimals, times ten to their power.
fn fixed(text: &str, decimals: usize) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(part) || part.len() > decimals || whole.len() > 20 {
        return None;
    }
    let part = format!("{part:0<decimals$}");
    let whole: u128 = whole.parse().ok()?;
    Some(whole * 10u128.pow(decimals as u32) + part.parse::<u128>().ok()?)
}

/// An instant from ten-thousandths of a nanosecond, of which a tick has 625.
fn exact(parts: u128) -> Option<Instant> {
    if !parts.is_multiple_of(625) {
        return None;
    }
    u64::try_from(parts / 625).ok().map(Instant::from_ticks)
}

/// `[[H:]M:]S[.decimals]`.
fn elapsed(text: &str) -> Option<Ticks> {
    let mut fields = text.rsplit(':');
    let mut ns = fixed(fields.next()?, 9)?;
    let mut unit = 60_000_000_000u128;
    let mut count = 0;
    for field in fields {
        count += 1;
        if count > 2 || !digits(field) || field.len() > 9 {
            return None;
        }
        ns += field.parse::<u128>().ok()? * unit;
        unit *= 60;
    }
    u64::try_from(ns * u128::from(TICKS_PER_NS)).ok().map(Ticks::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        let check = |text: &str, expected| assert_eq!(When::parse(text), Ok(expected), "{text}");
        check("83.5", When::Elapsed(Ticks::from_ns(83_500_000_000)));
        check("1:23.5", When::Elapsed(Ticks::from_ns(83_500_000_000)));
        check("1:02:03", When::Elapsed(Ticks::from_ns(3_723_000_000_000)));
        check("0", When::Elapsed(Ticks::new(0)));
        check("0.000000001", When::Elapsed(Ticks::from_ns(1)));
        check("50%", When::Part(500_000));
        check("33.3333%", When::Part(333_333));
        check("#before the crash", When::Mark("before the crash".to_owned()));
        check("123456.0625ns", When::Exact(Instant::from_ticks(123_456 * 16 + 1)));
        check("7ns", When::Exact(Instant::from_ns(7)));
        check("@3", When::Entry(3));
    }

    #[test]
    fn what_is_no_instant_is_refused_with_what_is() {
        for text in [
            "",
            "x",
            "-1",
            "1.",
            ".5",
            "1:",
            ":1",
            "1:2:3:4",
            "101%",
            "%",
            "#",
            "@",
            "@0",
            "@-1",
            "@+1",
            "1.01ns",
            "ns",
            "1e9",
            "1.0000000001",
            "99999999999999999999",
            "184467440738",
        ] {
            let error = When::parse(text).expect_err(text);
            assert!(error.0.contains(text) && error.0.contains("#MARK"), "{error}");
        }
    }

    #[test]
    fn instants_are_read_as_they_are_printed() {
        for ticks in [0, 1, 15, 16, 24, 123_456_789, u64::MAX] {
            let at = Instant::from_ticks(ticks);
            assert_eq!(When::parse(&at.to_string()), Ok(When::Exact(at)));
        }
    }
}
