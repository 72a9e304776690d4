//! One build, an EC2 world and a machine in memory, and a server that can die.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use indexmap::IndexMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::memory_journal::{Landed, MemoryJournal, Row};
use crate::cloud::fake::{CallRecord, FakeCloud, Gate, Then};
use crate::communicator::fake::{Answer, FakeCommunicator};
use crate::communicator::session_manager::{SessionFailure, Tunnel};
use crate::communicator::ssh::SshTarget;
use crate::communicator::{CommunicatorError, ConnectFailure, ExitStatus, FailureCounts};
use crate::domain::bundle::Bundle;
use crate::domain::clock::Clock;
use crate::domain::config::BuildConfig;
use crate::domain::hold::{Hold, Resume, ResumeAction, RunOptions};
use crate::domain::ids::{Attempt, BuildId, DeploymentId, RunId, StepName};
use crate::domain::journal::{JournalEntry, JournalEvent};
use crate::domain::plan::{Plan, StepKind};
use crate::domain::run::{BuildFacts, Takeover};
use crate::domain::state::{BuildState, CleanupState};
use crate::engine::executor::{Departure, Surroundings, Workload, drive};
use crate::engine::session::{ConnectListener, Dialer, Machine};
use crate::engine::shared_looks::SharedLooks;
use crate::engine::step::Network;
use crate::engine::watcher::Watcher;
use crate::steps::Steps;
use crate::template;

/// Follows tokio's clock, which the tests pause.
pub struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::from_std(self.0.elapsed()).unwrap() + TimeDelta::days(20_000)
    }

    fn since_boot(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A machine that is always there, unless it is `silent`: then connecting takes for ever.
#[derive(Default, Clone)]
pub struct FakeDialer {
    pub machine: Arc<FakeCommunicator>,
    pub silent: Arc<AtomicBool>,
    last: Arc<Mutex<Option<SshTarget>>>,
}

impl FakeDialer {
    /// Where was connected last.
    pub fn last_target(&self) -> SshTarget {
        self.last.lock().unwrap().clone().unwrap()
    }
}

#[async_trait]
impl Dialer for FakeDialer {
    async fn dial(
        &self,
        target: SshTarget,
        timeout: Duration,
        _progress: ConnectListener,
        _cancel: &CancellationToken,
    ) -> Result<Machine, CommunicatorError> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        *self.last.lock().unwrap() = Some(target.clone());
        if let Some(tunnel) = &target.tunnel {
            start_session(tunnel, timeout).await?;
        }
        let host_key = "ssh-ed25519 AAAAhost".to_owned();
        assert!(target.expected_host_key.is_none_or(|expected| expected == host_key), "the host key is handed on");
        self.machine.state().lost = false;
        Ok(Machine { communicator: self.machine.clone(), reconnect: self.machine.clone(), host_key })
    }
}

/// Starts a session as the real connection does, trying again while the machine's agent has not reported.
async fn start_session(tunnel: &Tunnel, timeout: Duration) -> Result<(), CommunicatorError> {
    let until = Instant::now() + timeout;
    loop {
        match tunnel.opener.start().await {
            Ok(_) => return Ok(()),
            Err(SessionFailure::NotConnected(why)) if Instant::now() >= until => {
                let last = ConnectFailure::NotConnected(why);
                return Err(CommunicatorError::ConnectTimedOut {
                    after: timeout,
                    last,
                    counts: FailureCounts::default(),
                });
            }
            Err(SessionFailure::Refused(why)) => {
                return Err(CommunicatorError::ConnectRefused(ConnectFailure::SessionRefused(why)));
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(2)).await,
        }
    }
}

