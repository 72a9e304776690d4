//! The plan of a build: its steps in ordered waves, frozen when the run is accepted. Steps of a wave go in parallel; a
//! wave starts when the one before it is done. A plan holds no secrets: it is shown by the API as it is.

mod amazon;
mod disks;

use serde::{Deserialize, Serialize};

use super::config::communicator::{CommunicatorKind, SshConfig};
use super::config::{BuildConfig, BuilderConfig, Null, ProvisionerBlock, ProvisionerConfig};
use super::hold::RunOptions;
use super::ids::StepName;

/// The newest form of plans; a server that meets a newer form leaves the build to a newer server. Form 2 may hold
/// breakpoints, an `error-cleanup-provisioner` and options of the run ([`RunOptions`]) that form 1 does not know. Form 3 may
/// be of any builder and have any of its options, but for `amazon-ebsvolume` and `amazon-ebssurrogate`. Form 4 may be of these,
/// and may have `shell-local` provisioners and expressions that are evaluated while the build runs
/// ([`BuildConfig::expressions`]). Form 5 may reach its machine through Session Manager.
pub const PLAN_FORMAT: u32 = FIFTH_FORMAT;
const FIFTH_FORMAT: u32 = 5;
/// A plan that servers before the fifth form can carry out too.
const FOURTH_FORMAT: u32 = 4;
/// A plan that servers before the fourth form can carry out too.
const THIRD_FORMAT: u32 = 3;
/// A plan that servers before the third form can carry out too.
const SECOND_FORMAT: u32 = 2;
/// A plan that servers before the second form can carry out too.
const FIRST_FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub format: u32,
    pub waves: Vec<Vec<PlannedStep>>,
    /// The `error-cleanup-provisioner`: done when a step on the machine has failed, before the rest is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<PlannedStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub name: StepName,
    pub kind: StepKind,
}

/// What a step does; one file of `steps/` each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum StepKind {
    /// Looks at everything that only the cloud can tell, before anything is made.
    Check,
    KeyPair,
    SecurityGroup,
    /// A role for this build alone, and the profile that hands it to the machine.
    InstanceProfile,
    /// What a spot instance is launched of.
    LaunchTemplate,
    Launch,
    /// Instead of `Launch`.
    LaunchSpot,
    WaitRunning,
    /// Connects over SSH and reads `/etc/os-release`.
    Connect,
    Provision {
        index: usize,
    },
    /// A `breakpoint` provisioner: the build holds before it.
    Breakpoint {
        index: usize,
    },
    /// The `error-cleanup-provisioner`.
    ErrorCleanup,
    /// Takes keys, history and machine identity out of the image.
    Clean,
    Stop,
    WaitStopped,
    /// Changes attributes that an AMI inherits from its instance (ENA).
    ModifyInstance,
    /// Looks up the machine's volumes by their devices.
    ListVolumes,
    /// Gives the volumes that are built the tags of the template.
    TagVolumes,
    /// Puts the volume that the image is made of into the place of the machine's root.
    SwapRoot,
    /// A snapshot of one of the machine's volumes.
    Snapshot {
        device: String,
    },
    /// Waits for all of them.
    WaitSnapshots,
    /// Who may use the snapshots of volumes that are built.
    ShareSnapshots,
    /// Looks up the volumes that outlive the build.
    KeepVolumes,
    /// Lists the images whose name the new one takes.
    FindReplaced,
    /// Removes those of one region. It can't be undone.
    Deregister {
        region: String,
    },
    CreateImage,
    /// Instead of `CreateImage`: of snapshots.
    RegisterImage,
    WaitImage,
    Copy {
        region: String,
    },
    WaitCopy {
        region: String,
    },
    /// Removes the image that the copies were made of.
    DropInterim,
    /// Has EC2 keep instances of the AMI in one region half started.
    FastLaunch {
        region: String,
    },
    /// The `file` builder's file.
    MakeFile,
    /// Who may use the AMI in one region, whether it needs `IMDSv2`, until when it is not deprecated.
    Share {
        region: String,
    },
}

/// What a step leaves in the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that needs removing.
    Nothing,
    /// Removed when the build ends, however it ends.
    Temporary,
    /// Kept when the build succeeds, removed when it doesn't.
    Artifact,
}

/// Whether a step that a dead server had begun can simply be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Doing it again finds or repeats the same thing.
    Replay,
    /// Nobody knows how far it came: the attempt is undone and the next one begins.
    Untrusted,
}

impl StepKind {
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::KeyPair
            | Self::SecurityGroup
            | Self::InstanceProfile
            | Self::LaunchTemplate
            | Self::Launch
            | Self::LaunchSpot => Effect::Temporary,
            Self::CreateImage
            | Self::RegisterImage
            | Self::Snapshot { .. }
            | Self::Copy { .. }
            | Self::FastLaunch { .. } => Effect::Artifact,
            _ => Effect::Nothing,
        }
    }

    #[must_use]
    pub fn resume(&self) -> Resume {
        match self {
            Self::Provision { .. } | Self::ErrorCleanup | Self::Clean => Resume::Untrusted,
            _ => Resume::Replay,
        }
    }
}

