use super::*;
use crate::domain::schedule::cron::{CronError, CronLine, Field};
use uuid::Uuid;

/// Rows of tests/cron: made by a simulation of Debian's cron, minute by minute (`second_opinion.py` beside them).
const TABLE: &str = include_str!("../../../tests/cron/table.tsv");
const BAD_LINES: &str = include_str!("../../../tests/cron/bad_lines.tsv");

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().skip(1).map(|line| line.split('\t').collect())
}

/// Tabs and line feeds are written as `\t` and `\n` there.
fn unescaped(line: &str) -> String {
    line.replace("\\t", "\t").replace("\\n", "\n")
}

fn cadence(line: &str, zone: &str) -> Cadence {
    Cadence {
        line: CronLine::parse(line).unwrap_or_else(|error| panic!("{line}: {error}")),
        zone: parse_zone(zone).unwrap(),
    }
}

#[test]
fn lines_agree_with_a_simulation_of_debians_cron() {
    let mut differing = Vec::new();
    let mut count = 0;
    for row in rows(TABLE) {
        let [line, zone, after, expected, shows] = row.as_slice() else { panic!("{row:?}") };
        let Ok(after) = after.parse() else { continue };
        count += 1;
        let times: Vec<String> = cadence(&unescaped(line), zone)
            .after(after)
            .take(5)
            .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
            .collect();
        if times.join(",") != **expected {
            differing.push(format!("{line} {zone} after {after} ({shows}):\n  {}\n  {expected}", times.join(",")));
        }
    }
    assert!(differing.is_empty(), "{} of {count} rows differ:\n{}", differing.len(), differing.join("\n"));
    assert!(count >= 60, "{count}");
}

/// A second library, where it means the same: lines with one minute and one hour, or with stars in both.
#[test]
fn lines_agree_with_croner() {
    let mut compared = 0;
    for row in rows(TABLE) {
        let [line, zone, after, ..] = row.as_slice() else { panic!("{row:?}") };
        let Ok(after) = after.parse::<DateTime<Utc>>() else { continue };
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [minute, hour, day, _, weekday] = fields.as_slice() else { continue };
        let one = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit());
        // It takes lists of times of day for wall-clock lines, and a stepped star in a day field for a restriction.
        let by_the_clock = minute.starts_with('*') || hour.starts_with('*');
        if !(by_the_clock || one(minute) && one(hour)) || day.starts_with("*/") || weekday.starts_with("*/") {
            continue;
        }
        // It gives up at the day that Samoa left out.
        if *zone == "Pacific/Apia" {
            continue;
        }
        let Ok(theirs) = line.parse::<croner::Cron>() else { continue };
        let zone = parse_zone(zone).unwrap();
        let expected: Vec<_> =
            theirs.iter_after(after.with_timezone(&zone)).take(5).map(|time| time.to_utc()).collect();
        let times: Vec<_> = cadence(line, zone.name()).after(after).take(5).collect();
        assert_eq!(times, expected, "{line} {zone} after {after}");
        compared += 1;
    }
    assert!(compared >= 40, "{compared}");
}

#[test]
fn bad_lines_name_the_field() {
    let mut differing = Vec::new();
    let mut count = 0;
    for row in rows(BAD_LINES) {
        let [line, field, ..] = row.as_slice() else { panic!("{row:?}") };
        count += 1;
        match CronLine::parse(&unescaped(line)) {
            Ok(_) => differing.push(format!("{line:?} is taken; expected a complaint about the {field}")),
            Err(error) if error.field.to_string() != **field => {
                differing.push(format!("{line:?}: {error}; expected the {field}"));
            }
            Err(error) => assert!(!error.reason.is_empty()),
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(count >= 40, "{count}");
}

#[test]
fn complaints_say_what_to_do() {
    let complaint = |line: &str| CronLine::parse(line).unwrap_err().to_string();
    insta::assert_snapshot!(
        ["0 6 * * 8", "0 24 * * *", "0 0 31 2 *", "0 6 * *", "0 0 6 * * 1", "5/10 * * * *", "0 6 * * fri-mon", "@fortnightly", "0 6 * * 1,", "0 L * * *"]
            .map(complaint)
            .join("\n"),
        @r#"
        day of week: 8 is not from 0 to 7
        hour: 24 is not from 0 to 23
        line: it never happens: no month that it names has such a day
        line: it has 4 fields, not the 5 of a cron line: minute, hour, day of month, month, day of week
        line: it has 6 fields, not the 5 of a cron line: minute, hour, day of month, month, day of week; lines here have no seconds and no years
        minute: "5/10": a step needs a range or * before it, such as 5-59/10
        day of week: "fri-mon" goes backwards; write it as two ranges
        line: "@fortnightly" is not known; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually
        day of week: a value is missing beside a comma
        hour: "L" is not a number from 0 to 23
        "#
    );
    let error = CronLine::parse("0 6 * foo *").unwrap_err();
    assert!(matches!(error, CronError { field: Field::Month, .. }));
}

#[test]
fn monday_is_one() {
    let times: Vec<_> = cadence("0 6 * * 1", "UTC").after("2026-11-26T00:00:00Z".parse().unwrap()).take(2).collect();
    assert_eq!(times[0].to_rfc3339(), "2026-11-30T06:00:00+00:00");
    assert_eq!(times[1] - times[0], TimeDelta::days(7));
}

#[test]
fn zones_are_named_and_hinted_at() {
    assert!(parse_zone("Europe/Berlin").is_ok() && parse_zone("UTC").is_ok());
    assert!(parse_zone("europe/berlin").unwrap_err().contains("\"Europe/Berlin\""));
    assert!(parse_zone("berlin").unwrap_err().contains("\"Europe/Berlin\""));
    assert!(parse_zone("Mars/Olympus").unwrap_err().contains("IANA"));
}

#[test]
fn jitter_is_fixed_for_a_slot_and_spread_over_slots() {
    let schedule = ScheduleId(Uuid::from_u128(7));
    let slots: Vec<_> = cadence("0 * * * *", "UTC").after(DateTime::UNIX_EPOCH).take(50).collect();
    let offsets: Vec<_> = slots.iter().map(|slot| jitter_offset(schedule, *slot, Duration::from_mins(10))).collect();
    assert_eq!(offsets[3], jitter_offset(schedule, slots[3], Duration::from_mins(10)));
    assert!(offsets.iter().all(|offset| (0..600).contains(&offset.num_seconds())));
    assert!(offsets.iter().collect::<std::collections::BTreeSet<_>>().len() > 30);
    assert_eq!(jitter_offset(schedule, slots[0], Duration::ZERO), TimeDelta::zero());
}
