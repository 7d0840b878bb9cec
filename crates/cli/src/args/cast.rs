//! `stackvm cast …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use stackvm_machine::ConsoleId;
use stackvm_machine::instant::Ticks;
use stackvm_timeline::When;

use crate::values;

/// What the instants mean that are taken and printed.
const INSTANTS: &str = "\
Instants are printed as time from the beginning and exactly, as 123456.0625ns; both can be given to
--at, here and to `stackvm play`.";

#[derive(Subcommand)]
pub(crate) enum Cast {
    /// What is in a recording: machine, branches, marks, sizes
    Info(CastInfo),
    /// Replay a recording and compare it with every digest in it
    Verify(CastVerify),
    /// Leave out what can be computed again: keyframes and deleted branches
    Compact(CastCompact),
    /// Write a recording as asciicast, text, or a script of what was typed
    Export(CastExport),
    /// Copy a file or folder out of the machine as it was at an instant
    Extract(CastExtract),
    /// Find text in everything the terminals printed
    Grep(CastGrep),
    /// Ask when something happened
    When(CastWhen),
}

#[derive(Args)]
pub(crate) struct CastInfo {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
The exit code is 0 when everything is as it was recorded, 1 when it is not.")]
pub(crate) struct CastVerify {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only this branch, with those it comes from [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
}

#[derive(Args)]
#[command(after_help = "\
Keyframes make seeking quick. Without them a recording plays as before, is smaller, and makes new
ones in memory while it is played.")]
pub(crate) struct CastCompact {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Write a new file instead of replacing FILE
    #[arg(short = 'o', long, value_name = "NEW")]
    pub(crate) output: Option<PathBuf>,
}

/// What a recording is written as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ExportFormat {
    /// asciicast v3, for asciinema: what a terminal showed, with marks and sizes
    Asciicast,
    /// Everything a terminal printed, as plain text
    Text,
    /// A shell script that types what was typed, at the same pace
    Script,
    /// A picture that moves, of at most 60 kB, for a README
    Svg,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm cast export demo.vmcast -o demo.cast                for asciinema
  stackvm cast export demo.vmcast --format text -o -          what was printed
  stackvm cast export demo.vmcast --format script -o demo.sh  what was typed
  stackvm cast export demo.vmcast --format svg -o demo.svg    a picture that moves
  sh demo.sh | stackvm run tiny                               types it again

An export is the picture: who plays it cannot break in.")]
pub(crate) struct CastExport {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What to write
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ExportFormat::Asciicast)]
    pub(crate) format: ExportFormat,
    /// File to write; - is standard output
    #[arg(short = 'o', long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Which branch
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// Which terminal: hvc0, ttyS0 [default: the login shell's, or ttyS0 without one]
    #[arg(long, value_name = "TERMINAL", value_parser = console)]
    pub(crate) console: Option<ConsoleId>,
    /// With asciicast: also what was typed, passwords included
    #[arg(long)]
    pub(crate) input: bool,
}

#[derive(Args)]
#[command(after_help = "\
The file is read by the guest itself, in a branch that is thrown away. Where its agent is not up, and
with --from-disk, it is read from the disk: what the guest had not written to it yet is missing then.
A folder becomes a tar archive.

Examples:
  stackvm cast extract demo.vmcast /etc/hostname --at 1:23.5 -o -
  stackvm cast extract demo.vmcast /srv/work --at '#before' -o work.tar")]
pub(crate) struct CastExtract {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Absolute path in the guest
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
    /// When: 83.5, 1:23.5, 50%, #mark, 123456.0625ns or @N [default: the end]
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    pub(crate) at: Option<When>,
    /// Where to: a file, a folder, or - for standard output [default: the same name, here]
    #[arg(short = 'o', long, value_name = "DEST")]
    pub(crate) output: Option<PathBuf>,
    /// Which branch
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// Read the disk without asking the guest
    #[arg(long)]
    pub(crate) from_disk: bool,
    /// How long the guest may take, in its own time, until it listens
    #[arg(long, value_name = "TIME", value_parser = values::span, default_value = "30s")]
    pub(crate) wait: Ticks,
}

