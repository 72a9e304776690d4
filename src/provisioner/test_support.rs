//! A machine in memory and everything around it that a provisioner needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::{MachineAccess, ProvisionContext};
use crate::communicator::fake::FakeCommunicator;
use crate::communicator::{DownloadLimits, NoOutput};
use crate::domain::bundle::Bundle;

pub(crate) struct World {
    pub(crate) machine: FakeCommunicator,
    pub(crate) bundle: Bundle,
    pub(crate) cancel: CancellationToken,
    say: Box<dyn Fn(&str) + Send + Sync>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Default for World {
    fn default() -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&lines);
        Self {
            machine: FakeCommunicator::default(),
            bundle: Bundle::default(),
            cancel: CancellationToken::new(),
            say: Box::new(move |text| to.lock().unwrap().push(text.to_owned())),
            lines,
        }
    }
}

/// Replaces `{{.Name}}` and `{{ .Name }}`, which is all that these tests use.
pub(crate) fn render(text: &str, fields: &BTreeMap<String, String>) -> Result<String, String> {
    let mut text = text.to_owned();
    for (name, value) in fields {
        text = text.replace(&format!("{{{{.{name}}}}}"), value).replace(&format!("{{{{ .{name} }}}}"), value);
    }
    if text.contains("{{") { Err(format!("unknown action in {text:?}")) } else { Ok(text) }
}

impl World {
    pub(crate) fn context(&self) -> ProvisionContext<'_> {
        ProvisionContext {
            machine: Some(MachineAccess { communicator: &self.machine, reconnect: &self.machine, pty: false }),
            bundle: &self.bundle,
            render: &render,
            output: &NoOutput,
            say: self.say.as_ref(),
            cancel: &self.cancel,
            run_id: "7e57",
            build_name: "amazon-ebs.web",
            builder_type: "amazon-ebs",
            script_id: 42,
            download_limits: DownloadLimits { bytes: 1000, files: 10 },
        }
    }

    pub(crate) fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}
