//! The temporary directory of one try of a script. Only the server's user can look into it. It is removed at the end; what a
//! server that died has left is never used again, and the next one that may run scripts removes it.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Handle;

use crate::domain::bundle::{Bundle, split_above};

const PREFIX: &str = "ingot-shell-local-";
/// Locked as long as the directory is in use.
const LOCK: &str = "lock";
const FILES: &str = "files";
/// The template's folder, when there are files of above it; a name that these do not have.
const BELOW: &str = ".ingot-below";
const TEMPORARY: &str = "tmp";

/// A directory with the bundle's files and room for temporary ones; dropping it removes it.
#[derive(Debug)]
pub(super) struct Folder {
    /// Empty once it is removed.
    root: PathBuf,
    /// How many folders above the template's have files.
    above: usize,
    _lock: File,
}

impl Folder {
    /// Makes one and writes the bundle's files into it.
    ///
    /// # Errors
    /// With the path that can't be written.
    pub(super) async fn make(bundle: &Bundle) -> io::Result<Self> {
        // Scripts start elsewhere, so a path that counts from here would lead them astray.
        Self::make_in(&std::path::absolute(std::env::temp_dir())?, bundle).await
    }

    async fn make_in(parent: &Path, bundle: &Bundle) -> io::Result<Self> {
        let mut folder = Self::claim(parent)?;
        folder.above = bundle.iter().map(|(key, _)| split_above(key).0).max().unwrap_or_default();
        for path in [folder.files(), folder.temporary()] {
            fs::create_dir_all(&path).map_err(|error| at(&path, &error))?;
        }
        for (key, file) in bundle.iter() {
            let mode = if file.executable { 0o755 } else { 0o644 };
            let path = folder.file(key);
            write(&path, &file.bytes, mode).await.map_err(|error| at(&path, &error))?;
        }
        Ok(folder)
    }

    /// An empty one that [`remove_leftovers`] leaves alone.
    fn claim(parent: &Path) -> io::Result<Self> {
        loop {
            let root = parent.join(format!("{PREFIX}{:032x}", rand::random::<u128>()));
            DirBuilder::new().mode(0o700).create(&root).map_err(|error| at(&root, &error))?;
            let path = root.join(LOCK);
            let lock = File::create_new(&path).map_err(|error| at(&path, &error))?;
            // Another server that is just starting may have taken it for a leftover before it was locked.
            if lock.try_lock().is_ok() && path.exists() {
                return Ok(Self { root, above: 0, _lock: lock });
            }
        }
    }

    /// The template's folder: scripts start here.
    pub(super) fn files(&self) -> PathBuf {
        self.folder(0)
    }

    /// Where a file of the bundle is.
    pub(super) fn file(&self, key: &str) -> PathBuf {
        let (levels, rest) = split_above(key);
        self.folder(levels).join(rest)
    }

    fn folder(&self, levels: usize) -> PathBuf {
        let below = std::iter::repeat_n(BELOW, self.above.saturating_sub(levels));
        [self.root.as_path(), Path::new(FILES)].into_iter().chain(below.map(Path::new)).collect()
    }

    /// Scripts' `HOME`.
    pub(super) fn home(&self) -> &Path {
        &self.root
    }

    /// Scripts' `TMPDIR`.
    pub(super) fn temporary(&self) -> PathBuf {
        self.root.join(TEMPORARY)
    }

    /// Writes a script beside the template's files; answers its path.
    ///
    /// # Errors
    /// With the path that can't be written.
    pub(super) async fn add_script(&self, extension: Option<&str>, bytes: &[u8]) -> io::Result<PathBuf> {
        let mut path = self.root.join("packer-shell");
        if let Some(extension) = extension {
            path.as_mut_os_string().push(".");
            path.as_mut_os_string().push(extension);
        }
        write(&path, bytes, 0o700).await.map_err(|error| at(&path, &error))?;
        Ok(path)
    }

