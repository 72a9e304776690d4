//! Secrets at rest: AES-256-GCM with a random 96-bit nonce. The build's id and the kind are associated data, so that a
//! ciphertext moved to another row does not open.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aes_gcm::aead::{Aead, Generate, KeyInit, Nonce, Payload};
use aes_gcm::{Aes256Gcm, Key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretBox};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::domain::content_key::{ContentHasher, hmac_sha256};
use crate::domain::error::{Error, Result};
use crate::domain::ids::{Attempt, BuildId, ScheduleId};

/// Says which key sealed something; not secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId(pub String);

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// The evaluated configuration.
    Config,
    /// Values to mask in logs.
    Sensitive,
    /// The private key of one attempt.
    PrivateKey(Attempt),
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Sensitive => f.write_str("sensitive"),
            Self::PrivateKey(attempt) => write!(f, "key:{attempt}"),
        }
    }
}

/// A sealed secret, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub key_id: String,
    pub nonce: Vec<u8>,
    pub ciphertext: Vec<u8>,
}

type KeyBytes = SecretBox<[u8; 32]>;

/// Seals with the current key and opens with any it knows.
pub struct Sealer {
    current: KeyId,
    keys: HashMap<KeyId, KeyBytes>,
}

impl Sealer {
    /// A sealer with `current` for new secrets; `older` keys only open.
    #[must_use]
    pub fn new(current: (KeyId, [u8; 32]), older: Vec<(KeyId, [u8; 32])>) -> Self {
        let current_id = current.0.clone();
        let keys = older
            .into_iter()
            .chain(std::iter::once(current))
            .map(|(id, bytes)| (id, SecretBox::new(Box::new(bytes))))
            .collect();
        Self { current: current_id, keys }
    }

