//! A template's folder or file as it goes to the server: read into a [`Bundle`], then one tar.gz in memory.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::error::{CliError, CliResult};
use super::mentions;
use crate::domain::bundle::{self, Bundle};

/// A folder with more than this is not a template's folder, but somebody's home (bytes and number of files).
const MAX_BYTES: u64 = 1024 * 1024 * 1024;
const MAX_FILES: usize = 100_000;
/// Folders in folders.
const MAX_DEPTH: usize = 64;

/// What was found at a template's path.
#[derive(Debug)]
pub struct Packed {
    pub bundle: Bundle,
    /// The folder that the bundle's paths are relative to.
    pub root: PathBuf,
    /// The file's name when the path was a single file.
    pub single: Option<String>,
}

/// Reads a folder (all files in it but `.git`) or a single file with what it mentions. Paths that the template gives
/// relative to `here`, the working folder, as Packer takes them, come along under those paths, and so does what is above
/// the template's folder. `values` are texts of what variables are given: they may be paths, too.
///
/// # Errors
/// When something can't be read, is no file or folder, or can't be in a bundle.
pub fn read(path: &Path, here: &Path, values: &[String]) -> CliResult<Packed> {
    let meta = fs::metadata(path).map_err(|error| CliError::file(path, error))?;
    let mut reader = Reader::default();
    if meta.is_dir() {
        reader.folder(path, "")?;
        if reader.bundle.is_empty() {
            return Err(CliError::Local(format!("{}: the folder holds no files", path.display())));
        }
        let texts = reader.texts();
        for texts in [texts.as_slice(), values] {
            reader.mentioned(texts, path, Beside::Above)?;
            reader.mentioned(texts, here, Beside::Elsewhere)?;
        }
        return Ok(Packed { bundle: reader.bundle, root: path.to_owned(), single: None });
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| CliError::Local(format!("{}: the file's name is not UTF-8 text", path.display())))?;
    reader.file(path, name, &meta)?;
    let root = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if is_template(name) {
        let texts = reader.texts();
        reader.mentioned(&texts, root, Beside::Template)?;
        reader.mentioned(&texts, here, Beside::Elsewhere)?;
        reader.mentioned(values, root, Beside::Elsewhere)?;
        reader.mentioned(values, here, Beside::Elsewhere)?;
    }
    Ok(Packed { bundle: reader.bundle, root: root.to_owned(), single: Some(name.to_owned()) })
}

/// A template from standard input, and what it mentions of the working folder.
///
/// # Errors
/// When it is no UTF-8 text, or something it mentions can't be read.
pub fn read_stdin(mut input: impl io::Read, hcl: Option<bool>, here: &Path, values: &[String]) -> CliResult<Packed> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(|error| CliError::file("-", error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::Local("the template on standard input is not UTF-8 text".to_owned()))?;
    let hcl = hcl.unwrap_or_else(|| !text.trim_start_matches('\u{feff}').trim_start().starts_with('{'));
    let name = if hcl { STDIN_HCL } else { STDIN_JSON };
    let mut reader = Reader::default();
    reader.insert(name, text.into_bytes(), false, Path::new("-"))?;
    reader.mentioned(&reader.texts(), here, Beside::Template)?;
    reader.mentioned(values, here, Beside::Elsewhere)?;
    Ok(Packed { bundle: reader.bundle, root: here.to_owned(), single: Some(name.to_owned()) })
}

/// The path in its bundle of a template from standard input.
pub const STDIN_HCL: &str = "stdin.pkr.hcl";
/// As [`STDIN_HCL`], in JSON.
pub const STDIN_JSON: &str = "stdin.json";

/// Whether a file is found as a template when others lie beside it.
fn is_template(name: &str) -> bool {
    [".hcl", ".json"].iter().any(|end| name.ends_with(end))
}

/// Where a mentioned path is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Beside the template.
    Template,
    /// Above the template's folder, which is there as a whole.
    Above,
    /// In the working folder, or by a variable's value: a single word is not taken for a path.
    Elsewhere,
}

