//! Schedules as people read them.

use serde_json::Value;

use super::super::table::{Table, facts};
use super::super::wire::{Firing, NextTime, Schedule};

/// The list.
pub fn table(schedules: &[Schedule]) -> Table {
    let mut table = Table::new(&["NAME", "TEMPLATE", "CRON", "TIME ZONE", "STATE", "NEXT", "LAST"]);
    for schedule in schedules {
        table.row([
            schedule.name.clone(),
            template(schedule),
            schedule.cron.clone(),
            schedule.time_zone.clone(),
            state(schedule).to_owned(),
            schedule.next.first().map_or_else(String::new, |next| next.utc.clone()),
            schedule.last_firing.as_ref().map_or_else(String::new, last),
        ]);
    }
    table
}

/// All about one.
pub fn one(schedule: &Schedule) -> String {
    let jitter = (schedule.jitter_seconds > 0).then(|| format!("up to {}", span(schedule.jitter_seconds)));
    let created = schedule.created_at.as_ref().map(|at| match &schedule.created_by {
        Some(principal) => format!("{at} by {principal}"),
        None => at.clone(),
    });
    let firing = schedule.last_firing.as_ref();
    let lines = [
        ("schedule", Some(schedule.name.clone())),
        ("id", Some(schedule.id.clone())),
        ("state", Some(state(schedule).to_owned())),
        ("template", Some(template(schedule))),
        ("cron", Some(schedule.cron.clone())),
        ("time zone", Some(schedule.time_zone.clone())),
        ("jitter", jitter),
        ("overlap", schedule.overlap.clone()),
        ("catch up", schedule.catch_up.clone()),
        ("account", schedule.account.clone()),
        ("family", schedule.family.clone()),
        ("git sha", schedule.git_sha.clone()),
        ("only", Some(schedule.only.join(", "))),
        ("except", Some(schedule.except.join(", "))),
        ("timeout", schedule.timeout_seconds.map(span)),
        ("variables", Some(pairs(&schedule.variables))),
        ("env", Some(pairs(&schedule.env))),
        ("labels", Some(pairs(&schedule.labels))),
        ("last", firing.map(last)),
        ("last run", firing.and_then(|firing| Some(firing.run.as_ref()?.id.clone()))),
        ("reason", firing.and_then(|firing| firing.reason.clone())),
        ("created", created),
        ("updated", schedule.updated_at.clone()),
    ];
    let mut text = facts(&lines);
    if !schedule.next.is_empty() {
        text.push('\n');
        text.push_str(&times(&schedule.next, &schedule.time_zone).render());
    }
    text
}

/// What a change came to.
pub fn changed(schedule: &Schedule, what: &str) -> String {
    let next = match schedule.next.first() {
        Some(next) => format!("Next: {} ({}).", next.utc, next.local),
        None if schedule.enabled => "There is no next time.".to_owned(),
        None => format!("Resume it with: ingot schedules resume {}", schedule.name),
    };
    format!("Schedule {} {what}. {next}\n", schedule.name)
}