pub const PLAIN: &str = r#"
source "amazon-ebs" "web" {
  ami_name      = "web-{{timestamp}}"
  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami_filter {
    filters     = { name = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*" }
    owners      = ["099720109477"]
    most_recent = true
  }
  ssh_username = "ubuntu"
  tags         = { Team = "web", From = "{{ .SourceAMIName }}" }
}
build {
  sources = ["source.amazon-ebs.web"]
  provisioner "shell" { inline = ["true"] }
  post-processor "manifest" {}
}
"#;

/// [`PLAIN`] with further lines in its source.
pub fn plain_with(lines: &str) -> String {
    PLAIN.replace("  ssh_username", &format!("{lines}\n  ssh_username"))
}

/// A surrogate of three volumes, of which one is not in the image, with further lines in its source.
pub fn surrogate_with(lines: &str) -> String {
    let device = |name: &str, size: u32, more: &str| {
        format!(
            "  launch_block_device_mappings {{\n    device_name = \"{name}\"\n    volume_size = {size}\n{more}  }}\n"
        )
    };
    let devices = device("/dev/xvdf", 10, "    volume_type = \"gp3\"\n    delete_on_termination = true\n")
        + &device("/dev/xvdg", 20, "")
        + &device("/dev/xvdh", 5, "    omit_from_artifact = true\n");
    let root = "  ami_root_device {\n    source_device_name = \"/dev/xvdf\"\n    device_name = \"/dev/sda1\"\n  }\n";
    let image = "  ami_virtualization_type = \"hvm\"\n  ena_support = true\n";
    plain_with(&format!("{lines}\n{image}{devices}{root}")).replace("amazon-ebs", "amazon-ebssurrogate")
}

/// Volumes: one that stays, with a snapshot; one with a snapshot only; and one that is only tagged.
pub fn volumes() -> String {
    let volume = |name: &str, more: &str| {
        format!("  ebs_volumes {{\n    device_name = \"{name}\"\n    volume_size = 3\n{more}  }}\n")
    };
    let snapshot = "    snapshot_volume = true\n    snapshot_users = [\"111122223333\"]\n    snapshot_tags = { Kind = \"shot\" }\n    \
                    tags = { Kind = \"data\", From = \"{{ .SourceAMIName }}\" }\n";
    let gone = "    delete_on_termination = true\n    snapshot_volume = true\n    snapshot_description = \"of {{ .SourceAMI }}\"\n";
    let text = PLAIN.replace("  ami_name      = \"web-{{timestamp}}\"\n", "  run_volume_tags = { Launch = \"1\" }\n");
    let text = text.replace("  tags         = { Team = \"web\", From = \"{{ .SourceAMIName }}\" }\n", "");
    let devices = volume("/dev/xvdf", snapshot) + &volume("/dev/xvdg", gone) + &volume("/dev/xvdi", "");
    text.replace("  ssh_username", &format!("{devices}  ssh_username")).replace("amazon-ebs", "amazon-ebsvolume")
}

pub struct TestWorld {
    pub cloud: FakeCloud,
    pub row: Arc<Mutex<Row>>,
    pub dialer: FakeDialer,
    pub clock: Arc<VirtualClock>,
    pub facts: BuildFacts,
    pub plan: Plan,
    pub config: BuildConfig,
    /// What its files are; the template is not among them.
    pub bundle: Bundle,
    /// Whether the servers allow scripts on their own machine.
    pub shell_local: bool,
    /// Of the server that carries it out together with other builds; `None`: a server of its own.
    pub looks: Option<SharedLooks>,
}

impl TestWorld {
    /// A queued build of the one source of a template.
    pub fn new(template: &str) -> Self {
        let clock = Arc::new(VirtualClock(Instant::now()));
        let bundle = Bundle::single("web.pkr.hcl", template.as_bytes().to_vec()).unwrap();
        let run = Uuid::from_u128(1);
        let none = IndexMap::new();
        let evaluated = template::evaluate(&template::Request {
            bundle: &bundle,
            variables: &IndexMap::new(),
            var_files: &[],
            env: &none,
            default_region: None,
            only: &[],
            except: &[],
            git_sha: None,
            now: clock.now(),
            run_id: run,
            clean_image: true,
            data: template::DataMode::Unknown,
        })
        .unwrap();
        let config = evaluated.builds.into_iter().next().unwrap();
        let build = BuildId(Uuid::from_u128(2));
        let facts = BuildFacts {
            deployment: DeploymentId(Uuid::from_u128(3)),
            run: RunId(run),
            build,
            attempt: Attempt::FIRST,
            build_name: config.name.clone(),
            account: "default".into(),
            family: "web".into(),
            number: 1,
            git_sha: "unknown".into(),
            builder: "ingot/test".into(),
            accepted_at: clock.now(),
        };
        let row = Row {
            build,
            epoch: 0,
            attempt: Attempt::FIRST,
            attempts_allowed: 3,
            state: BuildState::Queued,
            cleanup: CleanupState::None,
            stuck_reason: None,
            failure: None,
            entries: Vec::new(),
            log: Vec::new(),
            keys: std::collections::BTreeMap::new(),
            files: Vec::new(),
            record: None,
            cancel_requested: false,
            options: RunOptions::default(),
            deadline: None,
            hold: None,
            resume: None,
            kept_until: None,
            secrets_deleted: false,
            staged: Vec::new(),
            given_up: Vec::new(),
            writes: 0,
            written_by: Vec::new(),
            cancel_after: None,
            die_before_undone: None,
            die_at: None,
            outage: 0,
        };
        Self {
            cloud: FakeCloud::new(),
            row: Arc::new(Mutex::new(row)),
            dialer: FakeDialer::default(),
            clock,
            facts,
            plan: Plan::for_build(&config, &RunOptions::default()),
            config,
            bundle: Bundle::default(),
            shell_local: false,
            looks: None,
        }
    }

    /// One server's part: claims the build and works on it until it is over here, or until the server dies.
    pub async fn serve_once(&self, drain: CancellationToken) -> Option<Departure> {
        self.serve_behind(drain, Gate::default()).await
    }

    /// As [`TestWorld::serve_once`], by a server that can be frozen.
    pub async fn serve_behind(&self, drain: CancellationToken, gate: Gate) -> Option<Departure> {
        let cloud = Arc::new(self.cloud.behind(gate.clone()));
        let journal = MemoryJournal::claim(&self.row, self.clock.clone(), gate);
        let died = journal.died.clone();
        let attempt = self.row.lock().unwrap().attempt;
        let watcher_stop = CancellationToken::new();
        let surroundings = Surroundings {
            accounts: cloud.clone(),
            registry: Arc::new(Steps),
            dialer: Arc::new(self.dialer.clone()),
            watcher: Watcher::new(cloud.clone(), watcher_stop.clone()),
            looks: self.looks.clone().unwrap_or_else(|| SharedLooks::new(cloud)),
            clock: self.clock.clone(),
            network: Arc::new(Network { source_cidrs: vec!["192.0.2.7/32".into()] }),
            shell_local: self.shell_local,
            drain,
        };
        let secrets_deleted = self.row.lock().unwrap().secrets_deleted;
        let work = Workload {
            journal: Arc::new(journal),
            facts: BuildFacts { attempt, ..self.facts.clone() },
            plan: self.plan.clone(),
            config: (!secrets_deleted).then(|| self.config.clone()),
            sensitive: vec!["hunter2".into()],
            bundle: self.bundle.clone(),
            takeover: Takeover::New,
            claimed_at: self.clock.since_boot(),
        };
        let departure = tokio::select! {
            departure = drive(&surroundings, work) => Some(departure),
            () = died.notified() => None,
        };
        watcher_stop.cancel();
        departure
    }

    /// Servers come and die until the build is over.
    pub async fn serve_until_over(&self) {
        for _ in 0..20 {
            if self.is_over() {
                return;
            }
            self.serve_once(CancellationToken::new()).await;
            self.row.lock().unwrap().die_at = None;
        }
        panic!("the build never ends: {}", self.story());
    }

    /// Another build of the same run in the same world, with a machine of its own.
    pub fn sibling(&self, id: u128, name: &str) -> Self {
        let mut config = self.config.clone();
        let ebs = config.builder.ebs_mut().unwrap();
        ebs.ami_name.push_str(name);
        let other = Self::new(PLAIN);
        let build = BuildId(Uuid::from_u128(id));
        other.row.lock().unwrap().build = build;
        Self {
            cloud: self.cloud.clone(),
            clock: self.clock.clone(),
            facts: BuildFacts { build, ..self.facts.clone() },
            plan: self.plan.clone(),
            config,
            ..other
        }
    }

    /// Whether nothing more happens to the build by itself.
    pub fn is_over(&self) -> bool {
        let row = self.row.lock().unwrap();
        row.state == BuildState::Stuck || (row.state.is_over() && row.cleanup != CleanupState::Pending)
    }

    /// [`TestWorld::check_promise`] for one of several builds: only what carries this build's tag counts.
    pub fn check_own_promise(&self, images: usize, context: &str) {
        let story = self.story();
        assert!(self.is_over() && self.state() != BuildState::Stuck, "{context}\n{story}");
        let build = self.facts.build.to_string();
        assert_eq!(self.cloud.images_of(&build).len(), images, "{context}: one image for each region\n{story}");
        let left = self.cloud.leftovers_with_tag("ingot:build-id", &build);
        let others: Vec<&String> =
            left.iter().filter(|thing| images == 0 || !(thing.contains("ami-") || thing.contains("snap-"))).collect();
        assert!(others.is_empty(), "{context}: left behind {others:?}\n{story}");
    }

    /// How the run wants to be carried out.
    pub fn with_options(mut self, options: RunOptions) -> Self {
        self.plan = Plan::for_build(&self.config, &options);
        self.row.lock().unwrap().options = options;
        self
    }

    /// Waits until the build holds, and answers.
    pub async fn answer(&self, action: ResumeAction) -> Hold {
        loop {
            {
                let mut row = self.row.lock().unwrap();
                let new = |hold: &Hold| row.resume.as_ref().is_none_or(|resume| resume.seq != hold.seq);
                if let Some(hold) = row.hold.clone().filter(new) {
                    row.resume = Some(Resume { seq: hold.seq, action, by: "ann".into() });
                    return hold;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What was left in place is to be removed now, as a claim after its time does it.
    pub fn let_go(&self) {
        let mut row = self.row.lock().unwrap();
        assert_eq!(row.cleanup, CleanupState::Kept);
        row.hold = None;
        row.cleanup = CleanupState::Pending;
    }

    /// The template's script fails the first time that it is run.
    pub fn fail_script(&self) {
        let answers = [Answer::Exit(ExitStatus::Code(0)), Answer::Exit(ExitStatus::Code(1))];
        self.dialer.machine.state().answers.extend(answers);
    }

    /// One server's part, which ends at the latest in the `number`th call that counts: there the server dies.
    pub async fn serve_until_call(&self, number: usize, counts: impl Fn(&CallRecord) -> bool + Send + Sync + 'static) {
        let died = Arc::new(Notify::new());
        let seen = AtomicUsize::new(0);
        let notify = died.clone();
        self.cloud.on_call(move |call| {
            if counts(call) && seen.fetch_add(1, Ordering::SeqCst) + 1 == number {
                notify.notify_one();
                return Then::Hang;
            }
            Then::Go
        });
        tokio::select! {
            _ = self.serve_once(CancellationToken::new()) => {}
            () = died.notified() => {}
        }
        self.cloud.forget_hook();
    }

    pub fn die_at(&self, write: usize, landed: Landed) {
        self.row.lock().unwrap().die_at = Some((write, landed));
    }

    /// The number of the first write that wrote such an entry.
    pub fn write_number(&self, wanted: impl Fn(&JournalEntry) -> bool) -> Option<usize> {
        let row = self.row.lock().unwrap();
        let place = row.entries.iter().position(wanted)?;
        Some(row.written_by[place])
    }

    /// How often a step was begun, in all attempts.
    pub fn begun(&self, step: &StepName) -> usize {
        let begins = |entry: &&JournalEntry| {
            entry.step.as_ref() == Some(step) && matches!(entry.event, JournalEvent::Started { .. })
        };
        self.row.lock().unwrap().entries.iter().filter(begins).count()
    }

    pub fn state(&self) -> BuildState {
        self.row.lock().unwrap().state
    }

    /// The journal in short, for messages of failed tests.
    pub fn story(&self) -> String {
        let row = self.row.lock().unwrap();
        let mut story = format!("{} (cleanup {}, {:?})\n", row.state, row.cleanup, row.failure);
        for entry in &row.entries {
            let step = entry.step.as_ref().map_or("", |step| step.0.as_str());
            let _ = writeln!(story, "  {} #{} {} {step}", entry.seq, entry.attempt, entry.event.name());
        }
        for line in &row.log {
            let _ = writeln!(story, "  | {}", line.text);
        }
        story
    }

    pub fn log_text(&self) -> String {
        self.row.lock().unwrap().log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The promise: a build that succeeded left exactly its images, any other left nothing.
    pub fn check_promise(&self, regions: usize, context: &str) {
        let images = self.cloud.images_of(&self.facts.build.to_string());
        let numbers: Vec<i64> = self.row.lock().unwrap().log.iter().map(|line| line.seq).collect();
        let expected: Vec<i64> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "{context}: the log has a hole or a line twice\n{}", self.story());
        let state = self.state();
        let story = self.story();
        match state {
            BuildState::Succeeded => {
                assert_eq!(images.len(), regions, "{context}: one image for each region\n{story}");
                assert_eq!(self.row.lock().unwrap().cleanup, CleanupState::Done, "{context}\n{story}");
                for (_, image) in &images {
                    let temporary = image.tags.iter().any(|(key, _)| key == "ingot:temporary");
                    assert!(!temporary, "{context}: {} is kept and not temporary\n{story}", image.id);
                }
                let temporary = self.cloud.leftovers_with_tag("ingot:temporary", "true");
                assert!(temporary.is_empty(), "{context}: left behind {temporary:?}\n{story}");
                // Images and their snapshots, and what is to outlive the build, nothing else.
                let keeps = self.plan.steps().any(|step| step.kind == StepKind::KeepVolumes);
                let others: Vec<String> = self
                    .cloud
                    .leftovers()
                    .into_iter()
                    .filter(|thing| !thing.contains("ami-") && !thing.contains("snap-"))
                    .filter(|thing| !(keeps && thing.contains(" volume ")))
                    .collect();
                assert!(others.is_empty(), "{context}: left behind {others:?}\n{story}");
            }
            BuildState::Failed | BuildState::Cancelled => {
                let leftovers = self.cloud.leftovers();
                assert!(leftovers.is_empty(), "{context}: left behind {leftovers:?}\n{story}");
            }
            other => panic!("{context}: ended as {other}\n{story}"),
        }
    }
}
