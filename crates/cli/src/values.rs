//! The values people write on the command line: sizes, spans of virtual time, ports, names.

use std::net::Ipv4Addr;

use stackvm_host::machines::{Keep, check_name};
use stackvm_host::net_user::Forward;
use stackvm_machine::config::limits;
use stackvm_machine::instant::{TICKS_PER_NS, Ticks};
use stackvm_timeline::When;

/// Bytes from `512M`, `1G`, `4096K` (powers of 1024; an `iB` or `B` after the letter is fine).
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "" => return Err(format!("`{text}` has no unit: write {text}M for MiB")),
        _ => return Err(format!("`{unit}` is not a unit of size: use K, M or G, as in 512M")),
    };
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is not a size: write it as 512M or 1G"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("`{text}` is larger than any memory"))
}

/// A size that a machine's memory can have.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    let (least, most) = (limits::MEMORY_BYTES_MIN, limits::MEMORY_BYTES_MAX);
    if (least..=most).contains(&bytes) && bytes.is_multiple_of(4096) {
        return Ok(bytes);
    }
    let (least, most) = (show_size(least), show_size(most));
    Err(format!("`{text}` of memory: a machine has from {least} to {most}, in steps of 4K"))
}

/// A span of virtual time from `5s`, `1.5s`, `300ms`, `20us`, `7ns`, `2m`; exact to a tick.
pub(crate) fn span(text: &str) -> Result<Ticks, String> {
    let bad = || format!("`{text}` is not a span of time: write it as 5s, 1.5s, 300ms or 20us");
    let (number, unit) = split_unit(text);
    let unit_ticks = TICKS_PER_NS
        * match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "" => return Err(format!("`{text}` has no unit: write {text}s for seconds")),
            _ => return Err(bad()),
        };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let mut ticks = u128::from(whole) * u128::from(unit_ticks);
    if !decimals.is_empty() {
        let digits = u32::try_from(decimals.len()).ok().filter(|n| *n <= 15).ok_or_else(bad)?;
        let value: u64 = decimals.parse().map_err(|_| bad())?;
        ticks += u128::from(value) * u128::from(unit_ticks) / 10_u128.pow(digits);
    }
    u64::try_from(ticks)
        .map(Ticks::new)
        .map_err(|_| format!("`{text}` is longer than a machine can run (36 years)"))
}

/// A span of wall time from `30s`, `20m`, `8h`, `7d`, in seconds.
pub(crate) fn wall_span_s(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a span of time: write it as 30s, 20m, 8h or 7d");
    let (number, unit) = split_unit(text);
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    number.checked_mul(unit_s).filter(|span| *span > 0).ok_or_else(bad)
}

/// How much history is kept, from `8h`, `500M` or `8h,500M`.
pub(crate) fn keep(text: &str) -> Result<Keep, String> {
    let mut keep = Keep::default();
    for part in text.split(',') {
        match (wall_span_s(part), size(part)) {
            (Ok(seconds), _) => keep.seconds = seconds,
            (_, Ok(bytes)) => keep.bytes = bytes,
            _ => {
                return Err(format!(
                    "`{part}` is neither a time nor a size: write 8h, 500M or 8h,500M; \
                     --no-history keeps nothing"
                ));
            }
        }
    }
    Ok(keep)
}

/// A port forward from `8080:80`: a TCP port of this computer's loopback that leads to the guest's.
pub(crate) fn forward(text: &str) -> Result<Forward, String> {
    let port = |part: &str| part.parse::<u16>().ok().filter(|port| *port != 0);
    text.split_once(':')
        .and_then(|(host, guest)| {
            let address = Ipv4Addr::LOCALHOST.into();
            Some(Forward { address, host: port(host)?, guest: port(guest)? })
        })
        .ok_or_else(|| {
            format!("`{text}` is not a port forward: write HOST:GUEST, as in 8080:80 (1 to 65535)")
        })
}

