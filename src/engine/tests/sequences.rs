//! Random mishaps, several in a row: deaths at any write and in any call, faults of the cloud, outages of the database,
//! cancels, drains, machines that die, and servers that freeze and wake up when another one has their build. Whatever
//! comes together, the build ends by itself with exactly its images or with nothing. Set `INGOT_CRASH_SEED` to the seed
//! that a failure printed to see it again, `INGOT_CRASH_SEQUENCES` for more or fewer than the usual number.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio_util::sync::CancellationToken;

use super::memory_journal::Landed;
use super::tally::outcome;
use super::world::{PLAIN, TestWorld, plain_with, surrogate_with, volumes};
use crate::cloud::CloudErrorClass;
use crate::cloud::fake::{FakeTimings, FaultKind, Gate, Latency, Phase};
use crate::domain::state::BuildState;
use crate::engine::lease::LEASE_TTL;

/// Sequences in a usual run of the tests.
const SEQUENCES: usize = 5200;

const OPERATIONS: [&str; 24] = [
    "RunInstances",
    "ImportKeyPair",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "CreateImage",
    "CopyImage",
    "CreateSnapshot",
    "RegisterImage",
    "DetachVolume",
    "AttachVolume",
    "StopInstances",
    "TerminateInstances",
    "DeleteKeyPair",
    "DeleteSecurityGroup",
    "DeregisterImage",
    "DeleteSnapshot",
    "CreateTags",
    "DeleteTags",
    "DescribeInstances",
    "DescribeImages",
    "DescribeSubnets",
    "DescribeSnapshots",
    "DescribeVolumes",
    "*",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PlanKind {
    Plain,
    Copies,
    Encrypted,
    NoImage,
    FailingScript,
    ErrorCleanup,
    Surrogate,
    SwappedRoot,
    Volumes,
    TwoSources,
}

impl PlanKind {
    const ALL: [Self; 10] = [
        Self::Plain,
        Self::Copies,
        Self::Encrypted,
        Self::NoImage,
        Self::FailingScript,
        Self::ErrorCleanup,
        Self::Surrogate,
        Self::SwappedRoot,
        Self::Volumes,
        Self::TwoSources,
    ];

    fn template(self) -> String {
        match self {
            Self::Plain | Self::TwoSources => PLAIN.to_owned(),
            Self::Copies => plain_with(r#"ami_regions = ["us-west-2", "eu-west-1"]"#),
            Self::Encrypted => plain_with("encrypt_boot = true"),
            Self::NoImage => plain_with("skip_create_ami = true"),
            Self::FailingScript => plain_with(r#"ami_regions = ["us-west-2"]"#),
            Self::Surrogate => surrogate_with(r#"ami_regions = ["us-west-2"]"#),
            Self::SwappedRoot => surrogate_with("use_create_image = true"),
            Self::Volumes => volumes(),
            Self::ErrorCleanup => {
                let cleanup = "  error-cleanup-provisioner \"shell\" { inline = [\"save\"] }\n  post-processor";
                PLAIN.replacen("  post-processor", cleanup, 1)
            }
        }
    }

    fn images(self) -> usize {
        match self {
            Self::Copies => 3,
            Self::NoImage | Self::Volumes => 0,
            Self::FailingScript | Self::Surrogate => 2,
            _ => 1,
        }
    }

    fn script_fails(self) -> bool {
        matches!(self, Self::FailingScript | Self::ErrorCleanup)
    }
}

#[derive(Debug, Clone, Copy)]
enum FaultOf {
    Throttled,
    Unavailable,
    Capacity,
    Refused,
    ReplyLost,
    RequestLost,
    Slow(u8),
}

#[derive(Debug, Clone)]
enum Mishap {
    /// The owner dies so many writes later.
    DieAtWrite {
        later: usize,
        landed: bool,
    },
    /// The owner dies in a call so many calls later.
    DieInCall {
        later: usize,
        before: bool,
    },
    /// The owner is frozen so many seconds later, and wakes up when another one has had the build for a while.
    Freeze {
        after: u16,
        other_has_it: u16,
    },
    /// The owner is told to stop.
    Drain {
        after: u16,
    },
    Fault {
        operation: usize,
        kind: FaultOf,
        times: usize,
    },
    /// The database does not answer so many writes, and carries out every second of them.
    Outage {
        writes: usize,
    },
    Cancel {
        after: u16,
    },
    MachineDies {
        after: u16,
    },
    /// New things are not seen at first.
    Invisible {
        looks: u32,
    },
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let kind = prop_oneof![
        Just(FaultOf::Throttled),
        Just(FaultOf::Unavailable),
        Just(FaultOf::Capacity),
        Just(FaultOf::Refused),
        Just(FaultOf::ReplyLost),
        Just(FaultOf::RequestLost),
        (1..30u8).prop_map(FaultOf::Slow),
    ];
    prop_oneof![
        4 => (0..70usize, any::<bool>()).prop_map(|(later, landed)| Mishap::DieAtWrite { later, landed }),
        4 => (1..60usize, any::<bool>()).prop_map(|(later, before)| Mishap::DieInCall { later, before }),
        2 => (0..90u16, 0..90u16).prop_map(|(after, other_has_it)| Mishap::Freeze { after, other_has_it }),
        1 => (0..90u16).prop_map(|after| Mishap::Drain { after }),
        4 => (0..OPERATIONS.len(), kind, 1..4usize)
            .prop_map(|(operation, kind, times)| Mishap::Fault { operation, kind, times }),
        1 => (1..9usize).prop_map(|writes| Mishap::Outage { writes }),
        1 => (0..200u16).prop_map(|after| Mishap::Cancel { after }),
        1 => (0..200u16).prop_map(|after| Mishap::MachineDies { after }),
        // What is not seen for longer is the janitor's, ten minutes later.
        1 => Just(Mishap::Invisible { looks: 1 }),
    ]
}

fn sequence() -> impl Strategy<Value = (PlanKind, Vec<Mishap>)> {
    (prop::sample::select(PlanKind::ALL.to_vec()), prop::collection::vec(mishap(), 0..6))
}

fn fault(kind: FaultOf) -> FaultKind {
    match kind {
        FaultOf::Throttled => FaultKind::refuse(CloudErrorClass::Throttled, "RequestLimitExceeded"),
        FaultOf::Unavailable => FaultKind::refuse(CloudErrorClass::Unavailable, "InternalError"),
        FaultOf::Capacity => FaultKind::refuse(CloudErrorClass::Capacity, "InsufficientInstanceCapacity"),
        FaultOf::Refused => FaultKind::refuse(CloudErrorClass::Invalid, "InvalidParameterValue"),
        FaultOf::ReplyLost => FaultKind::lose_reply(),
        FaultOf::RequestLost => FaultKind::lose_request(),
        FaultOf::Slow(seconds) => FaultKind::Delay(Duration::from_secs(seconds.into())),
    }
}

fn seconds(number: u16) -> Duration {
    Duration::from_secs(number.into())
}

/// What happens at its time, whoever owns the build then.
async fn timed(world: &TestWorld, mishaps: &[Mishap]) {
    let events = mishaps.iter().map(async |mishap| match mishap {
        Mishap::Cancel { after } => {
            tokio::time::sleep(seconds(*after)).await;
            world.row.lock().unwrap().cancel_requested = true;
        }
        Mishap::MachineDies { after } => {
            tokio::time::sleep(seconds(*after)).await;
            for (region, instance) in world.cloud.instances() {
                world.cloud.guest_shutdown(&region, &instance.id);
            }
        }
        _ => {}
    });
    futures::future::join_all(events).await;
    std::future::pending::<()>().await;
}

/// One mishap after the other, each to an owner of its own where it ends one.
async fn lives(world: &TestWorld, mishaps: &[Mishap]) {
    for mishap in mishaps {
        if world.is_over() {
            return;
        }
        match mishap {
            Mishap::DieAtWrite { later, landed } => {
                let write = world.row.lock().unwrap().writes + 1 + later;
                world.die_at(write, if *landed { Landed::Yes } else { Landed::No });
                world.serve_once(CancellationToken::new()).await;
                world.row.lock().unwrap().die_at = None;
            }
            Mishap::DieInCall { later, before } => {
                let phase = if *before { Phase::Before } else { Phase::After };
                world.serve_until_call(*later, move |call| call.phase == phase).await;
            }
            Mishap::Freeze { after, other_has_it } => freeze(world, seconds(*after), seconds(*other_has_it)).await,
            Mishap::Drain { after } => {
                let drain = CancellationToken::new();
                let stop = async {
                    tokio::time::sleep(seconds(*after)).await;
                    drain.cancel();
                };
                tokio::select! {
                    _ = world.serve_once(drain.clone()) => {}
                    () = async { stop.await; std::future::pending::<()>().await } => {}
                }
            }
            Mishap::Fault { operation, kind, times } => {
                let operation = OPERATIONS[*operation];
                // A definite no to everything is no mishap but an account that is closed.
                let kind = if operation == "*" && matches!(kind, FaultOf::Refused | FaultOf::Capacity) {
                    FaultOf::Unavailable
                } else {
                    *kind
                };
                // Who is refused a removal six times in a row waits for a person, as it should.
                let times = if matches!(kind, FaultOf::Refused) { 1 } else { *times };
                world.cloud.fail_next(operation, fault(kind), times);
            }
            Mishap::Outage { writes } => world.row.lock().unwrap().outage = *writes,
            Mishap::Invisible { looks } => world.cloud.set_invisible_for(*looks),
            Mishap::Cancel { .. } | Mishap::MachineDies { .. } => {}
        }
    }
    world.serve_until_over().await;
}

/// Two servers believe that they own the build. What the first one does when it wakes up must change nothing.
async fn freeze(world: &TestWorld, after: Duration, other_has_it: Duration) {
    let gate = Gate::default();
    let first = world.serve_behind(CancellationToken::new(), gate.clone());
    tokio::pin!(first);
    tokio::select! {
        _ = &mut first => return,
        () = tokio::time::sleep(after) => gate.shut(),
    }
    let second = async {
        tokio::time::sleep(LEASE_TTL).await;
        if world.is_over() {
            return;
        }
        let serving = world.serve_once(CancellationToken::new());
        tokio::pin!(serving);
        let woken = tokio::time::timeout(other_has_it, &mut serving).await;
        gate.open();
        if woken.is_err() {
            serving.await;
        }
    };
    // The first one's tasks go on while it is frozen, up to the gate.
    tokio::join!(
        async {
            first.await;
        },
        async {
            second.await;
            gate.open();
        }
    );
}

/// Calls don't say whose they are, so with two builds in a world the owner dies at a write instead.
fn suited(plan: PlanKind, mishaps: &[Mishap]) -> Vec<Mishap> {
    let suited = |mishap: &Mishap| match mishap {
        Mishap::DieInCall { later, before } if plan == PlanKind::TwoSources => {
            Mishap::DieAtWrite { later: *later, landed: !before }
        }
        other => other.clone(),
    };
    mishaps.iter().map(suited).collect()
}

/// Builds of one run in one world.
fn worlds(plan: PlanKind) -> Vec<TestWorld> {
    let first = TestWorld::new(&plan.template());
    let timings = FakeTimings {
        boot: Latency::After(Duration::from_secs(8)),
        stop: Latency::After(Duration::from_secs(5)),
        image: Latency::After(Duration::from_secs(40)),
        ..FakeTimings::default()
    };
    first.cloud.set_timings(timings);
    let mut worlds = vec![first];
    if plan == PlanKind::TwoSources {
        let sibling = worlds[0].sibling(4, "db");
        worlds.push(sibling);
    }
    for world in &worlds {
        if plan.script_fails() {
            world.fail_script();
        }
    }
    worlds
}

async fn live(plan: PlanKind, mishaps: &[Mishap]) -> Vec<&'static str> {
    let worlds = worlds(plan);
    let mishaps = &suited(plan, mishaps)[..];
    let all = worlds.iter().map(async |world| {
        tokio::select! {
            () = lives(world, mishaps) => {}
            () = timed(world, mishaps) => {}
        }
    });
    futures::future::join_all(all).await;
    let context = format!("{plan:?} with {mishaps:?}");
    let images: Vec<usize> =
        worlds.iter().map(|world| if world.state() == BuildState::Succeeded { plan.images() } else { 0 }).collect();
    if let [world] = &worlds[..] {
        world.check_promise(plan.images(), &context);
    } else {
        for (world, images) in worlds.iter().zip(&images) {
            world.check_own_promise(*images, &context);
        }
    }
    worlds.iter().map(outcome).collect()
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text:?} is no number")))
}

#[test]
fn random_mishaps() {
    let total = number_from("INGOT_CRASH_SEQUENCES").map_or(SEQUENCES, |number| usize::try_from(number).unwrap());
    let seed = number_from("INGOT_CRASH_SEED").unwrap_or_else(|| {
        use std::hash::{BuildHasher, Hasher};
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    });
    println!("{total} sequences of mishaps from seed {seed}");
    let outcomes: Mutex<BTreeMap<(PlanKind, &'static str), usize>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let outcomes = &outcomes;
            let cases = u32::try_from(total / threads).unwrap();
            scope.spawn(move || run_sequences(seed.wrapping_add(thread as u64), cases, outcomes));
        }
    });
    for ((plan, outcome), number) in outcomes.lock().unwrap().iter() {
        println!("CRASH\t{plan:?}\trandom mishaps\t{outcome}\t{number}");
    }
}

fn run_sequences(seed: u64, cases: u32, outcomes: &Mutex<BTreeMap<(PlanKind, &'static str), usize>>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    // For a sequence that never ends.
    let trace = std::env::var_os("INGOT_CRASH_TRACE").is_some();
    let result = runner.run(&sequence(), |(plan, mishaps)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        if trace {
            println!("{plan:?} {mishaps:?}");
        }
        let ended = runtime.block_on(live(plan, &mishaps));
        let mut outcomes = outcomes.lock().unwrap();
        for outcome in ended {
            *outcomes.entry((plan, outcome)).or_default() += 1;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("INGOT_CRASH_SEED={seed} shows it again: {error}");
    }
}
