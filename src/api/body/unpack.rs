//! A tar.gz bundle, from a stranger: everything in it is counted before it is believed.

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::api::Limits;
use crate::domain::bundle::{ABOVE, Bundle, BundlePathError};
use crate::domain::error::{Error, ErrorKind, Result};

/// What tar adds to each file: its header, padding, and headers for a long name.
const OVERHEAD_PER_FILE: u64 = 4 * 1024;

/// Unpacks a bundle into memory.
///
/// # Errors
/// `bundle-unreadable` when it is no tar.gz, `bundle-too-large` past a limit, `bundle-refused` for links, devices,
/// duplicate paths and paths that leave the bundle.
pub fn tar_gz(bytes: &[u8], limits: &Limits) -> Result<Bundle> {
    let overhead = (limits.max_files as u64).saturating_mul(OVERHEAD_PER_FILE).max(1 << 20);
    let budget = (limits.max_unpacked_bytes as u64).saturating_add(overhead);
    let mut archive = Archive::new(Bounded { inner: MultiGzDecoder::new(bytes), left: budget });
    let mut bundle = Bundle::default();
    let mut total: u64 = 0;
    for entry in archive.entries().map_err(|error| unreadable(&error, limits))? {
        let mut entry = entry.map_err(|error| unreadable(&error, limits))?;
        let path = path_of(&entry)?;
        if !is_file(&entry, &path)? {
            continue;
        }
        total = total.saturating_add(entry.size());
        if total > limits.max_unpacked_bytes as u64 {
            return Err(too_large(limits));
        }
        if bundle.len() >= limits.max_files {
            return Err(too_many_files(limits.max_files));
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        // The declared size is not a promise: memory grows with what really comes.
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| unreadable(&error, limits))?;
        bundle.insert(&path, content, executable).map_err(|error| refused_path(&error))?;
    }
    if bundle.is_empty() {
        return Err(Error::bad_request("bundle-unreadable", "The bundle has no files."));
    }
    Ok(bundle)
}

/// A small bundle that came as text by path.
///
/// # Errors
/// `bundle-too-large`, `bundle-refused`.
pub fn check_files(files: BTreeMap<String, String>, limits: &Limits) -> Result<Bundle> {
    if files.len() > limits.max_files {
        return Err(too_many_files(limits.max_files));
    }
    if files.values().map(String::len).sum::<usize>() > limits.max_unpacked_bytes {
        return Err(too_large(limits));
    }
    let mut bundle = Bundle::default();
    for (path, text) in files {
        bundle.insert(&path, text.into_bytes(), false).map_err(|error| refused_path(&error))?;
    }
    if bundle.is_empty() {
        return Err(Error::bad_request("bundle-unreadable", "The template has no files."));
    }
    Ok(bundle)
}

fn path_of<R: Read>(entry: &Entry<'_, R>) -> Result<String> {
    let path = entry.path_bytes().into_owned();
    String::from_utf8(path)
        .map_err(|error| refused(&format!("the path {:?} is not UTF-8", String::from_utf8_lossy(error.as_bytes()))))
}

/// Folders and a tar's own notes are passed over; what is neither file nor folder is refused by name.
fn is_file<R: Read>(entry: &Entry<'_, R>, path: &str) -> Result<bool> {
    let what = match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => return Ok(!path.ends_with('/')),
        EntryType::Directory | EntryType::XGlobalHeader => return Ok(false),
        EntryType::Symlink => "a symbolic link",
        EntryType::Link => "a hard link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a named pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "neither a file nor a folder",
    };
    Err(refused(&format!("{path:?} is {what}; a bundle holds only files and folders")))
}

fn refused(what: &str) -> Error {
    Error::unprocessable("bundle-refused", format!("The bundle is refused: {what}."))
}

pub(super) fn refused_path(error: &BundlePathError) -> Error {
    match error {
        BundlePathError::Outside(_) => refused(&format!("{error}; in a bundle {ABOVE} stands for ..")),
        error => refused(&error.to_string()),
    }
}

pub(super) fn too_many_files(limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, "bundle-too-large", format!("The bundle has more than {limit} files."))
}

fn too_large(limits: &Limits) -> Error {
    let public = format!("The bundle's files are larger than {} bytes together.", limits.max_unpacked_bytes);
    Error::new(ErrorKind::TooLarge, "bundle-too-large", public)
}