/// The bundle as tar.gz. The same bundle gives the same bytes: no owner, no time stamps, sorted paths.
///
/// # Errors
/// When a path is too long for tar.
pub fn tar_gz(bundle: &Bundle) -> CliResult<Vec<u8>> {
    let pack = || -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, file) in bundle.iter() {
            let mut header = tar::Header::new_gnu();
            header.set_size(file.bytes.len() as u64);
            header.set_mode(if file.executable { 0o755 } else { 0o644 });
            header.set_mtime(0);
            archive.append_data(&mut header, path, file.bytes.as_slice())?;
        }
        let mut gzip = archive.into_inner()?;
        gzip.flush()?;
        gzip.finish()
    };
    pack().map_err(|error| CliError::Local(format!("the template's files can't be packed: {error}")))
}

/// What comes from above the template's folder, file or folder: `../shared`.
#[must_use]
pub fn above(bundle: &Bundle) -> BTreeSet<String> {
    let top = |(key, _): (&str, _)| {
        let (levels, rest) = bundle::split_above(key);
        let name = rest.split('/').next().unwrap_or_default();
        (levels > 0).then(|| format!("{}{name}", "../".repeat(levels)))
    };
    bundle.iter().filter_map(top).collect()
}

/// `12 files, 34 kB`.
#[must_use]
pub fn size_report(bundle: &Bundle) -> String {
    let files = bundle.len();
    format!("{files} file{}, {}", if files == 1 { "" } else { "s" }, human_bytes(bundle.total_bytes() as u64))
}

/// Decimal units, as people count them: `999 B`, `1.2 kB`, `34 MB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    for unit in ["kB", "MB", "GB"] {
        if tenths < 100 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        if tenths < 10_000 {
            return format!("{} {unit}", tenths / 10);
        }
        tenths /= 1000;
    }
    format!("{} TB", tenths / 10)
}

#[derive(Default)]
struct Reader {
    bundle: Bundle,
    bytes: u64,
    /// Real paths of the folders we are within, against links that lead back up.
    open: Vec<PathBuf>,
}

impl Packed {
    /// The texts of the files that the template may consist of.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        templates(&self.bundle)
    }
}

fn templates(bundle: &Bundle) -> impl Iterator<Item = &str> {
    let root = bundle.iter().filter(|(path, _)| !path.contains('/') && is_template(path));
    root.filter_map(|(_, file)| std::str::from_utf8(&file.bytes).ok())
}

impl Reader {
    /// Those of the templates.
    fn texts(&self) -> Vec<String> {
        templates(&self.bundle).map(str::to_owned).collect()
    }

    /// Adds files and folders that the texts mention.
    fn mentioned(&mut self, texts: &[String], folder: &Path, beside: Beside) -> CliResult<()> {
        // What can't be listed has nothing to add.
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        let names: BTreeSet<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let before: BTreeSet<String> = self.bundle.iter().map(|(path, _)| path.to_owned()).collect();
        let was_there = |path: &str| {
            let below = format!("{path}/");
            before.contains(path) || before.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
        };
        let mut seen = BTreeSet::new();
        for path in texts.iter().flat_map(|text| mentions::paths(text)) {
            let first = path.split('/').next().unwrap_or_default();
            let is_above = first == "..";
            let is_word = !path.contains(['/', '.']);
            if !(is_above || beside != Beside::Above && names.contains(first)) {
                continue;
            }
            if path.split('/').any(|part| part == ".git") || (is_word && beside == Beside::Elsewhere) {
                continue;
            }
            let Ok(key) = bundle::key(path) else { continue };
            if was_there(&key) || is_another_template(&key) || !seen.insert(path) {
                continue;
            }
            let real = folder.join(path);
            let Ok(meta) = fs::metadata(&real) else { continue };
            if meta.is_dir() { self.folder(&real, &key)? } else { self.file(&real, &key, &meta)? }
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, inside: &str) -> CliResult<()> {
        let real = fs::canonicalize(folder).map_err(|error| CliError::file(folder, error))?;
        if self.open.contains(&real) || self.open.len() >= MAX_DEPTH {
            return Err(CliError::Local(format!(
                "{}: a symbolic link leads back to a folder above it",
                folder.display()
            )));
        }
        self.open.push(real);
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.map_err(|error| CliError::file(folder, error))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            if name == ".git" {
                continue;
            }
            let name = name
                .to_str()
                .ok_or_else(|| CliError::Local(format!("{}: the file's name is not UTF-8 text", path.display())))?;
            let inside = if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
            let meta = fs::metadata(&path).map_err(|error| CliError::file(&path, error))?;
            if meta.is_dir() {
                self.folder(&path, &inside)?;
            } else {
                self.file(&path, &inside, &meta)?;
            }
        }
        self.open.pop();
        Ok(())
    }

