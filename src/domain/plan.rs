//! The plan of a build: its steps in ordered waves, frozen when the run is accepted. Steps of a wave go in parallel; a
//! wave starts when the one before it is done. A plan holds no secrets: it is shown by the API as it is.

use serde::{Deserialize, Serialize};

use super::config::communicator::CommunicatorKind;
use super::config::{AmazonEbs, BuildConfig, ProvisionerBlock, ProvisionerConfig};
use super::hold::RunOptions;
use super::ids::StepName;

/// The newest form of plans; a server that meets a newer form leaves the build to a newer server. Form 2 may hold
/// breakpoints, an `error-cleanup-provisioner` and options of the run ([`RunOptions`]) that form 1 does not know.
pub const PLAN_FORMAT: u32 = 2;
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
    Launch,
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
    CreateImage,
    WaitImage,
    Copy {
        region: String,
    },
    WaitCopy {
        region: String,
    },
    /// Launch permissions and IMDS of the AMI in one region.
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
            Self::KeyPair | Self::SecurityGroup | Self::Launch => Effect::Temporary,
            Self::CreateImage | Self::Copy { .. } => Effect::Artifact,
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
        let mut plan = match config.builder.ebs() {
            Some(ebs) => Self::amazon_ebs(ebs, &config.provisioners),
            None => Self { format: FIRST_FORMAT, waves: Vec::new(), on_failure: None },
        };
        if config.error_cleanup.is_some() {
            let kind = StepKind::ErrorCleanup;
            plan.on_failure = Some(PlannedStep { name: kind.step_name(), kind });
        }
        let new = plan.on_failure.is_some()
            || plan.steps().any(|step| matches!(step.kind, StepKind::Breakpoint { .. }))
            || !options.is_plain();
        plan.format = if new { PLAN_FORMAT } else { FIRST_FORMAT };
        plan
    }

    fn amazon_ebs(ebs: &AmazonEbs, provisioners: &[ProvisionerBlock]) -> Self {
        let with_ssh = ebs.communicator.communicator == CommunicatorKind::Ssh;
        let mut waves: Vec<Vec<StepKind>> = vec![vec![StepKind::Check]];
        let mut prepare = Vec::new();
        if with_ssh {
            prepare.push(StepKind::KeyPair);
        }
        if ebs.security_group_ids.is_empty() {
            prepare.push(StepKind::SecurityGroup);
        }
        if !prepare.is_empty() {
            waves.push(prepare);
        }
        waves.push(vec![StepKind::Launch]);
        waves.push(vec![StepKind::WaitRunning]);
        if with_ssh {
            waves.push(vec![StepKind::Connect]);
            waves.extend(provisioners.iter().enumerate().map(|(index, block)| vec![provisioning(index, block)]));
            if ebs.clean_image && !ebs.skip_create_ami {
                waves.push(vec![StepKind::Clean]);
            }
        }
        if !ebs.skip_create_ami {
            if !ebs.disable_stop_instance {
                waves.push(vec![StepKind::Stop]);
            }
            waves.push(vec![StepKind::WaitStopped]);
            if ebs.ena_support.is_some() {
                waves.push(vec![StepKind::ModifyInstance]);
            }
            waves.push(vec![StepKind::CreateImage]);
            waves.push(vec![StepKind::WaitImage]);
            if !ebs.ami_regions.is_empty() {
                waves.push(ebs.ami_regions.iter().map(|region| StepKind::Copy { region: region.clone() }).collect());
                waves
                    .push(ebs.ami_regions.iter().map(|region| StepKind::WaitCopy { region: region.clone() }).collect());
            }
            if !ebs.ami_users.is_empty() || ebs.imds_support.is_some() {
                let regions = std::iter::once(&ebs.region).chain(&ebs.ami_regions).cloned();
                waves.push(regions.map(|region| StepKind::Share { region }).collect());
            }
        }
        let waves = waves
            .into_iter()
            .map(|wave| wave.into_iter().map(|kind| PlannedStep { name: kind.step_name(), kind }).collect())
            .collect();
        Self { format: FIRST_FORMAT, waves, on_failure: None }
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

fn provisioning(index: usize, block: &ProvisionerBlock) -> StepKind {
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
            Self::Launch => "launch".into(),
            Self::WaitRunning => "wait_running".into(),
            Self::Connect => "connect".into(),
            Self::Provision { index } => format!("provision:{}", index + 1),
            Self::Breakpoint { index } => format!("breakpoint:{}", index + 1),
            Self::ErrorCleanup => "error_cleanup".into(),
            Self::Clean => "clean".into(),
            Self::Stop => "stop".into(),
            Self::WaitStopped => "wait_stopped".into(),
            Self::ModifyInstance => "modify_instance".into(),
            Self::CreateImage => "create_image".into(),
            Self::WaitImage => "wait_image".into(),
            Self::Copy { region } => format!("copy:{region}"),
            Self::WaitCopy { region } => format!("wait_copy:{region}"),
            Self::Share { region } => format!("share:{region}"),
        })
    }
}
