//! The `file` builder: one file, kept with the run.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::config::BuilderConfig;
use crate::domain::config::builders::FileContent;
use crate::domain::failure::Failure;
use crate::domain::image::RunFile;
use crate::engine::step::{Step, StepContext, StepResult};

pub struct MakeFile;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub name: String,
    /// Bytes.
    pub size: usize,
}

#[async_trait]
impl Step for MakeFile {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, _context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent {})
    }

    async fn act(&self, context: &StepContext, _intent: &Intent) -> StepResult<Output> {
        let BuilderConfig::File(file) = &context.config()?.builder else {
            return Err(Failure::ours("plan-order", "this build makes no file").into());
        };
        let bytes = match &file.content {
            FileContent::Text(text) => text.clone().into_bytes(),
            FileContent::Bundle(path) => {
                let found = context.bundle.get(path);
                let missing = || Failure::ours("bundle-file", format!("the bundle has no file {path:?} any more"));
                found.ok_or_else(missing)?.bytes.clone()
            }
        };
        context.log.say(&format!("Writing {} ({} bytes)", file.target, bytes.len())).await;
        let file = RunFile { name: file.target.clone(), bytes };
        context.records.store_file(&file).await?;
        Ok(Output { size: file.bytes.len(), name: file.name })
    }
}
