//! Times and durations as text.

const NS_PER_S: u64 = 1_000_000_000;

/// RFC 3339 in UTC with as many digits of a second as needed; the year 1 for no time.
#[must_use]
pub fn timestamp(unix_ns: Option<u64>) -> String {
    let Some(unix_ns) = unix_ns else { return "0001-01-01T00:00:00Z".to_owned() };
    let (seconds, fraction) = (unix_ns / NS_PER_S, unix_ns % NS_PER_S);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{}Z", decimals(fraction, 9))
}

/// As Go prints a duration: the largest units first, down to nanoseconds.
#[must_use]
pub fn duration_text(ns: u64) -> String {
    match ns {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}{}µs", ns / 1_000, decimals(ns % 1_000, 3)),
        1_000_000..NS_PER_S => format!("{}{}ms", ns / 1_000_000, decimals(ns % 1_000_000, 6)),
        _ => {
            let (seconds, fraction) = (ns / NS_PER_S, decimals(ns % NS_PER_S, 9));
            let (hours, minutes, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match (hours, minutes) {
                (0, 0) => format!("{second}{fraction}s"),
                (0, _) => format!("{minutes}m{second}{fraction}s"),
                _ => format!("{hours}h{minutes}m{second}{fraction}s"),
            }
        }
    }
}

/// A fraction of so many digits without the zeros at its end; empty for 0.
fn decimals(fraction: u64, digits: usize) -> String {
    if fraction == 0 {
        return String::new();
    }
    format!(".{}", format!("{fraction:0digits$}").trim_end_matches('0'))
}

/// Year, month and day of a day since 1970 in the Gregorian calendar (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + carry, month, day)
}
