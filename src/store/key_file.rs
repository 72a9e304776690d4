//! The file of the secret keys, one `<key id>:<base64 of 32 bytes>` a line. The first key seals, all open. Keys change by
//! hand, in steps that leave every server able to read: add (everywhere), use (everywhere), reseal, drop.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aes_gcm::aead::Generate;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::sealed::{Sealer, file_error};
use crate::domain::error::{Error, Result};

/// The lines of the file.
pub struct KeyFile {
    path: PathBuf,
    keys: Vec<(String, Zeroizing<String>)>,
}

impl KeyFile {
    /// Reads the file, or makes it with one key.
    ///
    /// # Errors
    /// As [`Sealer::from_file_or_create`].
    pub fn open(path: &Path) -> Result<Self> {
        Sealer::from_file_or_create(path)?;
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| file_error(path, &error))?);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.filter_map(|line| {
            let (id, _) = line.split_once(':')?;
            Some((id.to_owned(), Zeroizing::new(line.to_owned())))
        });
        Ok(Self { path: path.to_owned(), keys: keys.collect() })
    }

    /// The ids, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// Adds a fresh key, which opens but does not seal yet; its id.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn add(&mut self) -> Result<String> {
        let key = Zeroizing::new(<[u8; 32]>::generate());
        let id = hex::encode(<[u8; 4]>::generate());
        let line = Zeroizing::new(format!("{id}:{}", STANDARD.encode(key.as_slice())));
        self.keys.push((id.clone(), line));
        self.write()?;
        Ok(id)
    }

    /// Makes a key the one that seals.
    ///
    /// # Errors
    /// `secret-key-unknown`, or the file can't be written.
    pub fn make_current(&mut self, id: &str) -> Result<()> {
        let at = self.position(id)?;
        let key = self.keys.remove(at);
        self.keys.insert(0, key);
        self.write()
    }

    /// Removes a key. That nothing is sealed with it is for the caller to see.
    ///
    /// # Errors
    /// `secret-key-unknown`, `secret-key-current`, or the file can't be written.
    pub fn remove(&mut self, id: &str) -> Result<()> {
        let at = self.position(id)?;
        if at == 0 {
            let public =
                format!("The key {id} seals new secrets; make another one current first: `ingot secrets use`.");
            return Err(Error::conflict("secret-key-current", public));
        }
        self.keys.remove(at);
        self.write()
    }

    fn position(&self, id: &str) -> Result<usize> {
        self.keys.iter().position(|(known, _)| known == id).ok_or_else(|| {
            let known: Vec<&str> = self.ids().collect();
            let public = format!("{} has no key {id:?}; it has {}.", self.path.display(), known.join(", "));
            Error::not_found("secret-key-unknown", public)
        })
    }

    /// Replaces the file in one step, so that nobody reads half of it.
    fn write(&self) -> Result<()> {
        let draft = self.path.with_extension(format!("{}.new", hex::encode(<[u8; 4]>::generate())));
        let text = Zeroizing::new(self.keys.iter().fold(String::new(), |text, (_, line)| text + line + "\n"));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&draft, &self.path));
        written.map_err(|error| {
            // What was not moved into place is of no use.
            let _ = fs::remove_file(&draft);
            file_error(&self.path, &error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::BuildId;
    use crate::store::sealed::SecretKind;

    #[test]
    fn keys_change_in_steps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let mut file = KeyFile::open(&path).unwrap();
        let first = file.ids().next().unwrap().to_owned();
        let sealer = || Sealer::from_file_or_create(&path).unwrap();
        let build = BuildId(Uuid::from_u128(1));
        let old = sealer().seal(build, SecretKind::Config, b"x").unwrap();

        let second = file.add().unwrap();
        assert_eq!(sealer().seal(build, SecretKind::Config, b"x").unwrap().key_id, first, "a new key only opens");
        file.make_current(&second).unwrap();
        let new = sealer().seal(build, SecretKind::Config, b"x").unwrap();
        assert_eq!(new.key_id, second);
        assert!(sealer().open(build, SecretKind::Config, &old).is_ok());

        assert_eq!(file.remove(&second).unwrap_err().code, "secret-key-current");
        assert!(file.remove("nope").unwrap_err().public.contains(&first));
        file.remove(&first).unwrap();
        assert!(sealer().open(build, SecretKind::Config, &old).is_err());
        assert!(sealer().open(build, SecretKind::Config, &new).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }
}
