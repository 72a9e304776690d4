//! The `breakpoint` provisioner. Holding is the engine's work and happens before this; what is left to do here is to say
//! that the build goes on.

use async_trait::async_trait;

use super::{ProvisionContext, ProvisionError, ProvisionOutcome, Provisioner};
use crate::domain::config::provisioner::Breakpoint;

#[async_trait]
impl Provisioner for Breakpoint {
    fn kind(&self) -> &'static str {
        "breakpoint"
    }

    async fn provision(&self, context: &ProvisionContext<'_>) -> Result<ProvisionOutcome, ProvisionError> {
        let what = if self.disable { "is disabled; going on" } else { "is passed; going on" };
        let note = if self.note.is_empty() { String::new() } else { format!(" with note {:?}", self.note) };
        (context.say)(&format!("The breakpoint{note} {what}."));
        Ok(ProvisionOutcome::default())
    }
}
