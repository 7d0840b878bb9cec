//! A shell script that types what was typed.

use std::fmt::Write as _;
use std::io::{self, Write};

use stackvm_timeline::film::{Exporter, Happening};

/// Pauses shorter than this are left out, in milliseconds.
const PAUSE_MS_MIN: u64 = 10;

/// Writes a script.
pub(super) struct Script<'a> {
    out: &'a mut dyn Write,
    last_ms: u64,
    /// What was typed without a pause since `last_ms`.
    typed: Vec<u8>,
}

impl<'a> Script<'a> {
    pub(super) fn new(
        out: &'a mut dyn Write,
        title: &str,
        console: &str,
    ) -> io::Result<Script<'a>> {
        writeln!(out, "#!/bin/sh")?;
        let title = title.replace(char::is_control, " ");
        writeln!(out, "# What was typed at {console} of {title}, at the same pace.")?;
        writeln!(out, "# Its output is for a machine: sh THIS | stackvm run IMAGE")?;
        Ok(Script { out, last_ms: 0, typed: Vec::new() })
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.typed.is_empty() {
            writeln!(self.out, "printf '{}'", quoted(&std::mem::take(&mut self.typed)))?;
        }
        Ok(())
    }

    fn pause(&mut self, at_ms: u64) -> io::Result<()> {
        let pause_ms = at_ms.saturating_sub(self.last_ms);
        if pause_ms >= PAUSE_MS_MIN {
            self.flush()?;
            writeln!(self.out, "sleep {}.{:03}", pause_ms / 1000, pause_ms % 1000)?;
            self.last_ms = at_ms;
        }
        Ok(())
    }
}

impl Exporter for Script<'_> {
    fn happened(&mut self, at_ns: u64, what: &Happening) -> io::Result<()> {
        match what {
            Happening::Typed(bytes) => {
                self.pause(at_ns / 1_000_000)?;
                self.typed.extend_from_slice(bytes);
            }
            Happening::Mark(name) => {
                self.flush()?;
                writeln!(self.out, "# {}", name.replace(char::is_control, " "))?;
            }
            Happening::Output(_) | Happening::Resize(..) => {}
        }
        Ok(())
    }

    /// What the last keys caused has its time, too.
    fn end(mut self: Box<Self>, at_ns: u64) -> io::Result<()> {
        self.pause(at_ns / 1_000_000)?;
        self.flush()
    }
}

/// Bytes as printf's format in single quotes.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'%' => text.push_str("%%"),
            b'\\' => text.push_str("\\\\"),
            b'\'' => text.push_str("'\\''"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => _ = write!(text, "\\{byte:03o}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::tests::export;
    use super::*;

    fn script(events: &[(u64, Happening)], end_ms: u64) -> String {
        export(events, end_ms * 1_000_000, |out| {
            Ok(Box::new(Script::new(out, "tiny (main)", "hvc0")?))
        })
    }

    #[test]
    fn it_types_at_the_same_pace() {
        let typed = |ms: u64, text: &str| (ms * 1_000_000, Happening::Typed(text.into()));
        let events = [
            typed(1500, "l"),
            typed(1504, "s\r"),
            (1_600_000_000, Happening::Output(b"file\r\n".to_vec())),
            (1_700_000_000, Happening::Mark("then\n".to_owned())),
            typed(3500, "it's 100% \\o/\x1b[A"),
        ];
        let expected = "\
#!/bin/sh
# What was typed at hvc0 of tiny (main), at the same pace.
# Its output is for a machine: sh THIS | stackvm run IMAGE
sleep 1.500
printf 'ls\\015'
# then\x20
sleep 2.000
printf 'it'\\''s 100%% \\\\o/\\033[A'
sleep 0.500
";
        assert_eq!(script(&events, 4000), expected);
    }

    #[test]
    fn a_shell_prints_just_what_was_typed() {
        let all: Vec<u8> = (0..=255).chain(*b"-n '\"\\%s $(x) `y` 1").collect();
        let script = script(&[(0, Happening::Typed(all.clone()))], 0);
        let ran = Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(ran.stdout, all);
    }
}
