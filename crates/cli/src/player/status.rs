//! The player's last line: where the recording is, and how it is played.

use stackvm_machine::instant::Ticks;

/// Cells of the bar, at least and at most.
const BAR_CELLS_MIN: usize = 8;
const BAR_CELLS_MAX: usize = 60;

/// What the player is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    /// Time passes.
    Playing,
    /// It does not.
    Paused,
    /// On the way to another place.
    Seeking,
    /// At the end.
    Ended,
    /// It cannot go on.
    Stuck,
}

/// What a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// The next input.
    Input,
    /// One instruction.
    Instruction,
}

/// What is shown.
#[derive(Clone, Debug)]
pub(crate) struct Status<'a> {
    /// What happens.
    pub(crate) doing: Doing,
    /// How far it is from the beginning.
    pub(crate) elapsed: Ticks,
    /// The whole.
    pub(crate) total: Ticks,
    /// The marks, counted from the beginning.
    pub(crate) marks: &'a [(Ticks, String)],
    /// The branch that is played.
    pub(crate) branch: &'a str,
    /// How fast.
    pub(crate) speed: f64,
    /// How much of a quiet stretch is played.
    pub(crate) limit: Option<Ticks>,
    /// The console that is shown, if it is not the first one.
    pub(crate) console: Option<&'a str>,
    /// What a step is.
    pub(crate) unit: Unit,
    /// Something to say instead of the bar.
    pub(crate) words: Option<&'a str>,
}

/// The line, exactly `columns` wide, without control characters.
pub(crate) fn line(status: &Status<'_>, columns: usize) -> String {
    let symbol = match status.doing {
        Doing::Playing => "▶",
        Doing::Paused => "❚❚",
        Doing::Seeking => "seeking…",
        Doing::Ended => "■",
        Doing::Stuck => "✖",
    };
    let left =
        format!(" {symbol} {} / {}", time(status.elapsed, status.unit), tenths(status.total));
    let mut right = String::new();
    for part in parts(status) {
        right += &format!("  {part}");
    }
    right += "  ? help ";
    let mut text = left;
    let room = columns.saturating_sub(width(&text) + width(&right) + 2);
    match status.words {
        Some(words) => text += &format!("  {words}"),
        None if room >= BAR_CELLS_MIN => {
            text += &format!("  {}", bar(status, room.min(BAR_CELLS_MAX)));
        }
        None => {}
    }
    let gap = columns.saturating_sub(width(&text) + width(&right));
    text += &" ".repeat(gap);
    text += &right;
    let mut fitted: String =
        text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(columns).collect();
    fitted += &" ".repeat(columns - width(&fitted));
    fitted
}

/// `1:23.4`, `1:02:03.4`: for people.
pub(crate) fn tenths(span: Ticks) -> String {
    let tenths = span.ns() / 100_000_000;
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let (minutes, hours) = (seconds / 60 % 60, seconds / 3600);
    match hours {
        0 => format!("{minutes}:{:02}.{tenth}", seconds % 60),
        _ => format!("{hours}:{minutes:02}:{:02}.{tenth}", seconds % 60),
    }
}

/// Where something is at `part` of `whole` on a bar of so many cells.
fn cell(part: Ticks, whole: Ticks, cells: usize) -> usize {
    if whole.get() == 0 {
        return cells;
    }
    let exact = u128::from(part.get()) * cells as u128 / u128::from(whole.get());
    (exact as usize).min(cells)
}

fn time(span: Ticks, unit: Unit) -> String {
    match unit {
        Unit::Input => tenths(span),
        // To the tick: one instruction is less than any decimal of seconds shows.
        Unit::Instruction => stackvm_machine::Instant::from_ticks(span.get()).to_string(),
    }
}

fn parts(status: &Status<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    let passed = status.marks.iter().rev().find(|(at, _)| *at <= status.elapsed);
    if let Some((_, name)) = passed {
        let short: String = name.chars().take(20).collect();
        parts.push(format!("#{short}"));
    }
    let short: String = status.branch.chars().take(24).collect();
    parts.push(short);
    parts.extend(status.console.map(str::to_owned));
    if status.speed != 1.0 {
        parts.push(format!("{}×", status.speed));
    }
    if let Some(limit) = status.limit {
        parts.push(format!("idle ≤ {}s", limit.ns() as f64 / 1e9));
    }
    if status.unit == Unit::Instruction {
        parts.push("by instruction".to_owned());
    }
    parts
}

fn bar(status: &Status<'_>, cells: usize) -> String {
    let played = cell(status.elapsed, status.total, cells);
    let mut bar: Vec<char> = (0..cells).map(|n| if n < played { '━' } else { '─' }).collect();
    for (at, _) in status.marks {
        bar[cell(*at, status.total, cells).min(cells - 1)] = '◆';
    }
    bar.into_iter().collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Ticks {
        Ticks::from_ns(n * 1_000_000_000)
    }

    fn check(columns: usize, change: impl FnOnce(&mut Status<'_>), expected: &str) {
        let marks = [(seconds(20), "half".to_owned())];
        let mut status = Status {
            doing: Doing::Playing,
            elapsed: seconds(10),
            total: seconds(40),
            marks: &marks,
            branch: "main",
            speed: 1.0,
            limit: None,
            console: None,
            unit: Unit::Input,
            words: None,
        };
        change(&mut status);
        let seen = line(&status, columns);
        assert_eq!(width(&seen), columns, "{seen:?}");
        assert_eq!(seen.trim_end(), expected);
    }

    #[test]
    fn it_says_where_and_how() {
        check(60, |_| {}, " ▶ 0:10.0 / 0:40.0  ━━━━━━──────◆────────────  main  ? help");
        check(
            70,
            |status| {
                status.doing = Doing::Paused;
                status.elapsed = seconds(30);
                status.speed = 0.5;
                status.limit = Some(seconds(2));
            },
            " ❚❚ 0:30.0 / 0:40.0  ━━━━━◆━───  #half  main  0.5×  idle ≤ 2s  ? help",
        );
        check(30, |status| status.doing = Doing::Seeking, " seeking… 0:10.0 / 0:40.0  mai");
        check(
            80,
            |status| {
                status.unit = Unit::Instruction;
                status.elapsed = Ticks::new(17);
                status.words = Some("no\x1b[31m more");
            },
            " ▶ 1.0625ns / 0:40.0  no\u{fffd}[31m more                 main  by instruction  ? help",
        );
    }

    #[test]
    fn times_are_for_people() {
        let check = |ns, text: &str| assert_eq!(tenths(Ticks::from_ns(ns)), text);
        check(0, "0:00.0");
        check(83_450_000_000, "1:23.4");
        check(3_723_900_000_000, "1:02:03.9");
    }
}
