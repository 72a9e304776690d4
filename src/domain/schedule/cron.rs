//! Unix cron lines as Debian's cron reads them (crontab(5), cron(8)): five fields, 0 and 7 are Sunday, and the two day
//! fields are joined with OR unless one of them begins with `*`. `docs/decisions/0008` says why this is not a library's.
//!
//! Daylight saving time: a line whose minute and hour do not begin with `*` names times of day. Such a time that the clock
//! jumps over happens at the first instant after the gap, and one that comes twice happens the first time only. All other
//! lines go by the clock: what is jumped over does not happen, what comes twice happens twice.

use std::fmt;

use chrono::{DateTime, Datelike as _, Days, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

/// How far ahead a next time is looked for: the rarest lines (29 February on a certain weekday) come within 40 years.
const HORIZON_DAYS: u32 = 366 * 41;
/// What is jumped over by less than this is made up for; a longer jump (Samoa left a day out in 2011) is a correction.
const LONGEST_GAP_MINUTES: i64 = 180;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Which field of a line a complaint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
    /// The line as a whole.
    Line,
}

impl Field {
    fn range(self) -> (u32, u32) {
        match self {
            Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek | Self::Line => (0, 7),
        }
    }

    /// The value of a name such as `jan` or `mon`.
    fn named(self, text: &str) -> Option<u32> {
        let (names, first): (&[&str], u32) = match self {
            Self::Month => (&MONTHS, 1),
            Self::DayOfWeek => (&WEEKDAYS, 0),
            _ => return None,
        };
        let index = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
        u32::try_from(index).ok().map(|index| index + first)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
            Self::Line => "line",
        })
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct CronError {
    pub field: Field,
    pub reason: String,
}

/// A cron line, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronLine {
    text: String,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
}

/// The values of a field, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    bits: u64,
    /// The field begins with `*`, a step after it included: what crontab(5) calls unrestricted.
    star: bool,
}

impl Set {
    fn has(self, value: u32) -> bool {
        self.bits >> value & 1 == 1
    }

    fn values(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |value| self.has(*value))
    }
}

impl CronLine {
    /// Reads a line of five fields, or one of `@hourly @daily @midnight @weekly @monthly @yearly @annually`.
    ///
    /// # Errors
    /// Which field is wrong, and why; also when the line can never come true, such as 31 February.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fail = |reason: String| Err(CronError { field: Field::Line, reason });
        let text = text.trim();
        let line = match text.to_ascii_lowercase().as_str() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            "@reboot" => {
                return fail("@reboot names no time; a server here has no boot that a run could follow".into());
            }
            word if word.starts_with('@') => {
                return fail(format!(
                    "{text:?} is not known; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"
                ));
            }
            _ => text,
        };
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            let hint = match fields.len() {
                6 | 7 => "; lines here have no seconds and no years",
                _ => "",
            };
            return fail(format!(
                "it has {} fields, not the 5 of a cron line: minute, hour, day of month, month, day of week{hint}",
                fields.len()
            ));
        };
        let mut line = Self {
            text: text.to_owned(),
            minutes: read(Field::Minute, minute)?,
            hours: read(Field::Hour, hour)?,
            days: read(Field::DayOfMonth, day)?,
            months: read(Field::Month, month)?,
            weekdays: read(Field::DayOfWeek, weekday)?,
        };
        // 7 is Sunday, too.
        line.weekdays.bits = (line.weekdays.bits | line.weekdays.bits >> 7) & 0x7f;
        if line.has_a_day() { Ok(line) } else { fail("it never happens: no month that it names has such a day".into()) }
    }

    /// The line as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The times after an instant, in order, by the clock of a time zone. It ends when none comes in 41 years.
    pub fn after(&self, instant: DateTime<Utc>, zone: Tz) -> impl Iterator<Item = DateTime<Utc>> {
        let mut date = instant.with_timezone(&zone).date_naive();
        let mut idle_days = 0;
        let mut ready: std::vec::IntoIter<DateTime<Utc>> = Vec::new().into_iter();
        let mut last = instant;
        std::iter::from_fn(move || {
            loop {
                if let Some(next) = ready.by_ref().find(|time| *time > last) {
                    last = next;
                    return Some(next);
                }
                if idle_days == HORIZON_DAYS {
                    return None;
                }
                idle_days += 1;
                if self.matches(date) {
                    idle_days = 0;
                    ready = self.times_of(date, zone).into_iter();
                }
                date = date.checked_add_days(Days::new(1))?;
            }
        })
    }

    fn matches(&self, date: NaiveDate) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().num_days_from_sunday());
        self.months.has(date.month()) && if self.either_day() { day || weekday } else { day && weekday }
    }

    /// Whether one of the two day fields is enough.
    fn either_day(&self) -> bool {
        !self.days.star && !self.weekdays.star
    }

    /// Whether minute and hour name times of day, rather than going by the clock.
    fn names_times_of_day(&self) -> bool {
        !self.minutes.star && !self.hours.star
    }

    fn has_a_day(&self) -> bool {
        let longest = |month| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        self.either_day() || self.months.values().any(|month| (1..=longest(month)).any(|day| self.days.has(day)))
    }

    /// The instants of one date, in order.
    fn times_of(&self, date: NaiveDate, zone: Tz) -> Vec<DateTime<Utc>> {
        let mut times = Vec::new();
        let clock = self.hours.values().flat_map(|hour| self.minutes.values().map(move |minute| (hour, minute)));
        for local in clock.filter_map(|(hour, minute)| date.and_hms_opt(hour, minute, 0)) {
            match zone.from_local_datetime(&local) {
                LocalResult::Single(time) => times.push(time.to_utc()),
                LocalResult::Ambiguous(first, second) => {
                    times.push(first.to_utc());
                    if !self.names_times_of_day() {
                        times.push(second.to_utc());
                    }
                }
                LocalResult::None if self.names_times_of_day() => times.extend(end_of_gap(local, zone)),
                LocalResult::None => {}
            }
        }
        times.sort_unstable();
        times.dedup();
        times
    }
}