fn unreadable(error: &io::Error, limits: &Limits) -> Error {
    let over_budget = matches!(error.get_ref(), Some(inner) if inner.is::<OverBudget>());
    if over_budget || error.kind() == io::ErrorKind::QuotaExceeded {
        return too_large(limits);
    }
    Error::bad_request("bundle-unreadable", "The body is not a readable tar.gz archive; make one with `tar -czf`.")
        .with_internal(error.to_string())
}

#[derive(Debug, thiserror::Error)]
#[error("the archive unpacks to more than is allowed")]
struct OverBudget;

/// Ends a reading that goes over its budget with an error, not with an end of file that would look like a short archive.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::QuotaExceeded, OverBudget))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use tar::{Builder, Header};

    use super::*;

    const LIMITS: Limits = Limits {
        max_bundle_bytes: 1 << 20,
        max_unpacked_bytes: 4096,
        max_files: 3,
        request_timeout: Duration::from_secs(1),
        max_requests: 1,
    };

    /// An archive with headers that the tar crate itself would refuse to write.
    fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(if path.contains(".sh") { 0o755 } else { 0o644 });
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn code(entries: &[(&str, EntryType, &[u8])]) -> (&'static str, String) {
        let error = tar_gz(&archive(entries), &LIMITS).unwrap_err();
        (error.code, error.public)
    }

    #[test]
    fn files_keep_path_and_mode() {
        let bundle = tar_gz(
            &archive(&[
                ("./", EntryType::Directory, b""),
                ("./a.pkr.hcl", EntryType::Regular, b"x"),
                ("s/r.sh", EntryType::Regular, b"y"),
            ]),
            &LIMITS,
        )
        .unwrap();
        assert!(!bundle.get("a.pkr.hcl").unwrap().executable);
        assert!(bundle.get("s/r.sh").unwrap().executable);
    }

    #[test]
    fn what_could_do_harm_is_refused_by_name() {
        for (path, kind, word) in [
            ("../up", EntryType::Regular, "leaves"),
            ("/etc/passwd", EntryType::Regular, "absolute"),
            ("a/../../b", EntryType::Regular, "leaves"),
            ("link", EntryType::Symlink, "symbolic link"),
            ("hard", EntryType::Link, "hard link"),
            ("null", EntryType::Char, "device"),
            ("pipe", EntryType::Fifo, "pipe"),
        ] {
            let (code, public) = code(&[(path, kind, b"")]);
            assert!(code == "bundle-refused" && public.contains(word) && public.contains(path), "{path}: {public}");
        }
        let twice: &[(&str, EntryType, &[u8])] = &[("a", EntryType::Regular, b"1"), ("./a", EntryType::Regular, b"2")];
        assert!(code(twice).1.contains("twice"));
    }

    #[test]
    fn limits_hold_before_memory_is_spent() {
        assert_eq!(code(&[("a", EntryType::Regular, &[0; 5000])]).0, "bundle-too-large");
        let many: Vec<(&str, EntryType, &[u8])> =
            ["a", "b", "c", "d"].map(|path| (path, EntryType::Regular, &b"x"[..])).to_vec();
        assert!(code(&many).1.contains("more than 3 files"));
        // 64 MiB of zeros that no tar header announces.
        let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
        let mut header = Header::new_gnu();
        header.set_path("name").unwrap();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(64 << 20);
        header.set_cksum();
        bomb.write_all(header.as_bytes()).unwrap();
        for _ in 0..64 {
            bomb.write_all(&vec![0; 1 << 20]).unwrap();
        }
        assert_eq!(tar_gz(&bomb.finish().unwrap(), &LIMITS).unwrap_err().code, "bundle-too-large");
    }

    #[test]
    fn rubbish_is_unreadable() {
        assert_eq!(tar_gz(b"not gzip", &LIMITS).unwrap_err().code, "bundle-unreadable");
        let whole = archive(&[("a", EntryType::Regular, &[1; 3000])]);
        assert_eq!(tar_gz(&whole[..whole.len() / 2], &LIMITS).unwrap_err().code, "bundle-unreadable");
        assert_eq!(tar_gz(&archive(&[]), &LIMITS).unwrap_err().code, "bundle-unreadable");
    }
}
