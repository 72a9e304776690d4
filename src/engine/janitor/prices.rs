//! What things cost, estimated: AWS's list prices on demand in us-east-1 for Linux, as of the year 2025, in US dollars.
//! What is not listed here has no estimate, rather than a wrong one.

use crate::cloud::{Instance, InstanceState, Snapshot, Volume};

/// A month as AWS counts it, in hours.
pub const HOURS_A_MONTH: f64 = 730.0;
/// A public IPv4 address, by the hour.
const PUBLIC_ADDRESS: f64 = 0.005;
/// A snapshot's GB, by the month.
const SNAPSHOT_GB: f64 = 0.05;
/// What `gp3` has without extra charge.
const GP3_IOPS: i32 = 3_000;

/// Families with the hourly price of their size `large`. The other sizes follow from it, by their share of the machine.
const LARGE: [(&str, f64); 38] = [
    ("t2", 0.0928),
    ("t3", 0.0832),
    ("t3a", 0.0752),
    ("t4g", 0.0672),
    ("m4", 0.1),
    ("m5", 0.096),
    ("m5a", 0.086),
    ("m5d", 0.113),
    ("m5n", 0.119),
    ("m6a", 0.0864),
    ("m6g", 0.077),
    ("m6i", 0.096),
    ("m7a", 0.115_92),
    ("m7g", 0.0816),
    ("m7i", 0.1008),
    ("m7i-flex", 0.095_76),
    ("m8g", 0.089_76),
    ("c4", 0.1),
    ("c5", 0.085),
    ("c5a", 0.077),
    ("c5d", 0.096),
    ("c5n", 0.108),
    ("c6a", 0.0765),
    ("c6g", 0.068),
    ("c6i", 0.085),
    ("c7a", 0.102_64),
    ("c7g", 0.0725),
    ("c7i", 0.089_25),
    ("c7i-flex", 0.084_79),
    ("c8g", 0.079_76),
    ("r5", 0.126),
    ("r5a", 0.113),
    ("r6a", 0.1134),
    ("r6g", 0.1008),
    ("r6i", 0.126),
    ("r7g", 0.1071),
    ("r7i", 0.1323),
    ("r8g", 0.117_82),
];

/// By the hour: the machine while it runs, and its public address. Its volumes are findings of their own.
#[must_use]
pub fn instance(instance: &Instance) -> Option<f64> {
    if !matches!(instance.state, InstanceState::Pending | InstanceState::Running) {
        return Some(0.0);
    }
    let address = if instance.public_ip.is_some() { PUBLIC_ADDRESS } else { 0.0 };
    Some(instance_type(&instance.instance_type)? + address)
}

/// By the hour, of a running machine of a type, such as `t3.micro`.
#[must_use]
pub fn instance_type(name: &str) -> Option<f64> {
    let (family, size) = name.split_once('.')?;
    let (_, large) = LARGE.iter().find(|(name, _)| *name == family)?;
    Some(large * share(size)?)
}

/// A size as a multiple of `large`.
fn share(size: &str) -> Option<f64> {
    match size {
        "nano" => Some(1.0 / 16.0),
        "micro" => Some(1.0 / 8.0),
        "small" => Some(1.0 / 4.0),
        "medium" => Some(1.0 / 2.0),
        "large" => Some(1.0),
        "xlarge" => Some(2.0),
        other => {
            let count: u8 = other.strip_suffix("xlarge")?.parse().ok()?;
            Some(2.0 * f64::from(count))
        }
    }
}

/// By the hour: size and, where they are paid for, IOPS. Extra throughput of `gp3` is not counted.
#[must_use]
pub fn volume(volume: &Volume) -> Option<f64> {
    let (gb, io) = match volume.volume_type.as_str() {
        "gp3" => (0.08, 0.005 * f64::from((volume.iops.unwrap_or(0) - GP3_IOPS).max(0))),
        "gp2" => (0.1, 0.0),
        "io1" | "io2" => (0.125, 0.065 * f64::from(volume.iops?)),
        "st1" => (0.045, 0.0),
        "sc1" => (0.015, 0.0),
        "standard" => (0.05, 0.0),
        _ => return None,
    };
    Some((gb * f64::from(volume.size_gib?) + io) / HOURS_A_MONTH)
}

/// By the hour, at most: a snapshot holds what was written and differs from the one before, which EC2 does not tell.
#[must_use]
pub fn snapshot(snapshot: &Snapshot) -> Option<f64> {
    Some(SNAPSHOT_GB * f64::from(snapshot.size_gib?) / HOURS_A_MONTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Cloud as _;
    use crate::cloud::fake::{FakeCloud, sample_launch};

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    async fn sample() -> (Instance, Volume) {
        let cloud = FakeCloud::new();
        cloud.run_instance("us-east-1", &sample_launch(&cloud, "us-east-1", "t")).await.unwrap();
        let mut instance = cloud.find_instances("us-east-1", &[]).await.unwrap().remove(0);
        instance.public_ip = None;
        (instance, cloud.find_volumes("us-east-1", &[]).await.unwrap().remove(0))
    }

    #[tokio::test]
    async fn machines_cost_while_they_run() {
        let (running, _) = sample().await;
        let of = |instance_type: &str| instance(&Instance { instance_type: instance_type.into(), ..running.clone() });
        close(of("t3.micro"), 0.0104);
        close(of("t3.nano"), 0.0052);
        close(of("m5.large"), 0.096);
        close(of("c5.xlarge"), 0.17);
        close(of("m7g.medium"), 0.0408);
        close(of("m5.24xlarge"), 4.608);
        for unknown in ["p5.48xlarge", "m5.metal", "m5", "", "m5.huge", "m5.999xlarge"] {
            assert_eq!(of(unknown), None, "{unknown}");
        }
        close(instance(&Instance { public_ip: Some("198.18.0.1".into()), ..running.clone() }), 0.0154);
        close(instance(&Instance { state: InstanceState::Stopped, ..running }), 0.0);
    }

    #[tokio::test]
    async fn storage_costs_by_size_and_kind() {
        let (_, small) = sample().await;
        let of = |kind: &str, size_gib, iops| {
            let sample = Volume { volume_type: kind.into(), size_gib, iops, ..small.clone() };
            volume(&sample).map(|hourly| hourly * HOURS_A_MONTH)
        };
        close(of("gp3", Some(100), Some(3_000)), 8.0);
        close(of("gp3", Some(100), Some(4_000)), 13.0);
        close(of("gp2", Some(100), Some(300)), 10.0);
        close(of("io1", Some(100), Some(1_000)), 77.5);
        assert_eq!(of("io2", Some(100), None), None);
        assert_eq!(of("gp4", Some(100), None), None);
        assert_eq!(of("gp3", None, None), None);
        let image = Snapshot {
            id: "snap-1".into(),
            state: "completed".into(),
            progress: None,
            size_gib: Some(8),
            encrypted: false,
            kms_key_id: None,
            created_at: None,
            tags: Vec::new(),
        };
        close(snapshot(&image).map(|hourly| hourly * HOURS_A_MONTH), 0.4);
    }
}
