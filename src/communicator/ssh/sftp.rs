//! Files over SFTP, on one channel that stays open: no new connection and no `scp` process for each file.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::fs::{File, Metadata};
use russh_sftp::client::{Config, SftpSession};
use russh_sftp::protocol::{FileAttributes, FileType, OpenFlags, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Session, command, lost};
use crate::communicator::{CommunicatorError, DownloadLimits};
use crate::domain::bundle::BundleFile;

/// Requests of one file that may be under way: with 32 KiB each, 2 MiB, as much as OpenSSH's channel window takes.
const REQUESTS_IN_FLIGHT: usize = 64;
/// Files of a folder that are moved at the same time; hides the round trips of small ones.
const FILES_IN_FLIGHT: usize = 16;
/// For one answer. A machine that is busy writing can take long.
const REQUEST_LIMIT_SECONDS: u64 = 60;
/// How deep a downloaded folder may be nested.
const DEPTH_LIMIT: usize = 64;

const READ: &str = "reading";
const WRITE: &str = "writing";
const LIST: &str = "listing";
const MAKE: &str = "making the folder";
const REMOVE: &str = "removing";

/// `~/x` is `x` below the login directory, where SFTP's relative paths begin. (A shell expands it, SFTP does not.)
fn remote(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        Some(_) => ".".to_owned(),
        None if path == "~" => ".".to_owned(),
        None => path.to_owned(),
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.trim_end_matches('/')) }
}

fn parent(path: &str) -> Option<&str> {
    let (parent, _) = path.trim_end_matches('/').rsplit_once('/')?;
    (!parent.is_empty()).then_some(parent)
}

impl Session {
    async fn sftp(&self) -> Result<Arc<SftpSession>, CommunicatorError> {
        let mut slot = self.sftp.lock().await;
        if let Some(sftp) = slot.as_ref() {
            return Ok(Arc::clone(sftp));
        }
        let mut channel = self.open_channel("file transfer").await?;
        channel.request_subsystem(true, "sftp").await.map_err(lost)?;
        if !command::accepted(&mut channel).await {
            return Err(self.lost_or(CommunicatorError::NoSftp));
        }
        let config = Config {
            max_concurrent_reads: REQUESTS_IN_FLIGHT,
            max_concurrent_writes: REQUESTS_IN_FLIGHT,
            request_timeout_secs: REQUEST_LIMIT_SECONDS,
            ..Config::default()
        };
        // sshd accepts the request before it finds out that the server program is missing.
        let sftp = SftpSession::new_with_config(channel.into_stream(), config)
            .await
            .map_err(|_| self.lost_or(CommunicatorError::NoSftp))?;
        let sftp = Arc::new(sftp);
        *slot = Some(Arc::clone(&sftp));
        Ok(sftp)
    }

    fn lost_or(&self, error: CommunicatorError) -> CommunicatorError {
        if self.handle.is_closed() { lost("closed by the machine") } else { error }
    }

    /// Says what failed; a session that may be broken is not used again.
    async fn failure(&self, action: &'static str, path: &str, error: SftpError) -> CommunicatorError {
        if let SftpError::Status(status) = &error {
            let missing = status.status_code == StatusCode::NoSuchFile;
            let reason = match status.status_code {
                // OpenSSH's word for everything without a code of its own.
                StatusCode::Failure => "the machine says \"Failure\" (is the disk full, or is it a folder?)".to_owned(),
                _ => status.error_message.clone(),
            };
            return CommunicatorError::File { action, path: path.to_owned(), reason, missing };
        }
        *self.sftp.lock().await = None;
        self.lost_or(CommunicatorError::File {
            action,
            path: path.to_owned(),
            reason: error.to_string(),
            missing: false,
        })
    }

    async fn io_failure(&self, action: &'static str, path: &str, error: io::Error) -> CommunicatorError {
        let known = error.get_ref().and_then(|inner| inner.downcast_ref::<SftpError>()).cloned();
        self.failure(action, path, known.unwrap_or_else(|| SftpError::IO(error.to_string()))).await
    }

    pub(super) async fn upload(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), CommunicatorError> {
        let sftp = self.sftp().await?;
        self.upload_with(&sftp, &remote(path), bytes, mode).await
    }