    /// Reads keys, one `<key id>:<base64 of 32 bytes>` a line; the first is the current one.
    ///
    /// # Errors
    /// When a line has another form or there is none.
    pub fn parse(text: &str) -> Result<Self> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            let bad = || {
                Error::bad_request(
                    "secret-key-invalid",
                    format!("Line {} of the secret key is not `<key id>:<base64 of 32 bytes>`.", index + 1),
                )
            };
            let (id, encoded) = line.split_once(':').ok_or_else(bad)?;
            let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| bad())?);
            let bytes: [u8; 32] = decoded.as_slice().try_into().map_err(|_| bad())?;
            if id.is_empty() {
                return Err(bad());
            }
            keys.push((KeyId(id.to_owned()), bytes));
        }
        if keys.is_empty() {
            return Err(Error::bad_request("secret-key-invalid", "The secret key is empty."));
        }
        let current = keys.remove(0);
        Ok(Self::new(current, keys))
    }

    /// Reads the key file, or makes one with a fresh key (mode 0600). Of several that make it at once, one wins and all use it.
    ///
    /// # Errors
    /// When the file can't be read or made, is readable for others, or has another form.
    pub fn from_file_or_create(path: &Path) -> Result<Self> {
        if !path.exists() {
            create_key_file(path).map_err(|error| file_error(path, &error))?;
        }
        let mode = fs::metadata(path).map_err(|error| file_error(path, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::bad_request(
                "secret-key-file",
                format!("The secret key file {0} is open to others; run `chmod 600 {0}`.", path.display()),
            ));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| file_error(path, &error))?);
        Self::parse(&text)
    }

    /// The ids of all keys it has.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.keys.keys().map(|id| id.0.clone()).collect()
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn current_key_id(&self) -> &str {
        &self.current.0
    }

    /// Seals a build's secret anew with the current key; `kind` as it is stored.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn reseal_build(&self, build: Uuid, kind: &str, sealed: &Sealed) -> Result<Sealed> {
        self.reseal(&build_data(build, kind), sealed, || format!("secret {kind} of build {build}"))
    }

    /// Seals a schedule's request anew with the current key.
    ///
    /// # Errors
    /// As [`Sealer::open_schedule`].
    pub fn reseal_schedule(&self, schedule: Uuid, sealed: &Sealed) -> Result<Sealed> {
        self.reseal(&schedule_data(ScheduleId(schedule)), sealed, || format!("the request of schedule {schedule}"))
    }

    fn reseal(&self, aad: &[u8], sealed: &Sealed, what: impl FnOnce() -> String) -> Result<Sealed> {
        let plain = self.open_for(aad, sealed)?.ok_or_else(|| {
            Error::internal(format!("{} does not open with key {}: it was changed", what(), sealed.key_id))
        })?;
        self.seal_for(aad, &plain)
    }

    /// What makes the fingerprints of a run's content. Its secret is derived from the current key: a copy of the database
    /// alone is not enough to try out passwords.
    ///
    /// # Errors
    /// When the current key is not there, which is a fault of ours.
    pub fn content_hasher(&self) -> Result<ContentHasher> {
        let key = self.keys.get(&self.current).ok_or_else(|| unknown_key(&self.current.0))?;
        let secret = hmac_sha256(key.expose_secret(), b"ingot: content key");
        Ok(ContentHasher::new(self.current.0.clone(), secret))
    }

    /// Seals.
    ///
    /// # Errors
    /// When the plaintext is beyond AES-GCM's 64 GiB.
    pub fn seal(&self, build: BuildId, kind: SecretKind, plaintext: &[u8]) -> Result<Sealed> {
        self.seal_for(&associated_data(build, kind), plaintext)
            .map_err(|error| error.with_internal(format!("secret {kind} of build {build} can't be sealed")))
    }

    /// Opens.
    ///
    /// # Errors
    /// When the key is not known, or the ciphertext is not of this build and kind or was changed.
    pub fn open(&self, build: BuildId, kind: SecretKind, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        self.open_for(&associated_data(build, kind), sealed)?.ok_or_else(|| {
            Error::internal(format!(
                "secret {kind} of build {build} does not open with key {}: it was changed, or sealed for another build",
                sealed.key_id
            ))
        })
    }

    /// Seals what the runs of a schedule ask for.
    ///
    /// # Errors
    /// When the plaintext is beyond AES-GCM's 64 GiB.
    pub fn seal_schedule(&self, schedule: ScheduleId, plaintext: &[u8]) -> Result<Sealed> {
        self.seal_for(&schedule_data(schedule), plaintext)
            .map_err(|error| error.with_internal(format!("the request of schedule {schedule} can't be sealed")))
    }

    /// Opens what the runs of a schedule ask for.
    ///
    /// # Errors
    /// When the key is not known, or the ciphertext is not of this schedule or was changed.
    pub fn open_schedule(&self, schedule: ScheduleId, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>> {
        self.open_for(&schedule_data(schedule), sealed)?.ok_or_else(|| {
            Error::internal(format!(
                "the request of schedule {schedule} does not open with key {}: it was changed",
                sealed.key_id
            ))
        })
    }

    fn seal_for(&self, aad: &[u8], plaintext: &[u8]) -> Result<Sealed> {
        let key = self.keys.get(&self.current).ok_or_else(|| unknown_key(&self.current.0))?;
        let nonce: Nonce<Aes256Gcm> = Generate::generate();
        let ciphertext = cipher(key)
            .encrypt(&nonce, Payload { msg: plaintext, aad })
            .map_err(|_| Error::internal("a secret can't be sealed"))?;
        Ok(Sealed { key_id: self.current.0.clone(), nonce: nonce.to_vec(), ciphertext })
    }

    /// `None` when it does not open.
    fn open_for(&self, aad: &[u8], sealed: &Sealed) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let key = self.keys.get(&KeyId(sealed.key_id.clone())).ok_or_else(|| unknown_key(&sealed.key_id))?;
        let Ok(nonce) = Nonce::<Aes256Gcm>::try_from(sealed.nonce.as_slice()) else { return Ok(None) };
        let opened = cipher(key).decrypt(&nonce, Payload { msg: &sealed.ciphertext, aad });
        Ok(opened.ok().map(Zeroizing::new))
    }
}

