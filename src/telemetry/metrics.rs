//! The one list of metric names with their meaning. What is recorded anywhere stands here; a test reads the sources and
//! compares. All names begin with `ingot_`; durations are in seconds.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// `1`, with the labels `version` and `deployment`.
pub const INFO: &str = "ingot_info";
/// See [`METRICS`].
pub const MAX_BUILDS: &str = "ingot_max_builds";
/// See [`METRICS`].
pub const DRAINING: &str = "ingot_draining";
/// See [`METRICS`].
pub const DATABASE_UP: &str = "ingot_database_up";
/// See [`METRICS`].
pub const DATABASE_PING_SECONDS: &str = "ingot_database_ping_seconds";

/// Every metric: name, kind, meaning.
pub const METRICS: &[(&str, Kind, &str)] = &[
    (INFO, Kind::Gauge, "Always 1; the labels name the version and the deployment."),
    (MAX_BUILDS, Kind::Gauge, "How many builds this server carries out at once."),
    (DRAINING, Kind::Gauge, "1 while the server stops softly: it claims no builds and is not ready."),
    (DATABASE_UP, Kind::Gauge, "Whether the database answered this server's last ping."),
    (
        DATABASE_PING_SECONDS,
        Kind::Histogram,
        "How long the database took to answer a ping, a wait for a free connection included.",
    ),
    (
        "ingot_builds",
        Kind::Gauge,
        "Builds of the installation that are not over, by account and state: queued, running, unwinding, stuck.",
    ),
    (
        "ingot_queue_oldest_age_seconds",
        Kind::Gauge,
        "How long the build that has waited longest has waited; 0 without one.",
    ),
    (
        "ingot_build_wait_seconds",
        Kind::Histogram,
        "How long first attempts waited for their turn, by account; of builds that this server took.",
    ),
    (
        "ingot_build_duration_seconds",
        Kind::Histogram,
        "How long attempts took from their claim to their end, by account and outcome; of builds that ended on this server.",
    ),
    (
        "ingot_step_duration_seconds",
        Kind::Histogram,
        "How long steps took, by step and outcome; `wait_running`, `wait_image` and `wait_copy` are waits for the cloud.",
    ),
    (
        "ingot_schedules_late",
        Kind::Gauge,
        "Schedules whose time came more than a minute ago and that nobody has served.",
    ),
    ("ingot_stage_tags_pending", Kind::Gauge, "Images whose AMIs do not carry their stage as a tag yet."),
    (
        "ingot_stage_newest_image_age_seconds",
        Kind::Gauge,
        "Age of the newest image that a stage holds: it grows when rebuilds or promotions have stopped; 0 when it holds none.",
    ),
    (
        "ingot_stage_oldest_image_age_seconds",
        Kind::Gauge,
        "Age of the oldest image that a stage still holds; 0 when it holds none.",
    ),
    (
        "ingot_cloud_calls_total",
        Kind::Counter,
        "Calls to the cloud by operation, account, region and outcome (ok or the error's class).",
    ),
    (
        "ingot_cloud_call_seconds",
        Kind::Histogram,
        "How long calls to the cloud took, by operation, account and region.",
    ),
    (
        "ingot_cloud_budget_wait_seconds",
        Kind::Histogram,
        "How long calls to the cloud waited for the rate budget, by operation, account and region.",
    ),
];

/// From a fast local answer to a call's limit of 15 s, in seconds.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0];
/// Builds take minutes to hours, in seconds.
const BUILD_BUCKETS: &[f64] =
    &[0.1, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0];
/// Recorded values wait in memory until they are added up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Installs the recorder of this process and describes all metrics.
///
/// # Errors
/// When there is one already.
pub fn install() -> Result<PrometheusHandle, String> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Prefix("ingot_build_".to_owned()), BUILD_BUCKETS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Prefix("ingot_step_".to_owned()), BUILD_BUCKETS))
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS))
        .map_err(|error| error.to_string())?;
    let handle = builder.install_recorder().map_err(|error| error.to_string())?;
    for (name, kind, meaning) in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *meaning),
            Kind::Gauge => metrics::describe_gauge!(*name, *meaning),
            Kind::Histogram => metrics::describe_histogram!(*name, *meaning),
        }
    }
    Ok(handle)
}

/// Keeps the recorder's memory small, for as long as the process lives.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use regex::Regex;

    use super::*;

    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("telemetry/metrics.rs")
            {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn what_is_recorded_is_listed_and_what_is_listed_is_recorded() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let literal = Regex::new(r#"(?:counter|gauge|histogram)!\(\s*"([^"]+)""#).unwrap();
        let recorded: BTreeSet<&str> = files
            .iter()
            .flat_map(|text| literal.captures_iter(text).map(|found| found.get(1).unwrap().as_str()))
            .collect();
        let listed: BTreeSet<&str> = METRICS.iter().map(|(name, ..)| *name).collect();
        let constants = [INFO, MAX_BUILDS, DRAINING, DATABASE_UP, DATABASE_PING_SECONDS];
        let missing: Vec<_> = recorded.iter().filter(|name| !listed.contains(*name)).collect();
        assert!(missing.is_empty(), "recorded, but not in METRICS: {missing:?}");
        let idle: Vec<_> =
            listed.iter().filter(|name| !recorded.contains(*name) && !constants.contains(name)).collect();
        assert!(idle.is_empty(), "in METRICS, but nowhere recorded: {idle:?}");
    }

    #[test]
    fn names_follow_prometheus() {
        let mut seen = BTreeSet::new();
        for (name, kind, meaning) in METRICS {
            assert!(name.starts_with("ingot_") && seen.insert(name), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name} has no buckets");
            assert!(meaning.ends_with('.'), "{name}");
        }
    }
}
