//! The small picture of a machine: the end of its first terminal's screen, as text. Asked of the lab
//! at most once a second, and only while somebody looks.

use std::time::{Duration, Instant};

use stackvm_host::protocol::Command;

use super::console::Attachment;
use super::link::Waiter;
use super::room::Inner;

/// Time between two of them.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long somebody who has asked is taken to look.
const LOOKING_TIME: Duration = Duration::from_secs(10);
const LINES_MAX: usize = 10;
const COLUMNS_MAX: usize = 80;

/// The small picture, and whether it is the present one.
#[derive(Debug, Default)]
pub(super) struct Text {
    lines: Vec<String>,
    is_stale: bool,
    is_on_its_way: bool,
    made: Option<Instant>,
    asked: Option<Instant>,
}

impl Text {
    /// The terminal has written something.
    pub(super) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Somebody looks.
    pub(super) fn read(&mut self, now: Instant) -> Vec<String> {
        self.asked = Some(now);
        self.lines.clone()
    }

    /// There is no lab to ask any more.
    pub(super) fn unlink(&mut self) {
        self.is_on_its_way = false;
    }

    /// The lab's answer; whether it shows something else than before.
    pub(super) fn keep(&mut self, lines: &[String], now: Instant) -> bool {
        let last = lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |at| at + 1);
        let first = last.saturating_sub(LINES_MAX);
        // The guest may have taken its lab over: what the lab says is only text here.
        let plain = |line: &String| -> String {
            line.chars().filter(|c| !c.is_control()).take(COLUMNS_MAX).collect()
        };
        let lines: Vec<String> = lines[first..last].iter().map(plain).collect();
        self.is_on_its_way = false;
        self.made = Some(now);
        std::mem::replace(&mut self.lines, lines.clone()) != lines
    }

    fn is_due(&self, now: Instant, is_looked_at: bool) -> bool {
        let since = |then: Option<Instant>| then.map(|then| now.saturating_duration_since(then));
        let is_looked_at = is_looked_at || since(self.asked).is_some_and(|it| it < LOOKING_TIME);
        let is_time = since(self.made).is_none_or(|it| it >= INTERVAL);
        self.is_stale && !self.is_on_its_way && is_looked_at && is_time
    }
}

impl Inner {
    /// Asks the lab for the small picture, if it is time to.
    pub(super) fn ask_text(&mut self, now: Instant, is_looked_at: bool) {
        let first = self.consoles.first().filter(|first| first.attachment == Attachment::Yes);
        if let Some((first, link)) = first.zip(self.link.as_mut())
            && self.text.is_due(now, is_looked_at)
        {
            self.text.is_stale = false;
            self.text.is_on_its_way = true;
            link.ask(Command::Text { console: first.id }, Waiter::Text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_end_of_the_screen_as_text() {
        let check = |lines: &[&str], expected: &[&str]| {
            let mut text = Text::default();
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            text.keep(&lines, Instant::now());
            assert_eq!(text.read(Instant::now()), expected);
        };
        check(&[], &[]);
        check(&["a", "", "b", " ", ""], &["a", "", "b"]);
        check(&["\u{1b}[31ma\u{7}"], &["[31ma"]);
        check(&[&"é".repeat(200)], &[&"é".repeat(80)]);
        let many: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(&many, &many[20..]);
    }

    #[test]
    fn it_is_made_when_stale_and_looked_at_once_a_second() {
        let now = Instant::now();
        let later = |ms| now + Duration::from_millis(ms);
        let mut text = Text::default();
        assert!(!text.is_due(now, true), "nothing was written");
        text.touch();
        assert!(!text.is_due(now, false), "nobody looks");
        assert!(text.is_due(now, true));
        text.read(now);
        assert!(text.is_due(later(9_000), false), "somebody looked");
        assert!(!text.is_due(later(11_000), false), "a while ago");
        text.keep(&[], now);
        assert!(!text.is_due(later(900), true), "there was one just now");
        assert!(text.is_due(later(1000), true));
    }
}
