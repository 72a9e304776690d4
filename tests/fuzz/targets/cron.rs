//! A cron line with a time zone, `LINE|ZONE`.
#![no_main]

use chrono::{DateTime, Utc};
use ingot_fuzz::domain::schedule::{self, cron::CronLine};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (line, zone) = text.split_once('|').unwrap_or((text, "Europe/Berlin"));
    let (Ok(cron), Ok(zone)) = (CronLine::parse(line), schedule::parse_zone(zone)) else { return };
    let from = DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap_or_default();
    let times: Vec<_> = cron.after(from, zone).take(20).collect();
    assert!(times.iter().all(|time| *time > from) && times.is_sorted());
});
