//! The `file` provisioner: files of the template to the machine, files of the machine to the run
//! (<https://developer.hashicorp.com/packer/docs/provisioners/file>). A trailing `/` on a source folder means its contents,
//! without it the folder itself is moved; a destination that ends with `/` keeps the source's name.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::{ProvisionContext, ProvisionError, ProvisionOutcome, Provisioner, RunFile};
use crate::communicator::{CommunicatorError, DownloadLimits};
use crate::domain::bundle::{Bundle, BundleFile, normalise, written};
use crate::domain::config::provisioner::{Direction, FileTransfer};

/// Packer writes `content` to a temporary file of its own first, and its mode travels along.
const CONTENT_MODE: u32 = 0o600;

#[async_trait]
impl Provisioner for FileTransfer {
    fn kind(&self) -> &'static str {
        "file"
    }

    async fn provision(&self, context: &ProvisionContext<'_>) -> Result<ProvisionOutcome, ProvisionError> {
        let none = BTreeMap::new();
        let destination = context.render("destination", &self.destination.0, &none)?;
        if destination.is_empty() {
            return Err(ProvisionError::Configuration("the destination is empty".to_owned()));
        }
        let mut sources = Vec::new();
        for source in &self.sources {
            sources.push(context.render("source", &source.0, &none)?);
        }
        match self.direction {
            Direction::Upload => {
                if let Some(content) = &self.content {
                    let text = context.render("content", &content.0, &none)?;
                    upload_content(context, &text, &destination).await?;
                }
                for source in &sources {
                    upload(context, source, &destination).await?;
                }
                Ok(ProvisionOutcome::default())
            }
            Direction::Download => download(context, &sources, &destination).await,
        }
    }
}

async fn upload_content(context: &ProvisionContext<'_>, text: &str, destination: &str) -> Result<(), ProvisionError> {
    if destination.ends_with('/') {
        return Err(ProvisionError::Configuration(format!(
            "content needs the name of a file as its destination; {destination:?} is a folder"
        )));
    }
    (context.say)(&format!("Uploading content => {destination}"));
    Ok(context.machine()?.communicator.upload(destination, text.as_bytes(), CONTENT_MODE, context.cancel).await?)
}

async fn upload(context: &ProvisionContext<'_>, source: &str, destination: &str) -> Result<(), ProvisionError> {
    let folder = bundle_folder(context.bundle, source)?;
    if let Some(file) = context.bundle.get(&folder) {
        if source.ends_with('/') {
            return Err(ProvisionError::Configuration(format!("{source:?} is a file; leave out the trailing /")));
        }
        let to = keep_name(destination, &folder);
        (context.say)(&format!("Uploading {} => {to}", written(source)));
        let mode = if file.executable { 0o755 } else { 0o644 };
        return Ok(context.machine()?.communicator.upload(&to, &file.bytes, mode, context.cancel).await?);
    }
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let files: Vec<(String, &BundleFile)> = context
        .bundle
        .under(&folder)
        .map(|(path, file)| (path.strip_prefix(&prefix).unwrap_or(path).to_owned(), file))
        .collect();
    if files.is_empty() {
        return Err(ProvisionError::Configuration(format!("{source:?} is not among the template's files")));
    }
    // The template's own folder has no name to keep.
    let to = if source.ends_with('/') || folder.is_empty() {
        destination.to_owned()
    } else {
        join(destination, base_name(&folder))
    };
    (context.say)(&format!("Uploading {} => {to}", written(source)));
    Ok(context.machine()?.communicator.upload_directory(&files, &to, context.cancel).await?)
}

