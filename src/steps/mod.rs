//! The steps of a build, one file each, do and undo side by side. Read `launch.rs` for the pattern: the intent names a
//! handle that is a function of (build, attempt, step), `act` finds or repeats the same thing, `undo` works from the
//! intent alone.

mod check;
mod check_network;
mod clean;
mod commit;
mod connect;
mod copy;
mod create_image;
mod deregister;
mod fast_launch;
mod finding;
mod image_tags;
mod instance_profile;
mod keep_volumes;
mod key_pair;
mod launch;
mod list_volumes;
mod machine;
mod machine_watch;
mod make_file;
mod modify_instance;
mod names;
mod provision;
mod register_image;
mod removal;
mod retry;
mod security_group;
mod session;
mod share;
mod share_snapshots;
mod snapshot;
mod spot;
mod stop;
mod swap_root;
mod tag_volumes;
mod termination;
mod wait_image;
mod wait_limit;
mod wait_running;
mod wait_snapshots;

use async_trait::async_trait;

use crate::domain::hold::HeldMachine;
use crate::domain::image::CommitRecord;
use crate::domain::plan::StepKind;
use crate::engine::step::{AnyStep, StepContext, StepRegistry, StepResult};

pub use check::Checked;
pub use connect::Connected;

/// All steps of Ingot.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steps;

#[async_trait]
impl StepRegistry for Steps {
    fn step(&self, kind: &StepKind) -> Box<dyn AnyStep> {
        match kind {
            StepKind::Check => Box::new(check::Check),
            StepKind::KeyPair => Box::new(key_pair::MakeKeyPair),
            StepKind::SecurityGroup => Box::new(security_group::MakeSecurityGroup),
            StepKind::InstanceProfile => Box::new(instance_profile::MakeInstanceProfile),
            StepKind::LaunchTemplate => Box::new(spot::MakeLaunchTemplate),
            StepKind::Launch => Box::new(launch::Launch),
            StepKind::LaunchSpot => Box::new(spot::LaunchSpot),
            StepKind::WaitRunning => Box::new(wait_running::WaitRunning),
            StepKind::Connect => Box::new(connect::Connect),
            // A breakpoint's hold is the engine's; what comes after it is a provisioner that says so.
            StepKind::Provision { index } | StepKind::Breakpoint { index } => {
                Box::new(provision::Provision::Number(*index))
            }
            StepKind::ErrorCleanup => Box::new(provision::Provision::ErrorCleanup),
            StepKind::Clean => Box::new(clean::Clean),
            StepKind::Stop => Box::new(stop::Stop),
            StepKind::WaitStopped => Box::new(stop::WaitStopped),
            StepKind::ModifyInstance => Box::new(modify_instance::ModifyInstance),
            StepKind::ListVolumes => Box::new(list_volumes::ListVolumes),
            StepKind::TagVolumes => Box::new(tag_volumes::TagVolumes),
            StepKind::SwapRoot => Box::new(swap_root::SwapRoot),
            StepKind::Snapshot { device } => Box::new(snapshot::SnapshotVolume { device: device.clone() }),
            StepKind::WaitSnapshots => Box::new(wait_snapshots::WaitSnapshots),
            StepKind::ShareSnapshots => Box::new(share_snapshots::ShareSnapshots),
            StepKind::KeepVolumes => Box::new(keep_volumes::KeepVolumes),
            StepKind::FindReplaced => Box::new(deregister::FindReplaced),
            StepKind::Deregister { region } => Box::new(deregister::Deregister { region: region.clone() }),
            StepKind::MakeFile => Box::new(make_file::MakeFile),
            StepKind::CreateImage => Box::new(create_image::CreateImage),
            StepKind::RegisterImage => Box::new(register_image::RegisterImage),
            StepKind::WaitImage => Box::new(wait_image::WaitImage::of_build()),
            StepKind::Copy { region } => Box::new(copy::Copy { region: region.clone() }),
            StepKind::WaitCopy { region } => Box::new(wait_image::WaitImage::of_copy(region)),
            StepKind::FastLaunch { region } => Box::new(fast_launch::FastLaunch { region: region.clone() }),
            StepKind::DropInterim => Box::new(deregister::DropInterim),
            StepKind::Share { region } => Box::new(share::Share { region: region.clone() }),
        }
    }

    fn machine(&self, context: &StepContext) -> Option<HeldMachine> {
        held_machine(context)
    }

    async fn prepare_commit(&self, context: &StepContext) -> StepResult<CommitRecord> {
        commit::prepare(context).await
    }
}

/// What steps so far know of the machine. Outputs that can't be read count as not there: this is for people to look at.
fn held_machine(context: &StepContext) -> Option<HeldMachine> {
    let launched: launch::Output = context.output_if_any("launch").ok()??;
    let running: Option<wait_running::Output> = context.output_if_any("wait_running").ok().flatten();
    let connected: Option<Connected> = context.output_if_any("connect").ok().flatten();
    let ebs = context.ebs().ok()?;
    let ssh = &ebs.communicator;
    let address = running.and_then(|running| running.public_ip.or(running.private_ip));
    let host = connected.as_ref().map(|connected| connected.host.clone()).or(address);
    Some(HeldMachine {
        instance_id: launched.instance_id,
        instance_type: ebs.instance_type.clone(),
        region: ebs.region.clone(),
        port: host.is_some().then_some(ssh.port),
        username: host.is_some().then(|| ssh.username.clone()),
        host,
    })
}
