//! Time functions, over the run's frozen clock.

use chrono::{DateTime, Datelike, FixedOffset, SecondsFormat, Timelike};

use super::{Call, Function, FunctionError, function};
use crate::template::duration;
use crate::template::legacy::layout;
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("timestamp", 0, 0, |call| Ok(Value::string(call.runtime.now.to_rfc3339_opts(SecondsFormat::Secs, true)))),
    function("formatdate", 2, 2, |call| Ok(Value::string(format_date(&call.text(0)?, parse(call, 1)?)?))),
    function("timeadd", 2, 2, |call| {
        let Some(span) = duration::parse_signed(&call.text(1)?) else {
            return Call::fail(1, "this is no duration such as 10m or -1h30m");
        };
        let moved = parse(call, 0)?.checked_add_signed(span);
        let moved = moved.ok_or_else(|| FunctionError::from("the time is out of range"))?;
        Ok(Value::string(moved.to_rfc3339_opts(SecondsFormat::Secs, true)))
    }),
    function("legacy_isotime", 0, 1, |call| {
        let now = call.runtime.now;
        Ok(Value::string(match call.len() {
            0 => now.to_rfc3339_opts(SecondsFormat::Secs, true),
            _ => layout::format(now, &call.text(0)?),
        }))
    }),
];

fn parse(call: &Call<'_>, at: usize) -> Result<DateTime<FixedOffset>, FunctionError> {
    match DateTime::parse_from_rfc3339(&call.text(at)?) {
        Ok(time) => Ok(time),
        Err(_) => Call::fail(at, "this is no time such as 2024-01-31T12:00:00Z"),
    }
}

/// HCL's date patterns: runs of one letter, with literal text in single quotes.
fn format_date(pattern: &str, time: DateTime<FixedOffset>) -> Result<String, FunctionError> {
    let mut result = String::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\'' {
            loop {
                match characters.next() {
                    Some('\'') if characters.peek() == Some(&'\'') => {
                        characters.next();
                        result.push('\'');
                    }
                    Some('\'') => break,
                    Some(other) => result.push(other),
                    None => return Err("a quoted part of the pattern does not end".into()),
                }
            }
        } else if character.is_ascii_alphabetic() {
            let mut count = 1;
            while characters.peek() == Some(&character) {
                characters.next();
                count += 1;
            }
            result.push_str(&date_part(character, count, time)?);
        } else {
            result.push(character);
        }
    }
    Ok(result)
}

fn date_part(letter: char, count: usize, time: DateTime<FixedOffset>) -> Result<String, FunctionError> {
    let hour12 = if time.hour().is_multiple_of(12) { 12 } else { time.hour() % 12 };
    Ok(match (letter, count) {
        ('Y', 4) => format!("{:04}", time.year()),
        ('Y', 2) => format!("{:02}", time.year().rem_euclid(100)),
        ('M', 4) => time.format("%B").to_string(),
        ('M', 3) => time.format("%b").to_string(),
        ('M', 2) => format!("{:02}", time.month()),
        ('M', 1) => time.month().to_string(),
        ('D', 2) => format!("{:02}", time.day()),
        ('D', 1) => time.day().to_string(),
        ('E', 4) => time.format("%A").to_string(),
        ('E', 3) => time.format("%a").to_string(),
        ('h', 2) => format!("{:02}", time.hour()),
        ('h', 1) => time.hour().to_string(),
        ('H', 2) => format!("{hour12:02}"),
        ('H', 1) => hour12.to_string(),
        ('A', 2) => if time.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        ('a', 2) => if time.hour() < 12 { "am" } else { "pm" }.to_owned(),
        ('m', 2) => format!("{:02}", time.minute()),
        ('m', 1) => time.minute().to_string(),
        ('s', 2) => format!("{:02}", time.second()),
        ('s', 1) => time.second().to_string(),
        ('Z', _) => zone(count, time)?,
        _ => {
            let verb = letter.to_string().repeat(count.min(20));
            return Err(format!("{verb:?} is no date verb; literal letters go in single quotes").into());
        }
    })
}

fn zone(count: usize, time: DateTime<FixedOffset>) -> Result<String, FunctionError> {
    let utc = time.offset().local_minus_utc() == 0;
    Ok(match count {
        1 if utc => "Z".to_owned(),
        3 if utc => "UTC".to_owned(),
        1 | 5 => time.format("%:z").to_string(),
        3 | 4 => time.format("%z").to_string(),
        _ => return Err("a time zone is Z, ZZZ, ZZZZ or ZZZZZ".into()),
    })
}