    fn file(&mut self, path: &Path, inside: &str, meta: &fs::Metadata) -> CliResult<()> {
        if !meta.is_file() {
            return Err(CliError::Local(format!("{}: neither a file nor a folder", path.display())));
        }
        if self.bundle.get(inside).is_some() {
            // A folder was mentioned after a file in it.
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(meta.len());
        if self.bytes > MAX_BYTES || self.bundle.len() >= MAX_FILES {
            return Err(CliError::Local(format!(
                "the folder holds more than {} or {MAX_FILES} files; name the template's own folder",
                human_bytes(MAX_BYTES)
            )));
        }
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(|error| CliError::file(path, error))?;
        self.insert(inside, bytes, is_executable(meta), path)
    }

    fn insert(&mut self, inside: &str, bytes: Vec<u8>, executable: bool, path: &Path) -> CliResult<()> {
        let inserted = self.bundle.insert(inside, bytes, executable);
        inserted.map_err(|error| CliError::Local(format!("{}: can't be sent: {error}", path.display())))
    }
}

/// Files of the template's folder that Packer would read of itself: they are no part of a template named alone.
fn is_another_template(path: &str) -> bool {
    const ENDINGS: [&str; 4] = [".pkr.hcl", ".pkr.json", ".auto.pkrvars.hcl", ".auto.pkrvars.json"];
    !path.contains('/') && ENDINGS.iter().any(|end| path.ends_with(end))
}

fn is_executable(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o111 != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn template() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("web.pkr.hcl", "source {}");
        write("scripts/setup.sh", "#!/bin/sh");
        write(".git/config", "secret");
        write("vendor/.git", "gitdir: elsewhere");
        write("vendor/lib", "lib");
        fs::set_permissions(dir.path().join("scripts/setup.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        dir
    }

    #[test]
    fn a_folder_goes_without_git_and_comes_out_the_same() {
        let dir = template();
        symlink("scripts", dir.path().join("linked")).unwrap();
        let packed = read(dir.path(), dir.path(), &[]).unwrap();
        let paths: Vec<_> = packed.bundle.iter().map(|(path, file)| (path.to_owned(), file.executable)).collect();
        let expected =
            [("linked/setup.sh", true), ("scripts/setup.sh", true), ("vendor/lib", false), ("web.pkr.hcl", false)];
        assert_eq!(paths, expected.map(|(path, executable)| (path.to_owned(), executable)));

        let bytes = tar_gz(&packed.bundle).unwrap();
        assert_eq!(
            bytes,
            tar_gz(&read(dir.path(), dir.path(), &[]).unwrap().bundle).unwrap(),
            "the same folder gives the same bytes"
        );
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let mut again = Bundle::default();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let executable = entry.header().mode().unwrap() & 0o100 != 0;
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            again.insert(&path, content, executable).unwrap();
        }
        assert_eq!(again, packed.bundle);
    }

    #[test]
    fn paths_longer_than_tars_field_survive() {
        let path = format!("{}/file", "long-folder-name/".repeat(12).trim_end_matches('/'));
        let bytes = tar_gz(&Bundle::single(&path, b"x".to_vec()).unwrap()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str().unwrap(), path);
    }

    #[test]
    fn a_file_goes_with_what_it_mentions() {
        let dir = template();
        let alone = read(&dir.path().join("web.pkr.hcl"), dir.path(), &[]).unwrap();
        assert_eq!(alone.single.as_deref(), Some("web.pkr.hcl"));
        assert_eq!(alone.root, dir.path());
        assert_eq!(size_report(&alone.bundle), "1 file, 9 B");

        let text =
            "a = \"scripts/setup.sh\"\nb = \"${path.root}/vendor\"\nc = [\"other.pkr.hcl\", \".git/config\", \"../x\"]";
        fs::write(dir.path().join("web.pkr.hcl"), text).unwrap();
        fs::write(dir.path().join("other.pkr.hcl"), "not this one").unwrap();
        let packed = read(&dir.path().join("web.pkr.hcl"), dir.path(), &[]).unwrap();
        let paths: Vec<&str> = packed.bundle.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["scripts/setup.sh", "vendor/lib", "web.pkr.hcl"]);
        assert!(packed.bundle.get("scripts/setup.sh").unwrap().executable);
    }