impl fmt::Display for CronLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The first instant after the gap that holds this local time; `None` when the gap is too long to be made up for.
fn end_of_gap(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let nearest = |direction: i64| {
        (1..LONGEST_GAP_MINUTES).find_map(|minutes| {
            let there = local.checked_add_signed(TimeDelta::minutes(minutes * direction))?;
            zone.from_local_datetime(&there).earliest().map(|time| (minutes, time.to_utc()))
        })
    };
    let ((before, _), (after, end)) = (nearest(-1)?, nearest(1)?);
    (before + after - 1 < LONGEST_GAP_MINUTES).then_some(end)
}

fn read(field: Field, text: &str) -> Result<Set, CronError> {
    let mut bits = 0;
    for item in text.split(',') {
        bits |= read_item(field, item).map_err(|reason| CronError { field, reason })?;
    }
    Ok(Set { bits, star: text.starts_with('*') })
}

/// `*`, a value, `a-b`, and a step behind `*` or a range.
fn read_item(field: Field, item: &str) -> Result<u64, String> {
    let (lowest, highest) = field.range();
    let (range, step) = match item.split_once('/') {
        None => (item, 1),
        Some((range, step)) => match step.parse::<u32>() {
            Ok(step) if step > 0 && only_digits(step_text(item)) => (range, step),
            _ => return Err(format!("{item:?}: the step after / must be a whole number from 1 on")),
        },
    };
    if range.is_empty() {
        return Err(if item.is_empty() {
            "a value is missing beside a comma".into()
        } else {
            format!("{item:?}: a range or * is missing before the step")
        });
    }
    let (from, to) = if range == "*" {
        (lowest, highest)
    } else if let Some((from, to)) = range.split_once('-') {
        let (first, last) = (value(field, from)?, value(field, to)?);
        if first > last {
            return Err(format!("{range:?} goes backwards; write it as two ranges"));
        }
        (first, last)
    } else {
        if item.contains('/') {
            return Err(format!("{item:?}: a step needs a range or * before it, such as {range}-{highest}/{step}"));
        }
        let only = value(field, range)?;
        (only, only)
    };
    let stride = usize::try_from(step).map_err(|_| format!("{item:?}: the step is too large"))?;
    Ok((from..=to).step_by(stride).fold(0, |bits, value| bits | 1 << value))
}

fn step_text(item: &str) -> &str {
    item.rsplit('/').next().unwrap_or_default()
}

fn only_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn value(field: Field, text: &str) -> Result<u32, String> {
    let (lowest, highest) = field.range();
    if let Some(value) = field.named(text) {
        return Ok(value);
    }
    if text.is_empty() {
        return Err("a value is missing beside -".into());
    }
    if !only_digits(text) {
        let names = match field {
            Field::Month => " or jan to dec",
            Field::DayOfWeek => " or sun to sat",
            _ => "",
        };
        return Err(format!("{text:?} is not a number from {lowest} to {highest}{names}"));
    }
    match text.parse() {
        Ok(value) if (lowest..=highest).contains(&value) => Ok(value),
        _ => Err(format!("{text} is not from {lowest} to {highest}")),
    }
}