    /// Removes it.
    ///
    /// # Errors
    /// With what could not be removed, such as files of another user.
    pub(super) async fn remove(mut self) -> io::Result<()> {
        let root = std::mem::take(&mut self.root);
        let removed = tokio::task::spawn_blocking(move || remove(&root)).await;
        removed.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.root.as_os_str().is_empty() {
            return;
        }
        let root = std::mem::take(&mut self.root);
        let work = move || {
            if let Err(error) = remove(&root) {
                tracing::warn!(%error, "the temporary directory of a local script could not be removed");
            }
        };
        // A script may have filled it; a thread of the runtime must not be held up by that.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

async fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await?;
    }
    let mut file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).await?;
    file.write_all(bytes).await?;
    file.flush().await
}

/// Removes a directory, also one with folders that were made read-only, as Go's module cache is.
fn remove(root: &Path) -> io::Result<()> {
    if let Err(first) = fs::remove_dir_all(root) {
        if first.kind() == io::ErrorKind::NotFound {
            return Ok(());
        }
        make_writable(root);
        // What was just killed may have written a last file meanwhile, so this is worth a second try in any case.
        fs::remove_dir_all(root).map_err(|error| at(root, &error))?;
    }
    Ok(())
}

/// Gives the owner all rights to all folders; what can't be changed stays as it is.
fn make_writable(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

/// Removes the directories that servers which died have left, and leaves those of living ones alone.
pub fn remove_leftovers() {
    remove_leftovers_in(&std::env::temp_dir());
}

fn remove_leftovers_in(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.metadata().is_ok_and(|about| about.is_dir() && about.uid() == rustix::process::geteuid().as_raw());
        // Without the file it was just made, or is being removed.
        let Some(lock) = is_ours.then(|| File::open(entry.path().join(LOCK)).ok()).flatten() else { continue };
        if lock.try_lock().is_ok()
            && let Err(error) = remove(&entry.path())
        {
            tracing::warn!(%error, "what a local script of a server that is gone has left could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_holds_the_bundle_s_files_for_the_owner_alone_and_goes_whole() {
        let mut bundle = Bundle::default();
        bundle.insert("a/b/run.sh", b"x".to_vec(), true).unwrap();
        bundle.insert("c.txt", b"y".to_vec(), false).unwrap();
        let folder = Folder::make(&bundle).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder.root), 0o700);
        assert_eq!(fs::read(folder.files().join("c.txt")).unwrap(), b"y");
        assert_eq!(mode(&folder.files().join("a/b/run.sh")) & 0o100, 0o100);
        let root = folder.root.clone();
        fs::set_permissions(folder.files().join("a/b"), Permissions::from_mode(0o500)).unwrap();
        folder.remove().await.unwrap();
        assert!(!root.exists());

        let dropped = Folder::make(&bundle).await.unwrap();
        let root = dropped.root.clone();
        drop(dropped);
        while root.exists() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn files_of_above_the_template_s_folder_are_above_it() {
        let mut bundle = Bundle::default();
        bundle.insert("run.sh", b"x".to_vec(), true).unwrap();
        bundle.insert(".ingot-above/shared/a", b"a".to_vec(), false).unwrap();
        bundle.insert(".ingot-above/.ingot-above/files/b", b"b".to_vec(), false).unwrap();
        let folder = Folder::make(&bundle).await.unwrap();
        for (path, text) in [("run.sh", b"x"), ("../shared/a", b"a"), ("../../files/b", b"b")] {
            assert_eq!(fs::read(folder.files().join(path)).unwrap(), text);
        }
        assert_eq!(fs::read(folder.file(".ingot-above/shared/a")).unwrap(), b"a");
        folder.remove().await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_can_not_be_made_is_named() {
        let error = Folder::make_in(Path::new("/nowhere"), &Bundle::default()).await.unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/ingot-shell-local-") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn leftovers_of_servers_that_are_gone_are_removed_and_others_are_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Folder::claim(parent.path()).unwrap();
        // The kernel takes the lock of a server that was killed.
        let dead = parent.path().join(format!("{PREFIX}dead"));
        let other = parent.path().join("another-program");
        for folder in [&dead, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(LOCK), "").unwrap();
        }
        remove_leftovers_in(parent.path());
        assert!(!dead.exists() && living.root.exists() && other.exists());
    }
}