#[derive(Args)]
#[command(after_help = format!("\
Each line: time from the beginning, exact instant (to about a millisecond), terminal, text. The exit
code is 0 when something was found, 1 when not, 2 when something went wrong.
{INSTANTS}"))]
pub(crate) struct CastGrep {
    /// Plain text to look for
    #[arg(value_name = "TEXT")]
    pub(crate) pattern: String,
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Capitals do not matter
    #[arg(short = 'i', long)]
    pub(crate) ignore_case: bool,
    /// Only this terminal: hvc0, ttyS0 [default: all]
    #[arg(long, value_name = "TERMINAL", value_parser = console)]
    pub(crate) console: Option<ConsoleId>,
    /// Which branch
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(
    group(clap::ArgGroup::new("question").required(true).args(["console", "changed", "phys"])),
    after_help = format!("\
--console finds the very instruction after which the text was complete. --changed looks at the path
in branches that are thrown away, {looks} times over the whole recording (--looks), and closes in on
what differs, down to the input that caused it; what is undone between two looks is not seen. --phys
replays everything and prints each store: hart, program counter, old and new value.
{INSTANTS}

Examples:
  stackvm cast when demo.vmcast --console 'Segmentation fault'
  stackvm cast when demo.vmcast --changed /etc/passwd
  stackvm cast when demo.vmcast --phys 0x80200000:8", looks = stackvm_host::past::changed::LOOKS))]
pub(crate) struct CastWhen {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// When a terminal printed this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) console: Option<String>,
    /// When this file or folder of the guest changed
    #[arg(long, value_name = "PATH")]
    pub(crate) changed: Option<String>,
    /// When bytes at a physical address were stored to
    #[arg(long, value_name = "ADDR[:LEN]", value_parser = address_range)]
    pub(crate) phys: Option<std::ops::Range<u64>>,
    /// With --console: capitals do not matter
    #[arg(short = 'i', long, requires = "console")]
    pub(crate) ignore_case: bool,
    /// With --changed: how often to look
    #[arg(long, value_name = "N", requires = "changed",
          value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) looks: Option<u32>,
    /// Stop after this many
    #[arg(short = 'm', long, value_name = "N")]
    pub(crate) max_count: Option<u64>,
    /// Which branch
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A terminal, as the guest calls it.
fn console(text: &str) -> Result<ConsoleId, String> {
    let hvc = |number: &str| number.parse::<u8>().ok().map(ConsoleId::Hvc);
    match text {
        "ttyS0" | "serial" => Ok(ConsoleId::Serial),
        _ => text
            .strip_prefix("hvc")
            .and_then(hvc)
            .ok_or_else(|| format!("`{text}` is no terminal: write hvc0, hvc1 or ttyS0")),
    }
}

/// Physical addresses from `0x80200000` (eight bytes) or `0x80200000:16`.
fn address_range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (start, bytes) = match text.split_once(':') {
        Some((start, bytes)) => (number(start), number(bytes)),
        None => (number(text), Some(8)),
    };
    let end = start.zip(bytes).and_then(|(start, bytes)| start.checked_add(bytes));
    match (start, end) {
        (Some(start), Some(end)) if end > start => Ok(start..end),
        _ => Err(format!("`{text}` is no address: write 0x80200000 or 0x80200000:16 (bytes)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_addresses() {
        assert_eq!(console("hvc2"), Ok(ConsoleId::Hvc(2)));
        assert_eq!(console("ttyS0"), Ok(ConsoleId::Serial));
        assert!(["hvc", "hvc300", "tty1", ""].iter().all(|text| console(text).is_err()));
        let check = |text, range: Option<(u64, u64)>| {
            let seen = address_range(text).ok().map(|range| (range.start, range.end));
            assert_eq!(seen, range, "{text}");
        };
        check("0x80200000", Some((0x8020_0000, 0x8020_0008)));
        check("0x80200000:16", Some((0x8020_0000, 0x8020_0010)));
        check("4096:1", Some((4096, 4097)));
        for bad in ["", "x", "0x", "1:0", "1:", "0xffffffffffffffff:2", "-1"] {
            check(bad, None);
        }
    }
}
