//! A machine in memory for the provisioners' tests: files that can be looked at, commands that were run, and answers
//! chosen by the test. No processes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    Command, Communicator, CommunicatorError, DownloadLimits, ExitStatus, OutputSink, OutputStream, Reconnect,
};
use crate::domain::bundle::BundleFile;

/// What the machine does with one command.
#[derive(Debug, Clone)]
pub enum Answer {
    Exit(ExitStatus),
    Output(&'static str, ExitStatus),
    Fail(CommunicatorError),
    /// Runs until cancelled.
    Hang,
}

#[derive(Debug, Default)]
pub struct FakeState {
    pub files: BTreeMap<String, (Vec<u8>, u32)>,
    pub folders: Vec<String>,
    /// Everything done, in order, as one line each.
    pub log: Vec<String>,
    /// Answers to commands, in order; then all succeed.
    pub answers: VecDeque<Answer>,
    /// After a command that ended with a disconnect all fails until there is a new connection.
    pub lost: bool,
    /// Errors of uploads, in order; then all succeed.
    pub upload_errors: VecDeque<CommunicatorError>,
}

#[derive(Debug, Default)]
pub struct FakeCommunicator {
    state: Mutex<FakeState>,
}

impl FakeState {
    fn connected(&self) -> Result<(), CommunicatorError> {
        if self.lost { Err(CommunicatorError::ConnectionLost("reset".to_owned())) } else { Ok(()) }
    }
}

impl FakeCommunicator {
    pub fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn log(&self) -> String {
        self.state().log.join("\n")
    }
}

#[async_trait]
impl Communicator for FakeCommunicator {
    async fn run(
        &self,
        command: &Command,
        output: &dyn OutputSink,
        cancel: &CancellationToken,
    ) -> Result<ExitStatus, CommunicatorError> {
        let answer = {
            let mut state = self.state();
            let pty = if command.pty { " (pty)" } else { "" };
            state.log.push(format!("run{pty} {}", command.text));
            state.connected()?;
            let answer = state.answers.pop_front().unwrap_or(Answer::Exit(ExitStatus::Code(0)));
            state.lost = matches!(answer, Answer::Exit(ExitStatus::Disconnected));
            answer
        };
        match answer {
            Answer::Exit(status) => Ok(status),
            Answer::Output(text, status) => {
                output.write(OutputStream::Stdout, text.as_bytes()).await;
                Ok(status)
            }
            Answer::Fail(error) => Err(error),
            Answer::Hang => {
                cancel.cancelled().await;
                self.state().log.push("killed".to_owned());
                Err(CommunicatorError::Cancelled { killed: true })
            }
        }
    }

    async fn upload(
        &self,
        remote_path: &str,
        bytes: &[u8],
        mode: u32,
        _cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError> {
        let mut state = self.state();
        state.log.push(format!("upload {remote_path} {mode:04o}"));
        state.connected()?;
        if let Some(error) = state.upload_errors.pop_front() {
            return Err(error);
        }
        state.files.insert(remote_path.to_owned(), (bytes.to_vec(), mode));
        Ok(())
    }

    async fn upload_directory(
        &self,
        files: &[(String, &BundleFile)],
        remote_dir: &str,
        cancel: &CancellationToken,
    ) -> Result<(), CommunicatorError> {
        for (name, file) in files {
            let mode = if file.executable { 0o755 } else { 0o644 };
            self.upload(&format!("{}/{name}", remote_dir.trim_end_matches('/')), &file.bytes, mode, cancel).await?;
        }
        Ok(())
    }

    async fn download(
        &self,
        remote_path: &str,
        limit_bytes: u64,
        _cancel: &CancellationToken,
    ) -> Result<Vec<u8>, CommunicatorError> {
        let mut state = self.state();
        state.log.push(format!("download {remote_path}"));
        let path = remote_path.to_owned();
        match state.files.get(remote_path) {
            Some((bytes, _)) if bytes.len() as u64 > limit_bytes => {
                Err(CommunicatorError::TooLarge { path, limit_bytes })
            }
            Some((bytes, _)) => Ok(bytes.clone()),
            None => {
                Err(CommunicatorError::File { action: "reading", path, reason: "No such file".into(), missing: true })
            }
        }
    }

    async fn download_directory(
        &self,
        remote_dir: &str,
        _limits: DownloadLimits,
        _cancel: &CancellationToken,
    ) -> Result<Vec<(String, Vec<u8>)>, CommunicatorError> {
        let mut state = self.state();
        state.log.push(format!("download folder {remote_dir}"));
        let prefix = format!("{}/", remote_dir.trim_end_matches('/'));
        let below = state
            .files
            .iter()
            .filter_map(|(path, (bytes, _))| path.strip_prefix(&prefix).map(|name| (name.to_owned(), bytes.clone())));
        Ok(below.collect())
    }

    async fn is_directory(&self, remote_path: &str, _cancel: &CancellationToken) -> Result<bool, CommunicatorError> {
        let path = remote_path.trim_end_matches('/').to_owned();
        Ok(self.state().folders.contains(&path))
    }

    async fn remove_file(&self, remote_path: &str, _cancel: &CancellationToken) -> Result<(), CommunicatorError> {
        let mut state = self.state();
        state.log.push(format!("remove {remote_path}"));
        state.connected()?;
        state.files.remove(remote_path);
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl Reconnect for FakeCommunicator {
    async fn reconnect(&self, _timeout: Duration, _cancel: &CancellationToken) -> Result<(), CommunicatorError> {
        let mut state = self.state();
        state.log.push("reconnect".to_owned());
        state.lost = false;
        Ok(())
    }
}