    async fn upload_with(
        &self,
        sftp: &SftpSession,
        path: &str,
        bytes: &[u8],
        mode: u32,
    ) -> Result<(), CommunicatorError> {
        let attributes = FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE;
        let mut file: File = match sftp.open_with_flags_and_attributes(path, flags, attributes.clone()).await {
            Ok(file) => file,
            Err(error) => {
                let is_folder = matches!(sftp.metadata(path).await, Ok(found) if found.file_type() == FileType::Dir);
                if is_folder {
                    let reason = "it is a folder; end the destination with / to put the file into it".to_owned();
                    return Err(CommunicatorError::File {
                        action: WRITE,
                        path: path.to_owned(),
                        reason,
                        missing: false,
                    });
                }
                return Err(self.failure(WRITE, path, error).await);
            }
        };
        // The mode given at opening is subject to the umask and not applied to a file that is there already. Setting it
        // comes before the content, so that a secret is never in a readable file.
        if let Err(error) = file.set_metadata(attributes).await {
            return Err(self.failure(WRITE, path, error).await);
        }
        let written = async {
            file.write_all(bytes).await?;
            file.shutdown().await
        };
        match written.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.io_failure(WRITE, path, error).await),
        }
    }

    pub(super) async fn upload_directory(
        &self,
        files: &[(String, &BundleFile)],
        folder: &str,
    ) -> Result<(), CommunicatorError> {
        let sftp = self.sftp().await?;
        let folder = remote(folder);
        self.make_folders(&sftp, &folder).await?;
        let mut folders = BTreeSet::new();
        for (name, _) in files {
            let mut at = name.as_str();
            while let Some((above, _)) = at.rsplit_once('/') {
                folders.insert(above);
                at = above;
            }
        }
        // Sorted, so a folder comes before those in it.
        for name in folders {
            self.make_folder(&sftp, &join(&folder, name)).await?;
        }
        let uploads: Vec<_> = files
            .iter()
            .map(|(name, file)| {
                let (path, sftp) = (join(&folder, name), Arc::clone(&sftp));
                let mode = if file.executable { 0o755 } else { 0o644 };
                async move { self.upload_with(&sftp, &path, &file.bytes, mode).await }
            })
            .collect();
        futures::stream::iter(uploads).buffer_unordered(FILES_IN_FLIGHT).try_collect::<()>().await
    }

    /// Makes a folder unless it is there; its parent is there.
    async fn make_folder(&self, sftp: &SftpSession, path: &str) -> Result<(), CommunicatorError> {
        let Err(error) = sftp.create_dir(path).await else { return Ok(()) };
        match sftp.metadata(path).await {
            Ok(found) if found.file_type() == FileType::Dir => Ok(()),
            Ok(_) => {
                let reason = "a file of that name is there".to_owned();
                Err(CommunicatorError::File { action: MAKE, path: path.to_owned(), reason, missing: false })
            }
            Err(_) => Err(self.failure(MAKE, path, error).await),
        }
    }

    /// Makes a folder and those above it that are missing.
    async fn make_folders(&self, sftp: &SftpSession, path: &str) -> Result<(), CommunicatorError> {
        let mut missing = Vec::new();
        let mut at = path;
        loop {
            match sftp.metadata(at).await {
                Ok(_) => break,
                Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => missing.push(at),
                Err(error) => return Err(self.failure(MAKE, at, error).await),
            }
            match parent(at) {
                Some(above) => at = above,
                None => break,
            }
        }
        for folder in missing.into_iter().rev() {
            self.make_folder(sftp, folder).await?;
        }
        // An existing file in the folder's place is noticed here.
        self.make_folder(sftp, path).await
    }

    pub(super) async fn download(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, CommunicatorError> {
        let sftp = self.sftp().await?;
        self.download_with(&sftp, &remote(path), limit_bytes).await
    }

    async fn download_with(
        &self,
        sftp: &SftpSession,
        path: &str,
        limit_bytes: u64,
    ) -> Result<Vec<u8>, CommunicatorError> {
        let too_large = || CommunicatorError::TooLarge { path: path.to_owned(), limit_bytes };
        let mut file = match sftp.open(path).await {
            Ok(file) => file,
            Err(error) => return Err(self.failure(READ, path, error).await),
        };
        // Saves reading a large file up to the limit; the file may lie (/proc) or grow, so the limit is kept below too.
        match file.metadata().await {
            Ok(found) if found.len() > limit_bytes => return Err(too_large()),
            Ok(_) => {}
            Err(error) => return Err(self.failure(READ, path, error).await),
        }
        let mut bytes = Vec::new();
        if let Err(error) = (&mut file).take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes).await {
            return Err(self.io_failure(READ, path, error).await);
        }
        if bytes.len() as u64 > limit_bytes {
            return Err(too_large());
        }
        // All bytes are here; a failure to close changes nothing.
        let _ = file.close().await;
        Ok(bytes)
    }

    pub(super) async fn download_directory(
        &self,
        folder: &str,
        limits: DownloadLimits,
    ) -> Result<Vec<(String, Vec<u8>)>, CommunicatorError> {
        let sftp = self.sftp().await?;
        let folder = remote(folder);
        let mut names = self.list_files(&sftp, &folder, limits).await?;
        names.sort();
        let mut left = limits.bytes;
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            let bytes = self.download_with(&sftp, &join(&folder, &name), left).await.map_err(|error| match error {
                CommunicatorError::TooLarge { .. } => {
                    CommunicatorError::TooLarge { path: folder.clone(), limit_bytes: limits.bytes }
                }
                other => other,
            })?;
            left = left.saturating_sub(bytes.len() as u64);
            files.push((name, bytes));
        }
        Ok(files)
    }

    /// The regular files below a folder. The machine chooses the names, so those that are no plain names are refused.
    async fn list_files(
        &self,
        sftp: &SftpSession,
        folder: &str,
        limits: DownloadLimits,
    ) -> Result<Vec<String>, CommunicatorError> {
        let mut files = Vec::new();
        let mut folders = vec![(String::new(), 0usize)];
        while let Some((below, depth)) = folders.pop() {
            let path = if below.is_empty() { folder.to_owned() } else { join(folder, &below) };
            let entries = match sftp.read_dir(path.as_str()).await {
                Ok(entries) => entries,
                Err(error) => return Err(self.failure(LIST, &path, error).await),
            };
            for entry in entries {
                let name = entry.file_name();
                if name.is_empty() || name.contains(['/', '\\']) || name.chars().any(char::is_control) {
                    let reason = format!("it holds a file with the unusable name {name:?}");
                    return Err(CommunicatorError::File { action: LIST, path, reason, missing: false });
                }
                let child = join(&below, &name);
                match file_type(sftp, &join(&path, &name), &entry.metadata()).await {
                    FileType::Dir if depth < DEPTH_LIMIT => folders.push((child, depth + 1)),
                    FileType::File => files.push(child),
                    _ => {}
                }
                if files.len() + folders.len() > limits.files {
                    return Err(CommunicatorError::TooManyFiles { path: folder.to_owned(), limit: limits.files });
                }
            }
        }
        Ok(files)
    }

    pub(super) async fn is_directory(&self, path: &str) -> Result<bool, CommunicatorError> {
        let sftp = self.sftp().await?;
        let path = remote(path);
        match sftp.metadata(path.as_str()).await {
            Ok(found) => Ok(found.file_type() == FileType::Dir),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(false),
            Err(error) => Err(self.failure(READ, &path, error).await),
        }
    }

    pub(super) async fn remove_file(&self, path: &str) -> Result<(), CommunicatorError> {
        let sftp = self.sftp().await?;
        let path = remote(path);
        match sftp.remove_file(path.as_str()).await {
            Ok(()) => Ok(()),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(()),
            Err(error) => Err(self.failure(REMOVE, &path, error).await),
        }
    }
}

/// What an entry is; of a symbolic link, a file only if that is what it leads to (links to folders can form circles).
async fn file_type(sftp: &SftpSession, path: &str, found: &Metadata) -> FileType {
    match found.file_type() {
        FileType::Symlink => match sftp.metadata(path).await {
            Ok(target) if target.file_type() == FileType::File => FileType::File,
            _ => FileType::Other,
        },
        other => other,
    }
}