async fn download(
    context: &ProvisionContext<'_>,
    sources: &[String],
    destination: &str,
) -> Result<ProvisionOutcome, ProvisionError> {
    let mut files: Vec<RunFile> = Vec::new();
    let mut names = BTreeSet::new();
    let mut left = context.download_limits;
    for source in sources {
        let found = download_one(context, source, destination, left).await?;
        for (name, bytes) in found {
            let name = run_file_name(&name)?;
            if !names.insert(name.clone()) {
                return Err(ProvisionError::Configuration(format!(
                    "two downloads would become the run file {name:?}; end the destination with / to keep their names"
                )));
            }
            left.bytes = left.bytes.saturating_sub(bytes.len() as u64);
            left.files = left.files.saturating_sub(1);
            files.push(RunFile { name, bytes });
        }
    }
    Ok(ProvisionOutcome { files })
}

/// One source's files with their destinations.
async fn download_one(
    context: &ProvisionContext<'_>,
    source: &str,
    destination: &str,
    limits: DownloadLimits,
) -> Result<Vec<(String, Vec<u8>)>, ProvisionError> {
    let contents_only = source.ends_with('/');
    if !contents_only && !context.machine()?.communicator.is_directory(source, context.cancel).await? {
        let to = keep_name(destination, source);
        (context.say)(&format!("Downloading {source} => {to}"));
        if limits.files == 0 {
            let path = source.to_owned();
            let limit = context.download_limits.files;
            return Err(CommunicatorError::TooManyFiles { path, limit }.into());
        }
        let bytes = context.machine()?.communicator.download(source, limits.bytes, context.cancel).await?;
        return Ok(vec![(to, bytes)]);
    }
    let to = if contents_only { destination.to_owned() } else { join(destination, base_name(source)) };
    (context.say)(&format!("Downloading {source} => {to}"));
    let found = context.machine()?.communicator.download_directory(source, limits, context.cancel).await?;
    Ok(found.into_iter().map(|(name, bytes)| (join(&to, &name), bytes)).collect())
}

/// The bundle path of a source; `""` for the template's own folder.
fn bundle_folder(bundle: &Bundle, source: &str) -> Result<String, ProvisionError> {
    let is_own_folder =
        !source.is_empty() && !source.starts_with('/') && source.split('/').all(|part| part.is_empty() || part == ".");
    if is_own_folder {
        return Ok(String::new());
    }
    bundle.locate(source).map_err(|error| ProvisionError::Configuration(format!("the source can't be used: {error}")))
}

/// Downloads become files of the run, whatever place on a disk the template names.
fn run_file_name(destination: &str) -> Result<String, ProvisionError> {
    normalise(destination.trim_start_matches('/'))
        .map_err(|error| ProvisionError::Configuration(format!("the download's destination can't be used: {error}")))
}

fn keep_name(destination: &str, source: &str) -> String {
    if destination.ends_with('/') { join(destination, base_name(source)) } else { destination.to_owned() }
}

fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::test_support::World;

    fn world() -> World {
        let mut world = World::default();
        for (path, executable) in
            [("app/run.sh", true), ("app/etc/a.conf", false), ("notes.txt", false), (".ingot-above/keys/id", false)]
        {
            world.bundle.insert(path, path.as_bytes().to_vec(), executable).unwrap();
        }
        world
    }

    fn transfer(direction: Direction, sources: &[&str], destination: &str) -> FileTransfer {
        let sources = sources.iter().map(|source| (*source).into()).collect();
        FileTransfer { sources, content: None, destination: destination.into(), direction }
    }

    async fn uploads(source: &str, destination: &str) -> String {
        let world = world();
        match transfer(Direction::Upload, &[source], destination).provision(&world.context()).await {
            Ok(_) => world.machine.log(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[tokio::test]
    async fn trailing_slashes_decide_what_is_moved_where() {
        assert_eq!(uploads("notes.txt", "/tmp/n").await, "upload /tmp/n 0644");
        assert_eq!(uploads("./notes.txt", "/tmp/").await, "upload /tmp/notes.txt 0644");
        assert_eq!(uploads("app/run.sh", "/opt/").await, "upload /opt/run.sh 0755");
        assert_eq!(uploads("app", "/opt").await, "upload /opt/app/etc/a.conf 0644\nupload /opt/app/run.sh 0755");
        assert_eq!(uploads("app", "/opt/").await, "upload /opt/app/etc/a.conf 0644\nupload /opt/app/run.sh 0755");
        assert_eq!(uploads("app/", "/opt").await, "upload /opt/etc/a.conf 0644\nupload /opt/run.sh 0755");
        assert_eq!(uploads("app/etc", "/").await, "upload /etc/a.conf 0644");
        assert_eq!(uploads("../keys", "/x").await, "upload /x/keys/id 0644");
        // What is above the template's folder is not in it.
        let all = "upload /x/app/etc/a.conf 0644\nupload /x/app/run.sh 0755\nupload /x/notes.txt 0644";
        assert_eq!((uploads(".", "/x").await.as_str(), uploads("./", "/x").await.as_str()), (all, all));
    }

    #[tokio::test]
    async fn what_is_not_in_the_bundle_is_refused() {
        assert_eq!(uploads("nothing", "/x").await, "error: \"nothing\" is not among the template's files");
        assert!(uploads("/etc/passwd", "/x").await.contains("is absolute"));
        assert!(uploads("../x", "/x").await.contains("leaves the template's folder"));
        assert!(uploads("notes.txt/", "/x").await.contains("is a file"));
        assert_eq!(uploads("notes.txt", "").await, "error: the destination is empty");
    }

    #[tokio::test]
    async fn content_is_written_for_its_owner_only() {
        let world = world();
        let mut file = transfer(Direction::Upload, &[], "/tmp/made");
        file.content = Some("hello\n".into());
        file.provision(&world.context()).await.unwrap();
        assert_eq!(world.machine.state().files["/tmp/made"], (b"hello\n".to_vec(), 0o600));
        file.destination = "/tmp/".into();
        let error = file.provision(&world.context()).await.unwrap_err().to_string();
        assert!(error.contains("content needs the name of a file"), "{error}");
    }

    async fn downloads(sources: &[&str], destination: &str) -> Result<Vec<String>, String> {
        let world = world();
        {
            let mut state = world.machine.state();
            state.folders.push("/var/out".to_owned());
            for path in ["/var/out/a.txt", "/var/out/sub/b.txt", "/etc/os-release"] {
                state.files.insert(path.to_owned(), (path.as_bytes().to_vec(), 0o644));
            }
        }
        let outcome = transfer(Direction::Download, sources, destination).provision(&world.context()).await;
        outcome
            .map(|outcome| outcome.files.into_iter().map(|file| file.name).collect())
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn downloads_become_run_files_with_clean_names() {
        assert_eq!(downloads(&["/etc/os-release"], "os.txt").await.unwrap(), ["os.txt"]);
        assert_eq!(downloads(&["/etc/os-release"], "./out/").await.unwrap(), ["out/os-release"]);
        assert_eq!(downloads(&["/etc/os-release"], "/abs/os").await.unwrap(), ["abs/os"]);
        assert_eq!(downloads(&["/var/out"], "got").await.unwrap(), ["got/out/a.txt", "got/out/sub/b.txt"]);
        assert_eq!(downloads(&["/var/out/"], "got/").await.unwrap(), ["got/a.txt", "got/sub/b.txt"]);
        assert!(downloads(&["/etc/os-release"], "../x").await.unwrap_err().contains("leaves the template's folder"));
        let twice = downloads(&["/etc/os-release", "/var/out/a.txt"], "one").await.unwrap_err();
        assert!(twice.contains("end the destination with /"), "{twice}");
        assert!(downloads(&["/missing"], "x").await.unwrap_err().contains("reading \"/missing\" failed"));
    }

    #[tokio::test]
    async fn downloads_are_limited() {
        let world = world();
        world.machine.state().files.insert("/big".to_owned(), (vec![0; 1001], 0o644));
        let error = transfer(Direction::Download, &["/big"], "b").provision(&world.context()).await.unwrap_err();
        assert_eq!(error.to_string(), "\"/big\" is larger than the limit of 1000 bytes");
    }
}
