//! Go's time layouts (`2006-01-02`) and C's (`%Y-%m-%d`).

use std::fmt::Write;

use chrono::{DateTime, Datelike, Timelike, Utc};

/// The parts of Go's reference time, longest first where one begins with another.
const PARTS: &[&str] = &[
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "-07:00:00",
    "-07:00",
    "-0700",
    "-07",
    "Z07:00",
    "Z0700",
    "Z07",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "PM",
    "pm",
    "__2",
    "_2",
    "1",
    "2",
    "3",
    "4",
    "5",
];

/// Formats a time by a Go layout.
#[must_use]
pub fn format(time: DateTime<Utc>, layout: &str) -> String {
    let mut result = String::new();
    let mut rest = layout;
    while !rest.is_empty() {
        if let Some(digits) = fraction(rest) {
            let nanos = format!("{:09}", time.nanosecond() % 1_000_000_000);
            let (part, after) = rest.split_at(digits);
            let width = (digits - 1).min(9);
            if part.contains('9') {
                let trimmed = nanos[..width].trim_end_matches('0');
                if !trimmed.is_empty() {
                    result.push_str(&part[..1]);
                    result.push_str(trimmed);
                }
            } else {
                result.push_str(&part[..1]);
                result.push_str(&nanos[..width]);
            }
            rest = after;
            continue;
        }
        if let Some(part) = PARTS.iter().find(|part| rest.starts_with(**part)) {
            push_part(&mut result, time, part);
            rest = &rest[part.len()..];
        } else {
            let mut characters = rest.chars();
            result.extend(characters.next());
            rest = characters.as_str();
        }
    }
    result
}

/// The length of a `.000` or `.999` at the start, when no digit follows.
fn fraction(text: &str) -> Option<usize> {
    let digits = text.strip_prefix(['.', ','])?;
    let first = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = digits.chars().take_while(|c| *c == first).count();
    let follows = digits[count..].chars().next().is_some_and(|c| c.is_ascii_digit());
    (!follows).then_some(count + 1)
}

fn push_part(result: &mut String, time: DateTime<Utc>, part: &str) {
    let hour12 = if time.hour().is_multiple_of(12) { 12 } else { time.hour() % 12 };
    let written = match part {
        "January" => write!(result, "{}", time.format("%B")),
        "Jan" => write!(result, "{}", time.format("%b")),
        "Monday" => write!(result, "{}", time.format("%A")),
        "Mon" => write!(result, "{}", time.format("%a")),
        "MST" => write!(result, "UTC"),
        "2006" => write!(result, "{:04}", time.year()),
        "06" => write!(result, "{:02}", time.year().rem_euclid(100)),
        "01" => write!(result, "{:02}", time.month()),
        "1" => write!(result, "{}", time.month()),
        "02" => write!(result, "{:02}", time.day()),
        "_2" => write!(result, "{:2}", time.day()),
        "2" => write!(result, "{}", time.day()),
        "002" => write!(result, "{:03}", time.ordinal()),
        "__2" => write!(result, "{:3}", time.ordinal()),
        "15" => write!(result, "{:02}", time.hour()),
        "03" => write!(result, "{hour12:02}"),
        "3" => write!(result, "{hour12}"),
        "04" => write!(result, "{:02}", time.minute()),
        "4" => write!(result, "{}", time.minute()),
        "05" => write!(result, "{:02}", time.second()),
        "5" => write!(result, "{}", time.second()),
        "PM" => write!(result, "{}", if time.hour() < 12 { "AM" } else { "PM" }),
        "pm" => write!(result, "{}", if time.hour() < 12 { "am" } else { "pm" }),
        "Z07:00" | "Z0700" | "Z07" => write!(result, "Z"),
        "-07:00:00" => write!(result, "+00:00:00"),
        "-07:00" => write!(result, "+00:00"),
        "-0700" => write!(result, "+0000"),
        _ => write!(result, "+00"),
    };
    debug_assert!(written.is_ok(), "writing to a string can't fail");
}

/// Formats a time by a C pattern. Its verbs are those of jehiah/go-strftime, which puts everything else into a Go layout
/// as it stands.
#[must_use]
pub fn strftime(time: DateTime<Utc>, pattern: &str) -> String {
    let mut layout = String::new();
    for chunk in pattern.split('%').filter(|chunk| !chunk.is_empty()) {
        let verb = match chunk.as_bytes()[0] {
            b'B' => "January",
            b'b' => "Jan",
            b'm' => "01",
            b'A' => "Monday",
            b'a' => "Mon",
            b'd' => "02",
            b'H' => "15",
            b'I' => "03",
            b'M' => "04",
            b'S' => "05",
            b'Y' => "2006",
            b'y' => "06",
            b'p' => "PM",
            b'Z' => "MST",
            b'z' => "-0700",
            _ => {
                layout.push('%');
                layout.push_str(chunk);
                continue;
            }
        };
        layout.push_str(verb);
        layout.push_str(&chunk[1..]);
    }
    format(time, &layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let time = "2024-03-05T14:07:09.120Z".parse::<DateTime<Utc>>().unwrap();
        for (layout, expected) in [
            ("2006-01-02-1504", "2024-03-05-1407"),
            ("20060102150405", "20240305140709"),
            ("Jan _2, 06 3:04PM MST", "Mar  5, 24 2:07PM UTC"),
            ("2006-01-02T15:04:05.000Z07:00", "2024-03-05T14:07:09.120Z"),
            ("Monday 002", "Tuesday 065"),
            ("05.999", "09.12"),
            ("v.ä", "v.ä"),
        ] {
            assert_eq!(format(time, layout), expected, "{layout}");
        }
        assert_eq!(strftime(time, "%Y%m%d"), "20240305");
        assert_eq!(strftime(time, "%Q!"), "%Q!");
    }
}