/// Seconds of virtual time from `2`, `0.5`.
pub(crate) fn seconds(text: &str) -> Result<Ticks, String> {
    span(&format!("{text}s")).map_err(|_| format!("`{text}` is not a number of seconds"))
}

/// A part of a machine's time from `10..83.5`, in seconds.
pub(crate) fn part(text: &str) -> Result<(Ticks, Ticks), String> {
    let bad =
        || format!("`{text}` is no part of a machine's time: write FROM..UNTIL, as in 10..83.5");
    let (from, until) = text.split_once("..").ok_or_else(bad)?;
    let (from, until) = (seconds(from)?, seconds(until)?);
    if from < until { Ok((from, until)) } else { Err(bad()) }
}

/// A speed of playing, from 0.1 to 100.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.1..=100.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a speed: write a number from 0.1 to 100"))
}

/// An instant of a recording.
pub(crate) fn when(text: &str) -> Result<When, String> {
    When::parse(text).map_err(|error| error.to_string())
}

/// A machine's name.
pub(crate) fn name(text: &str) -> Result<String, String> {
    check_name(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// `1.5 MB`, `312 kB`, `17 bytes`: for people, in powers of 1000.
pub(crate) fn show_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => {
            format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
        }
        _ => format!("{}.{:02} GB", bytes / 1_000_000_000, bytes / 10_000_000 % 100),
    }
}

/// `512M`, `1G`: as [`size`] reads it.
pub(crate) fn show_size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{}G", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        _ => format!("{}K", bytes >> 10),
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text, bytes: Option<u64>| assert_eq!(size(text).ok(), bytes, "{text}");
        check("512M", Some(512 << 20));
        check("1G", Some(1 << 30));
        check("4096k", Some(4 << 20));
        check("96MiB", Some(96 << 20));
        for bad in ["", "512", "M", "1.5G", "-1M", "12X", "99999999999999G", "1 G"] {
            check(bad, None);
        }
        assert!(size("512").unwrap_err().contains("512M"));
        assert_eq!(memory("96M"), Ok(96 << 20));
        for bad in ["1M", "1000G", "4097K", "x"] {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans() {
        let check = |text, ticks: Option<u64>| {
            assert_eq!(span(text).ok().map(Ticks::get), ticks, "{text}");
        };
        check("5s", Some(80_000_000_000));
        check("1.5s", Some(24_000_000_000));
        check("300ms", Some(4_800_000_000));
        check("0.0625ns", Some(1));
        check("2m", Some(120 * 16_000_000_000));
        for bad in ["", "5", "s", "1.2.3s", "5h", "-1s", "99999999999s", "0.0000000000000001s"] {
            check(bad, None);
        }
    }

    #[test]
    fn parts() {
        let check = |text, ns: Option<(u64, u64)>| {
            let seen = part(text).ok().map(|(from, until)| (from.ns(), until.ns()));
            assert_eq!(seen, ns, "{text}");
        };
        check("10..83.5", Some((10_000_000_000, 83_500_000_000)));
        check("0..0.000000001", Some((0, 1)));
        for bad in ["", "10", "..", "10..", "..10", "10..10", "11..10", "a..b", "1...2"] {
            check(bad, None);
        }
    }

    #[test]
    fn forwards() {
        let check = |text, ports: Option<(u16, u16)>| {
            let seen = forward(text).ok().map(|forward| (forward.host, forward.guest));
            assert_eq!(seen, ports, "{text}");
        };
        check("8080:80", Some((8080, 80)));
        for bad in ["80", "0:80", "80:0", "65536:1", "a:b", "1:2:3", ""] {
            check(bad, None);
        }
    }

    #[test]
    fn bytes_for_people() {
        let check = |bytes, text: &str| assert_eq!(show_bytes(bytes), text);
        check(17, "17 bytes");
        check(312_400, "312 kB");
        check(52_430_000, "52.4 MB");
        check(1_234_000_000, "1.23 GB");
        assert_eq!(show_size(512 << 20), "512M");
        assert_eq!(show_size(2 << 30), "2G");
        assert_eq!(show_size(1536 << 20), "1536M");
    }
}