    #[test]
    fn a_path_may_be_relative_to_the_working_folder() {
        let dir = template();
        let web = dir.path().join("packer");
        fs::create_dir(&web).unwrap();
        fs::write(web.join("web.pkr.hcl"), "a = \"scripts/setup.sh\"\nb = \"vendor\"").unwrap();
        for path in [web.clone(), web.join("web.pkr.hcl")] {
            let packed = read(&path, dir.path(), &[]).unwrap();
            let paths: Vec<&str> = packed.bundle.iter().map(|(path, _)| path).collect();
            assert_eq!(paths, ["scripts/setup.sh", "web.pkr.hcl"], "a word alone is no path of elsewhere");
        }
        fs::create_dir(web.join("scripts")).unwrap();
        fs::write(web.join("scripts/setup.sh"), "its own").unwrap();
        let packed = read(&web, dir.path(), &[]).unwrap();
        assert_eq!(packed.bundle.get("scripts/setup.sh").unwrap().bytes, b"its own");
    }

    #[test]
    fn what_is_named_above_the_folder_comes_along() {
        let dir = template();
        let web = dir.path().join("packer/web");
        fs::create_dir_all(&web).unwrap();
        let text = "a = \"../../scripts/setup.sh\"\nb = \"${path.root}/../../vendor/${var.x}\"\nc = [\"../..\", \"../../.git/config\"]";
        fs::write(web.join("web.pkr.hcl"), text).unwrap();
        fs::write(dir.path().join("other.txt"), "").unwrap();
        fs::create_dir(web.join("prod")).unwrap();
        fs::write(web.join("prod/x"), "").unwrap();
        for path in [web.clone(), web.join("web.pkr.hcl")] {
            // Of a folder all comes along; of a file what is named, and a value that is a word names nothing.
            let path_is_file = path.is_file();
            let packed = read(&path, dir.path(), &["../../other.txt".to_owned(), "prod".to_owned()]).unwrap();
            let paths = packed.bundle.iter().map(|(path, _)| bundle::written(path));
            let paths: Vec<String> = paths.filter(|path| path != "prod/x" || path_is_file).collect();
            assert_eq!(paths, ["../../other.txt", "../../scripts/setup.sh", "../../vendor/lib", "web.pkr.hcl"]);
            assert!(packed.bundle.resolve("../../scripts/setup.sh").unwrap().unwrap().1.executable);
            let above: Vec<String> = above(&packed.bundle).into_iter().collect();
            assert_eq!(above, ["../../other.txt", "../../scripts", "../../vendor"]);
        }
        // As Packer has it: relative to the working folder.
        fs::write(web.join("web.pkr.hcl"), "a = \"../scripts/setup.sh\"").unwrap();
        let packed = read(&web, &dir.path().join("vendor"), &[]).unwrap();
        assert!(packed.bundle.resolve("../scripts/setup.sh").unwrap().is_some());
    }

    #[test]
    fn standard_input_tells_its_language_by_its_first_character() {
        let dir = template();
        let name = |text: &str, hcl| read_stdin(text.as_bytes(), hcl, dir.path(), &[]).unwrap().single.unwrap();
        assert_eq!(name(" {\"builders\": []}", None), STDIN_JSON);
        assert_eq!(name("source {}", None), STDIN_HCL);
        assert_eq!(name("{}", Some(true)), STDIN_HCL);
        let packed = read_stdin("a = \"scripts/setup.sh\"".as_bytes(), None, dir.path(), &[]).unwrap();
        assert!(packed.bundle.get("scripts/setup.sh").is_some());
        assert!(read_stdin(&[0xff_u8][..], None, dir.path(), &[]).is_err());
    }

    #[test]
    fn what_can_not_be_sent_is_named() {
        let dir = template();
        symlink("..", dir.path().join("scripts/up")).unwrap();
        assert!(
            read(dir.path(), dir.path(), &[])
                .unwrap_err()
                .to_string()
                .contains("scripts/up: a symbolic link leads back")
        );
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path(), empty.path(), &[]).unwrap_err().to_string().contains("no files"));
        let missing = read(&empty.path().join("x"), empty.path(), &[]).unwrap_err().to_string();
        assert!(missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn sizes_for_people() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (12_345, "12 kB"),
            (1_500_000, "1.5 MB"),
            (1 << 30, "1.0 GB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_bytes(bytes), text);
        }
        assert_eq!(human_bytes(999_999), "999 kB");
    }
}
