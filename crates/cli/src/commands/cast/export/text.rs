//! Plain text: every line that scrolled by, then what is on the screen at the end. Full-screen
//! programs leave no trace, as in a terminal.

use std::io::{self, Write};

use avt::Terminal;
use avt::observer::Transcript;
use stackvm_timeline::film::{Decoder, Exporter, Happening, Head};

/// Writes what a terminal printed.
pub(super) struct Text<'a> {
    out: &'a mut dyn Write,
    terminal: Terminal,
    transcript: Transcript,
    decoder: Decoder,
}

impl<'a> Text<'a> {
    pub(super) fn new(out: &'a mut dyn Write, head: &Head) -> Text<'a> {
        let (columns, rows) = (usize::from(head.size.0.max(1)), usize::from(head.size.1.max(1)));
        let mut terminal = Terminal::new(columns, rows).expect("at least one row and column");
        terminal.feed(head.screen.as_str());
        Text { out, terminal, transcript: Transcript::new(), decoder: Decoder::default() }
    }

    fn write(&mut self, lines: Vec<String>) -> io::Result<()> {
        for line in lines {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

impl Exporter for Text<'_> {
    fn happened(&mut self, _: u64, what: &Happening) -> io::Result<()> {
        let Text { terminal, transcript, decoder, .. } = self;
        let lines = match what {
            Happening::Output(bytes) => terminal.feed_with(decoder.decode(bytes), transcript),
            Happening::Resize(columns, rows) => {
                terminal.resize_with(usize::from(*columns), usize::from(*rows), transcript)
            }
            Happening::Typed(_) | Happening::Mark(_) => return Ok(()),
        };
        self.write(lines)
    }

    fn end(mut self: Box<Self>, _: u64) -> io::Result<()> {
        let transcript = std::mem::take(&mut self.transcript);
        let lines = transcript.finish(&self.terminal);
        self.write(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{export, head};
    use super::*;

    #[test]
    fn everything_that_was_printed_is_there_once() {
        let mut events: Vec<(u64, Happening)> = (0..60)
            .map(|n| (n, Happening::Output(format!("\x1b[3{}mline {n}\r\n", n % 8).into_bytes())))
            .collect();
        events.push((60, Happening::Resize(40, 5)));
        events.push((61, Happening::Output(b"\x1b[?1049h full screen \x1b[?1049l".to_vec())));
        events.push((62, Happening::Output(b"ab\x08c gr\xc3".to_vec())));
        events.push((63, Happening::Output(b"\xbcn\r\n".to_vec())));
        let text = export(&events, 70, |out| Ok(Box::new(Text::new(out, &head()))));
        let lines: Vec<String> = (0..60).map(|n| format!("line {n}")).collect();
        assert_eq!(text, format!("login{}\nac gr\u{fc}n\n", lines.join("\n")));
    }
}
