//! Time functions, over the run's frozen clock.

use chrono::{DateTime, Datelike, FixedOffset, SecondsFormat, Timelike, Utc};
use indexmap::IndexMap;

use super::{Call, Function, FunctionError, FunctionResult, Takes, function, number, takes, text, variadic};
use crate::template::duration;
use crate::template::legacy::layout;
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("timestamp", &[], |call| Ok(Value::string(rfc3339(call.runtime.now)))),
    function("formatdate", &[text("format"), text("time")], |call| {
        let time = parse(call, 1)?;
        let text = format_date(&call.text(0)?, time).map_err(|message| FunctionError::at(0, message))?;
        Ok(Value::string(text))
    }),
    function("timeadd", &[text("timestamp"), text("duration")], |call| {
        let time = parse(call, 0)?;
        let Some(span) = duration::parse_signed(&call.text(1)?) else {
            return Call::fail(1, "this is no duration such as 10m or -1h30m");
        };
        let moved = time.checked_add_signed(span);
        let moved = moved.ok_or_else(|| FunctionError::from("the time is out of range"))?;
        Ok(Value::string(moved.to_rfc3339_opts(SecondsFormat::Secs, true)))
    }),
    variadic("legacy_isotime", &[], takes("format", Takes::Text), |call| legacy(call, layout::format)),
    variadic("legacy_strftime", &[], takes("format", Takes::Text), |call| legacy(call, layout::strftime)),
    function("rfc3339_parse", &[text("timestamp")], |call| {
        let given = call.text(0)?;
        let time = DateTime::parse_from_rfc3339(&given);
        let Some(time) = time.ok().filter(|time| !given.contains(['_', 't', 'z']) && !is_leap_second(*time)) else {
            return Call::fail(0, "this is no RFC 3339 time such as 2024-01-31T12:00:00Z");
        };
        let mut parts = calendar(time);
        parts.insert("unix".to_owned(), Value::number(time.timestamp()));
        Ok(Value::object(parts))
    }),
    function("unix_timestamp_parse", &[number("unix_timestamp")], |call| {
        let Some(time) = DateTime::<Utc>::from_timestamp(call.integer(0)?, 0) else {
            return Call::fail(0, "the time is out of range");
        };
        let mut parts = calendar(time.fixed_offset());
        parts.insert("rfc3339".to_owned(), Value::string(rfc3339(time)));
        Ok(Value::object(parts))
    }),
];

/// A time such as 23:59:60, which Go does not read.
fn is_leap_second(time: DateTime<FixedOffset>) -> bool {
    time.nanosecond() >= 1_000_000_000
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn legacy(call: &Call<'_>, format: fn(DateTime<Utc>, &str) -> String) -> FunctionResult {
    let now = call.runtime.now;
    Ok(Value::string(match call.len() {
        0 => rfc3339(now),
        1 => format(now, &call.text(0)?),
        _ => return Call::fail(1, "one format at most is needed"),
    }))
}

/// What both parsing functions tell of a time.
fn calendar(time: DateTime<FixedOffset>) -> IndexMap<String, Value> {
    let week = time.iso_week();
    let numbers = [
        ("year", i64::from(time.year())),
        ("year_day", i64::from(time.ordinal())),
        ("day", i64::from(time.day())),
        ("month", i64::from(time.month())),
        ("weekday", i64::from(time.weekday().num_days_from_sunday())),
        ("hour", i64::from(time.hour())),
        ("minute", i64::from(time.minute())),
        ("second", i64::from(time.second())),
        ("iso_year", i64::from(week.year())),
        ("iso_week", i64::from(week.week())),
    ];
    let mut parts: IndexMap<String, Value> =
        numbers.into_iter().map(|(name, number)| (name.to_owned(), Value::number(number))).collect();
    parts.insert("month_name".to_owned(), Value::string(time.format("%B").to_string()));
    parts.insert("weekday_name".to_owned(), Value::string(time.format("%A").to_string()));
    parts
}

/// RFC 3339 with a capital T and Z, as zclconf/go-cty reads it.
fn parse(call: &Call<'_>, at: usize) -> Result<DateTime<FixedOffset>, FunctionError> {
    let text = call.text(at)?;
    match DateTime::parse_from_rfc3339(&text) {
        Ok(time) if text.as_bytes().get(10) == Some(&b'T') && !text.ends_with('z') && !is_leap_second(time) => Ok(time),
        _ => Call::fail(at, "this is no time such as 2024-01-31T12:00:00Z"),
    }
}

/// HCL's date patterns: runs of one letter, with literal text in single quotes.
fn format_date(pattern: &str, time: DateTime<FixedOffset>) -> Result<String, String> {
    let mut result = String::new();
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\'' {
            quoted(&mut characters, &mut result)?;
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

/// Literal text up to its closing quote; two quotes are one.
fn quoted(characters: &mut std::iter::Peekable<std::str::Chars<'_>>, result: &mut String) -> Result<(), String> {
    loop {
        match characters.next() {
            Some('\'') if characters.peek() == Some(&'\'') => {
                characters.next();
                result.push('\'');
            }
            Some('\'') => return Ok(()),
            Some(other) => result.push(other),
            None => return Err("a quoted part of the pattern does not end".to_owned()),
        }
    }
}

fn date_part(letter: char, count: usize, time: DateTime<FixedOffset>) -> Result<String, String> {
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
            return Err(format!("{verb:?} is no date verb; literal letters go in single quotes"));
        }
    })
}

fn zone(count: usize, time: DateTime<FixedOffset>) -> Result<String, String> {
    let utc = time.offset().local_minus_utc() == 0;
    Ok(match count {
        1 if utc => "Z".to_owned(),
        3 if utc => "UTC".to_owned(),
        1 | 5 => time.format("%:z").to_string(),
        3 | 4 => time.format("%z").to_string(),
        _ => return Err("a time zone is Z, ZZZ, ZZZZ or ZZZZZ".to_owned()),
    })
}
