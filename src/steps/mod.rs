//! The steps of a build, one file each, do and undo side by side. Read `launch.rs` for the pattern: the intent names a
//! handle that is a function of (build, attempt, step), `act` finds or repeats the same thing, `undo` works from the
//! intent alone.

mod check;
mod clean;
mod commit;
mod connect;
mod copy;
mod create_image;
mod finding;
mod image_tags;
mod key_pair;
mod launch;
mod machine_watch;
mod modify_instance;
mod names;
mod provision;
mod removal;
mod retry;
mod security_group;
mod share;
mod stop;
mod wait_image;
mod wait_limit;
mod wait_running;

use async_trait::async_trait;

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
            StepKind::Launch => Box::new(launch::Launch),
            StepKind::WaitRunning => Box::new(wait_running::WaitRunning),
            StepKind::Connect => Box::new(connect::Connect),
            StepKind::Provision { index } => Box::new(provision::Provision { index: *index }),
            StepKind::Clean => Box::new(clean::Clean),
            StepKind::Stop => Box::new(stop::Stop),
            StepKind::WaitStopped => Box::new(stop::WaitStopped),
            StepKind::ModifyInstance => Box::new(modify_instance::ModifyInstance),
            StepKind::CreateImage => Box::new(create_image::CreateImage),
            StepKind::WaitImage => Box::new(wait_image::WaitImage::of_build()),
            StepKind::Copy { region } => Box::new(copy::Copy { region: region.clone() }),
            StepKind::WaitCopy { region } => Box::new(wait_image::WaitImage::of_copy(region)),
            StepKind::Share { region } => Box::new(share::Share { region: region.clone() }),
        }
    }

    async fn prepare_commit(&self, context: &StepContext) -> StepResult<CommitRecord> {
        commit::prepare(context).await
    }
}
