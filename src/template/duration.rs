//! Go's durations: `1h30m`, `500ms`, `-10s`.

use std::time::Duration;

use chrono::TimeDelta;

/// Reads a duration with its sign. `None` for anything Go would refuse too.
#[must_use]
pub fn parse_signed(text: &str) -> Option<TimeDelta> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanoseconds: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanoseconds += number * factor;
        rest = &rest[unit_end..];
    }
    if nanoseconds > 9e18 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "just compared with the range")]
    let whole = nanoseconds.round() as i64;
    Some(TimeDelta::nanoseconds(if negative { -whole } else { whole }))
}

/// Reads a duration that is not negative.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    parse_signed(text)?.to_std().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        assert_eq!(parse("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
        assert_eq!(parse_signed("-10s"), Some(TimeDelta::seconds(-10)));
        for bad in ["", "5", "5x", "-5m ", "m", "1..5s", "-1s", "99999999h"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
