//! Sizes and durations as people write them.

use std::time::Duration;

/// Bytes of `64MiB`, `10 MB`, `4096`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let factor: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(format!("{text:?} is not a size; write it like \"64MiB\"")),
    };
    let number: usize = number.parse().map_err(|_| format!("{text:?} is not a size; write it like \"64MiB\""))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"))
}

/// `90s`, `30m`, `2h`, `30d`, `1h30m`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write it like \"90s\", \"30m\", \"2h\", \"1h30m\" or \"30d\"");
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut milliseconds = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        let factor: u64 = match &rest[digits..unit_end] {
            "ms" => {
                milliseconds = number;
                0
            }
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        total = number.checked_mul(factor).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    // A hundred years: enough for any limit, and far from the ends of the calendar that it is added to.
    if total > 100 * 365 * 86_400 {
        return Err(format!("{text:?} is too long"));
    }
    Ok(Duration::from_secs(total) + Duration::from_millis(milliseconds))
}

/// Times a second of `10/s`, `1.5/s`, `90/m`.
///
/// # Errors
/// A sentence that says what would be right.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is not a rate; write it like \"10/s\", \"1.5/s\" or \"90/m\"");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(wrong()),
    };
    let number = number.trim();
    if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(wrong());
    }
    let per_second = number.parse::<f64>().map_err(|_| wrong())? / seconds;
    // Less often than once a minute nothing would get done; more often than this nothing is limited.
    if (1.0 / 60.0..=100_000.0).contains(&per_second) {
        Ok(per_second)
    } else {
        Err(format!("{text:?} is out of range: from 1/m to 100000/s"))
    }
}

/// `1h30m`, the way [`parse_duration`] reads it.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let given = parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}"));
    let text = given.collect::<Vec<_>>().concat();
    if text.is_empty() { format!("{}ms", duration.as_millis()) } else { text }
}

/// `64MiB` where it comes out even, else bytes.
#[must_use]
pub fn show_bytes(bytes: usize) -> String {
    let units = [(1_usize << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    units
        .iter()
        .find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size))
        .map_or_else(|| format!("{bytes} bytes"), |(size, unit)| format!("{}{unit}", bytes / size))
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..at], text[at..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("10 kb"), Ok(10_000));
        assert_eq!(parse_bytes("7"), Ok(7));
        assert!(parse_bytes("much").is_err() && parse_bytes("-1").is_err() && parse_bytes("99999999999GiB").is_err());
        assert_eq!(show_bytes(64 << 20), "64MiB");
        assert_eq!(show_bytes(1_000), "1000 bytes");
    }

    #[test]
    fn rates() {
        assert_eq!(parse_rate("10/s"), Ok(10.0));
        assert_eq!(parse_rate("1.5 / s"), Ok(1.5));
        assert_eq!(parse_rate("90/m"), Ok(1.5));
        for wrong in ["", "10", "/s", "-1/s", "1e3/s", "ten/s", "10/h", "0/s", "nan/s", "inf/s", "1.2.3/s"] {
            assert!(parse_rate(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("1s500ms"), Ok(Duration::from_millis(1_500)));
        for wrong in ["", "5", "h", "5 h", "5y", "-5s", "99999999999999999999s", "9999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(show_duration(Duration::from_secs(5_400)), "1h30m");
    }
}