impl Plan {
    /// The plan for one build.
    #[must_use]
    pub fn for_build(config: &BuildConfig, options: &RunOptions) -> Self {
        let (least_format, waves) = match &config.builder {
            BuilderConfig::AmazonEbs(ebs) => {
                let format = if ebs.is_of_first_form() { FIRST_FORMAT } else { THIRD_FORMAT };
                (format, amazon::ebs(ebs, &config.provisioners))
            }
            BuilderConfig::AmazonEbsVolume(volumes) => (FOURTH_FORMAT, disks::volumes(volumes, &config.provisioners)),
            BuilderConfig::AmazonEbsSurrogate(surrogate) => {
                (FOURTH_FORMAT, disks::surrogate(surrogate, &config.provisioners))
            }
            BuilderConfig::Null(null) => (THIRD_FORMAT, on_host(null, &config.provisioners)),
            BuilderConfig::File(_) => (THIRD_FORMAT, vec![vec![StepKind::MakeFile]]),
        };
        let mut plan = Self { format: FIRST_FORMAT, waves: Vec::new(), on_failure: None };
        for wave in waves {
            plan.waves.push(wave.into_iter().map(PlannedStep::of).collect());
        }
        if config.error_cleanup.is_some() && config.builder.communicator().is_some() {
            plan.on_failure = Some(PlannedStep::of(StepKind::ErrorCleanup));
        }
        let second = plan.on_failure.is_some()
            || plan.steps().any(|step| matches!(step.kind, StepKind::Breakpoint { .. }))
            || !options.is_plain();
        let local = |block: &ProvisionerBlock| matches!(block.config, ProvisionerConfig::ShellLocal(_));
        let has_local = config.provisioners.iter().chain(config.error_cleanup.as_deref()).any(local);
        let fourth = has_local || !config.expressions.is_empty();
        let fifth = config.builder.communicator().is_some_and(SshConfig::uses_session_manager);
        let least_format = if fourth { least_format.max(FOURTH_FORMAT) } else { least_format };
        let least_format = if fifth { FIFTH_FORMAT } else { least_format };
        plan.format = if second { least_format.max(SECOND_FORMAT) } else { least_format };
        plan
    }

    /// All steps, in order; what is done after a failure last.
    #[must_use = "an iterator does nothing by itself"]
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &PlannedStep> {
        self.waves.iter().flatten().chain(&self.on_failure)
    }

    #[must_use]
    pub fn step(&self, name: &StepName) -> Option<&PlannedStep> {
        self.steps().find(|step| step.name == *name)
    }
}

impl PlannedStep {
    fn of(kind: StepKind) -> Self {
        Self { name: kind.step_name(), kind }
    }
}

/// The `null` builder's: provisioners on a host that is there already.
fn on_host(null: &Null, provisioners: &[ProvisionerBlock]) -> Vec<Vec<StepKind>> {
    let mut waves = Vec::new();
    if null.communicator.communicator == CommunicatorKind::Ssh {
        waves.push(vec![StepKind::Connect]);
    }
    waves.extend(provisioners.iter().enumerate().map(|(index, block)| vec![provisioning(index, block)]));
    waves
}

/// A provisioner's step.
pub(crate) fn provisioning(index: usize, block: &ProvisionerBlock) -> StepKind {
    match &block.config {
        ProvisionerConfig::Breakpoint(breakpoint) if !breakpoint.disable => StepKind::Breakpoint { index },
        _ => StepKind::Provision { index },
    }
}

impl StepKind {
    /// The step's name within its plan.
    #[must_use]
    pub fn step_name(&self) -> StepName {
        StepName(match self {
            Self::Check => "check".into(),
            Self::KeyPair => "key_pair".into(),
            Self::SecurityGroup => "security_group".into(),
            Self::InstanceProfile => "instance_profile".into(),
            Self::LaunchTemplate => "launch_template".into(),
            // Later steps ask for what it made by this name.
            Self::Launch | Self::LaunchSpot => "launch".into(),
            Self::WaitRunning => "wait_running".into(),
            Self::Connect => "connect".into(),
            Self::Provision { index } => format!("provision:{}", index + 1),
            Self::Breakpoint { index } => format!("breakpoint:{}", index + 1),
            Self::ErrorCleanup => "error_cleanup".into(),
            Self::Clean => "clean".into(),
            Self::Stop => "stop".into(),
            Self::WaitStopped => "wait_stopped".into(),
            Self::ModifyInstance => "modify_instance".into(),
            Self::ListVolumes => "list_volumes".into(),
            Self::TagVolumes => "tag_volumes".into(),
            Self::SwapRoot => "swap_root".into(),
            Self::Snapshot { device } => format!("snapshot:{device}"),
            Self::WaitSnapshots => "wait_snapshots".into(),
            Self::ShareSnapshots => "share_snapshots".into(),
            Self::KeepVolumes => "keep_volumes".into(),
            Self::FindReplaced => "find_replaced".into(),
            Self::Deregister { region } => format!("deregister:{region}"),
            Self::MakeFile => "make_file".into(),
            Self::CreateImage => "create_image".into(),
            Self::RegisterImage => "register_image".into(),
            Self::WaitImage => "wait_image".into(),
            Self::Copy { region } => format!("copy:{region}"),
            Self::WaitCopy { region } => format!("wait_copy:{region}"),
            Self::FastLaunch { region } => format!("fast_launch:{region}"),
            Self::DropInterim => "drop_interim".into(),
            Self::Share { region } => format!("share:{region}"),
        })
    }
}