/// What became of its times.
pub fn firings(firings: &[Firing]) -> Table {
    let mut table = Table::new(&["TIME", "AT", "OUTCOME", "RUN", "RUN STATE", "BY", "REASON"]);
    for firing in firings {
        let (run, state) = firing.run.as_ref().map_or_else(Default::default, |run| (run.id.clone(), run.state.clone()));
        table.row([
            firing.slot.clone().unwrap_or_else(|| "by hand".to_owned()),
            firing.at.clone(),
            firing.outcome.clone(),
            run,
            state,
            firing.principal.clone().unwrap_or_default(),
            firing.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// The times to come, in UTC and on the zone's clock.
pub fn times(next: &[NextTime], zone: &str) -> Table {
    let mut table = Table::new(&["NEXT (UTC)", &format!("NEXT ({zone})")]);
    for time in next {
        table.row([time.utc.clone(), time.local.clone()]);
    }
    table
}

fn template(schedule: &Schedule) -> String {
    match schedule.pinned_version {
        Some(version) => format!("{} v{version}", schedule.template),
        None => format!("{} (newest)", schedule.template),
    }
}

fn state(schedule: &Schedule) -> &'static str {
    if schedule.enabled { "enabled" } else { "paused" }
}

/// `started 2026-07-29T06:00:00Z, succeeded`.
fn last(firing: &Firing) -> String {
    let run = firing.run.as_ref().map_or_else(String::new, |run| format!(", {}", run.state));
    format!("{} {}{run}", firing.outcome, firing.slot.as_ref().unwrap_or(&firing.at))
}

/// `a=1 b=["x"]`.
fn pairs(pairs: &serde_json::Map<String, Value>) -> String {
    let pair = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
}

/// Seconds as `1h30m`.
fn span(seconds: i64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}"));
    parts.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schedule(changes: &Value) -> Schedule {
        let mut schedule = json!({"id": "s1", "name": "web-weekly", "template": "web", "version": "newest", "pinned_version": null,
            "cron": "0 6 * * 1", "time_zone": "Europe/Berlin", "variables": {}, "enabled": true, "overlap": "skip",
            "catch_up": "last", "jitter_seconds": 0, "account": null, "family": null, "git_sha": null, "labels": {},
            "next": [{"utc": "2026-11-30T05:00:00Z", "local": "2026-11-30T06:00:00+01:00"},
                     {"utc": "2026-12-07T05:00:00Z", "local": "2026-12-07T06:00:00+01:00"}],
            "last_firing": null, "created_by": "ada", "created_at": "2026-07-29T10:00:00Z", "updated_at": "2026-07-29T11:00:00Z"});
        for (name, value) in changes.as_object().unwrap() {
            schedule[name] = value.clone();
        }
        serde_json::from_value(schedule).unwrap()
    }

    fn paused() -> Schedule {
        schedule(
            &json!({"name": "db", "template": "database", "version": "pinned", "pinned_version": 3, "enabled": false,
            "variables": {"a": "1", "b": ["x"]}, "jitter_seconds": 5430, "account": "prod", "labels": {"team": "web"}, "next": [],
            "last_firing": {"slot": "2026-07-27T04:00:00Z", "at": "2026-07-27T04:00:09Z", "outcome": "skipped",
                "reason": "a run is still at work", "run": null, "principal": "ingot"}}),
        )
    }

    #[test]
    fn a_list() {
        insta::assert_snapshot!(table(&[schedule(&json!({})), paused()]).render(), @"
        NAME        TEMPLATE      CRON       TIME ZONE      STATE    NEXT                  LAST
        web-weekly  web (newest)  0 6 * * 1  Europe/Berlin  enabled  2026-11-30T05:00:00Z
        db          database v3   0 6 * * 1  Europe/Berlin  paused                         skipped 2026-07-27T04:00:00Z
        ");
    }

    #[test]
    fn one_that_is_enabled() {
        let firing = json!({"slot": null, "at": "2026-07-29T12:00:00Z", "outcome": "started", "reason": null,
            "run": {"id": "r1", "state": "running"}, "principal": "ada"});
        insta::assert_snapshot!(one(&schedule(&json!({"last_firing": firing}))), @"
        schedule   web-weekly
        id         s1
        state      enabled
        template   web (newest)
        cron       0 6 * * 1
        time zone  Europe/Berlin
        overlap    skip
        catch up   last
        last       started 2026-07-29T12:00:00Z, running
        last run   r1
        created    2026-07-29T10:00:00Z by ada
        updated    2026-07-29T11:00:00Z

        NEXT (UTC)            NEXT (Europe/Berlin)
        2026-11-30T05:00:00Z  2026-11-30T06:00:00+01:00
        2026-12-07T05:00:00Z  2026-12-07T06:00:00+01:00
        ");
    }

    #[test]
    fn one_that_is_paused() {
        insta::assert_snapshot!(one(&paused()), @r#"
        schedule   db
        id         s1
        state      paused
        template   database v3
        cron       0 6 * * 1
        time zone  Europe/Berlin
        jitter     up to 1h30m30s
        overlap    skip
        catch up   last
        account    prod
        variables  a=1 b=["x"]
        labels     team=web
        last       skipped 2026-07-27T04:00:00Z
        reason     a run is still at work
        created    2026-07-29T10:00:00Z by ada
        updated    2026-07-29T11:00:00Z
        "#);
    }

    #[test]
    fn changes_tell_what_comes_next() {
        let never = schedule(&json!({"next": []}));
        let all =
            [changed(&schedule(&json!({})), "is made"), changed(&paused(), "is paused"), changed(&never, "is changed")];
        insta::assert_snapshot!(all.concat(), @"
        Schedule web-weekly is made. Next: 2026-11-30T05:00:00Z (2026-11-30T06:00:00+01:00).
        Schedule db is paused. Resume it with: ingot schedules resume db
        Schedule web-weekly is changed. There is no next time.
        ");
    }

    #[test]
    fn what_became_of_its_times() {
        let all: Vec<Firing> = serde_json::from_value(json!([
            {"slot": null, "at": "2026-07-29T12:00:00Z", "outcome": "started", "reason": null,
             "run": {"id": "r2", "state": "running"}, "principal": "ada"},
            {"slot": "2026-07-27T04:00:00Z", "at": "2026-07-27T04:00:09Z", "outcome": "skipped", "reason": "a run is still at work",
             "run": null, "principal": "schedule:web-weekly"}]))
        .unwrap();
        insta::assert_snapshot!(firings(&all).render(), @"
        TIME                  AT                    OUTCOME  RUN  RUN STATE  BY                   REASON
        by hand               2026-07-29T12:00:00Z  started  r2   running    ada
        2026-07-27T04:00:00Z  2026-07-27T04:00:09Z  skipped                  schedule:web-weekly  a run is still at work
        ");
    }
}