fn schedule_data(schedule: ScheduleId) -> Vec<u8> {
    let mut data = schedule.0.as_bytes().to_vec();
    data.extend_from_slice(b"schedule");
    data
}

fn cipher(key: &KeyBytes) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key.expose_secret()))
}

fn associated_data(build: BuildId, kind: SecretKind) -> Vec<u8> {
    build_data(build.0, &kind.to_string())
}

fn build_data(build: Uuid, kind: &str) -> Vec<u8> {
    let mut data = build.as_bytes().to_vec();
    data.extend_from_slice(kind.as_bytes());
    data
}

fn unknown_key(id: &str) -> Error {
    Error::internal(format!(
        "this server does not have secret key {id:?}; give all servers of a deployment the same keys, older ones included"
    ))
}

pub(super) fn file_error(path: &Path, error: &std::io::Error) -> Error {
    Error::bad_request("secret-key-file", format!("The secret key file {} can't be used: {error}.", path.display()))
}

/// Writes a complete file beside the place and links it there, so that nobody ever reads half a key.
fn create_key_file(path: &Path) -> std::io::Result<()> {
    let key = Zeroizing::new(<[u8; 32]>::generate());
    let id = hex::encode(<[u8; 4]>::generate());
    let line = Zeroizing::new(format!("{id}:{}\n", STANDARD.encode(key.as_slice())));
    let draft = path.with_extension(format!("{id}.new"));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(id: &str) -> Sealer {
        Sealer::new((KeyId(id.into()), [7; 32]), vec![])
    }

    #[test]
    fn opens_only_for_its_own_build_and_kind() {
        let (build, other) = (BuildId(Uuid::from_u128(1)), BuildId(Uuid::from_u128(2)));
        let sealed = sealer("a").seal(build, SecretKind::Config, b"swordfish").unwrap();
        assert!(!sealed.ciphertext.windows(9).any(|window| window == b"swordfish"));
        assert_eq!(&**sealer("a").open(build, SecretKind::Config, &sealed).unwrap(), b"swordfish");
        assert!(sealer("a").open(other, SecretKind::Config, &sealed).is_err());
        assert!(sealer("a").open(build, SecretKind::Sensitive, &sealed).is_err());
        let mut changed = sealed.clone();
        changed.ciphertext[0] ^= 1;
        assert!(sealer("a").open(build, SecretKind::Config, &changed).is_err());
        let again = sealer("a").seal(build, SecretKind::Config, b"swordfish").unwrap();
        assert_ne!(sealed.nonce, again.nonce);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let build = BuildId(Uuid::from_u128(1));
        let sealed = sealer("old").seal(build, SecretKind::Config, b"x").unwrap();
        let error = sealer("new").open(build, SecretKind::Config, &sealed).unwrap_err();
        assert!(error.for_log().contains("\"old\""), "{}", error.for_log());
        let both = Sealer::new((KeyId("new".into()), [8; 32]), vec![(KeyId("old".into()), [7; 32])]);
        assert_eq!(&**both.open(build, SecretKind::Config, &sealed).unwrap(), b"x");
        assert_eq!(both.seal(build, SecretKind::Config, b"x").unwrap().key_id, "new");
    }

    #[test]
    fn the_key_file_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let first = Sealer::from_file_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Sealer::from_file_or_create(&path).unwrap().key_ids(), first.key_ids());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Sealer::from_file_or_create(&path).is_err_and(|error| error.public.contains("chmod 600")));
    }

    #[test]
    fn a_malformed_key_says_its_line() {
        let good = format!("k:{}", STANDARD.encode([1_u8; 32]));
        assert!(Sealer::parse(&good).is_ok());
        let error = Sealer::parse(&format!("{good}\nk2:c2hvcnQ=")).err().unwrap();
        assert!(error.public.contains("Line 2"), "{}", error.public);
        assert!(!error.public.contains("c2hvcnQ"), "the key itself is not shown");
        assert!(Sealer::parse(" \n").is_err());
    }
}
