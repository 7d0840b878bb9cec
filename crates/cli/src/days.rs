//! Dates for people, in UTC: from milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since 1970.
pub(crate) fn now_unix_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |age| age.as_millis() as u64)
}

/// `2026-11-21 13:40`.
pub(crate) fn for_people(unix_ms: u64) -> String {
    let (date, minutes) = (date(unix_ms), unix_ms / 60_000);
    format!("{date} {:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

/// `2026-11-21-1340`.
pub(crate) fn for_file_names(unix_ms: u64) -> String {
    for_people(unix_ms).replace(' ', "-").replace(':', "")
}

/// By H. Hinnant's `civil_from_days`: years begin in March, so that a leap day is the last one.
fn date(unix_ms: u64) -> String {
    let days = unix_ms / 86_400_000 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        let check = |unix_s: u64, text: &str| assert_eq!(for_people(unix_s * 1000), text);
        check(0, "1970-01-01 00:00");
        check(951_782_400, "2000-02-29 00:00");
        check(951_868_800, "2000-03-01 00:00");
        check(1_767_225_599, "2025-12-31 23:59");
        check(1_795_268_400, "2026-11-21 13:40");
        check(4_107_542_400, "2100-03-01 00:00");
        assert_eq!(for_file_names(1_795_268_400_000), "2026-11-21-1340");
    }
}
