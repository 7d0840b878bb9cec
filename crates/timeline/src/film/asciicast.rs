//! asciicast v3: newline-delimited JSON, a header and events of `[interval, code, data]`.

use std::io::{self, Write};

use serde_json::json;

use super::utf8::Decoder;
use super::{Exporter, Happening, Head};

/// Whether what was typed is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inputs {
    /// As `i` events.
    Written,
    /// Not at all.
    LeftOut,
}

/// Writes an asciicast.
pub struct Asciicast<'a> {
    out: &'a mut dyn Write,
    inputs: Inputs,
    size: (u16, u16),
    /// Instant of the last event. Intervals are differences of rounded instants, so that rounding
    /// does not add up.
    last_us: u64,
    printed: Decoder,
    typed: Decoder,
}

impl<'a> Asciicast<'a> {
    /// Begins one: its header, and what the terminal shows at first.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(out: &'a mut dyn Write, head: &Head, inputs: Inputs) -> io::Result<Asciicast<'a>> {
        let (columns, rows) = head.size;
        let header = json!({
            "version": 3,
            "term": { "cols": columns, "rows": rows },
            "timestamp": head.unix_s,
            "title": head.title,
        });
        writeln!(out, "{header}")?;
        let (printed, typed) = (Decoder::default(), Decoder::default());
        let mut cast = Asciicast { out, inputs, size: head.size, last_us: 0, printed, typed };
        cast.event(0, "o", &head.screen)?;
        Ok(cast)
    }

    fn event(&mut self, at_ns: u64, code: &str, data: &str) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let at_us = (at_ns / 1000).max(self.last_us);
        let interval_us = at_us - self.last_us;
        self.last_us = at_us;
        let interval = format!("{}.{:06}", interval_us / 1_000_000, interval_us % 1_000_000);
        writeln!(self.out, "[{interval}, {}, {}]", json!(code), json!(data))?;
        Ok(())
    }
}

impl Exporter for Asciicast<'_> {
    fn happened(&mut self, at_ns: u64, what: &Happening) -> io::Result<()> {
        match what {
            Happening::Output(bytes) => {
                let text = self.printed.decode(bytes);
                self.event(at_ns, "o", &text)
            }
            Happening::Typed(bytes) if self.inputs == Inputs::Written => {
                let text = self.typed.decode(bytes);
                self.event(at_ns, "i", &text)
            }
            Happening::Typed(_) => Ok(()),
            Happening::Resize(columns, rows) if (*columns, *rows) != self.size => {
                self.size = (*columns, *rows);
                self.event(at_ns, "r", &format!("{columns}x{rows}"))
            }
            Happening::Resize(..) => Ok(()),
            Happening::Mark(name) => self.event(at_ns, "m", name),
        }
    }

    fn end(mut self: Box<Self>, at_ns: u64) -> io::Result<()> {
        let rest: String = self.printed.finish().into_iter().collect();
        self.event(at_ns, "o", &rest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn cast(inputs: Inputs, events: &[(u64, Happening)], end_ns: u64) -> String {
        let head = Head {
            title: "tiny (main)".to_owned(),
            unix_s: 1_700_000_000,
            size: (80, 24),
            screen: "\x1b[2Jlogin".to_owned(),
        };
        let mut bytes = Vec::new();
        let mut cast = Asciicast::new(&mut bytes, &head, inputs).expect("it begins");
        for (at_ns, what) in events {
            cast.happened(*at_ns, what).expect("it goes on");
        }
        Box::new(cast).end(end_ns).expect("it ends");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn it_is_as_the_format_says() {
        let events = [
            (1_500_000_499, Happening::Output(b"$ \xe2\x82".to_vec())),
            (1_500_000_999, Happening::Typed(b"\x03".to_vec())),
            (1_600_000_000, Happening::Output(b"\xac\r\n\x1b[1m\"".to_vec())),
            (2_000_000_000, Happening::Resize(80, 24)),
            (2_000_000_001, Happening::Resize(100, 50)),
            (2_000_000_001, Happening::Mark("before".to_owned())),
            (3_000_000_000, Happening::Output(b"\xff\xe2".to_vec())),
        ];
        let expected = "\
{\"term\":{\"cols\":80,\"rows\":24},\"timestamp\":1700000000,\"title\":\"tiny (main)\",\"version\":3}
[0.000000, \"o\", \"\\u001b[2Jlogin\"]
[1.500000, \"o\", \"$ \"]
[0.100000, \"o\", \"\u{20ac}\\r\\n\\u001b[1m\\\"\"]
[0.400000, \"r\", \"100x50\"]
[0.000000, \"m\", \"before\"]
[1.000000, \"o\", \"\u{fffd}\"]
[1.000000, \"o\", \"\u{fffd}\"]
";
        assert_eq!(cast(Inputs::LeftOut, &events, 4_000_000_000), expected);
        let with_inputs = cast(Inputs::Written, &events, 4_000_000_000);
        assert!(with_inputs.contains("[0.000000, \"i\", \"\\u0003\"]\n"), "{with_inputs}");
    }

    #[test]
    fn every_line_is_json_and_intervals_add_up() {
        let events: Vec<(u64, Happening)> = (0..1000)
            .map(|n| (n * 333_333, Happening::Output(vec![(n * 7) as u8, (n * 13) as u8, b'x'])))
            .collect();
        let text = cast(Inputs::Written, &events, 400_000_000);
        let mut lines = text.lines();
        let header: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(header["version"], 3);
        let mut sum = 0.0;
        for line in lines {
            let event: Value = serde_json::from_str(line).unwrap();
            let event = event.as_array().unwrap();
            assert_eq!(event.len(), 3);
            assert!(event[0].as_f64().unwrap() >= 0.0);
            assert!(["o", "i", "m", "r", "x"].contains(&event[1].as_str().unwrap()));
            assert!(event[2].is_string());
            sum += event[0].as_f64().unwrap();
        }
        assert!((sum - 0.333).abs() < 0.001, "{sum}");
    }
}
