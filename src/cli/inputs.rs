//! What `build` and `validate` are given: a template's path and its variables. Packer's precedence holds: `PKR_VAR_…` of
//! the environment, then variable files, then `-var`; of equals the later one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use indexmap::IndexMap;

use super::complaint::{Complaint, Sources};
use super::error::{CliError, CliResult};
use super::git;
use super::mentions;
use super::pack::{self, Packed};
use crate::domain::bundle::{Bundle, BundleFile, written};
use crate::domain::clock::Clock;
use crate::domain::diagnostic::Diagnostic;
use crate::template::{self, DataMode, Evaluated, Request};

/// The prefix of variables in the environment.
const ENV_PREFIX: &str = "PKR_VAR_";
/// Where variable files from elsewhere stand in the bundle of a local evaluation.
const OUTSIDE: &str = ".ingot-var-files";

/// The template and its variables, spelled as Packer does.
#[derive(Debug, Clone, Default, Args)]
pub struct TemplateArgs {
    /// The template's folder (all its files are used, but .git), a single template file with the files it mentions, or - for
    /// standard input.
    pub path: PathBuf,
    #[command(flatten)]
    pub given: GivenArgs,
}

/// What a template is given.
#[derive(Debug, Clone, Default, Args)]
pub struct GivenArgs {
    /// A variable's value; may be repeated. Variables are also taken from the environment, as `PKR_VAR_NAME`.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = assignment, allow_hyphen_values = true)]
    pub vars: Vec<(String, String)>,
    /// A file of variables (.pkrvars.hcl or .json); may be repeated, later ones win.
    #[arg(long = "var-file", value_name = "FILE")]
    pub var_files: Vec<PathBuf>,
    /// Only the builds whose names match; comma-separated, `*` as wildcard.
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with = "except")]
    pub only: Vec<String>,
    /// All builds (and post-processors) but those whose names match; comma-separated, `*` as wildcard.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub except: Vec<String>,
    /// A variable of the run's environment, for the template's `env()`; without a value it is taken from this environment.
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// The commit that the template is of; by default what git says of its folder, with -dirty when it was changed.
    #[arg(long, value_name = "SHA")]
    pub git_sha: Option<String>,
    /// The language of a template on standard input; by default what it looks like.
    #[arg(long, value_name = "hcl2|json")]
    pub config_type: Option<ConfigType>,
}

impl GivenArgs {
    /// Refuses `-only` and `-except`, for commands that look at the whole template.
    ///
    /// # Errors
    /// When one of them is given.
    pub fn refuse_selection(&self, command: &str) -> CliResult<()> {
        if self.only.is_empty() && self.except.is_empty() {
            return Ok(());
        }
        Err(CliError::Usage(format!("{command} looks at the whole template: leave -only and -except out")))
    }
}

/// The language of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ConfigType {
    Hcl2,
    Json,
}

/// A template read from disk with its variables, before any of it is looked at.
#[derive(Debug)]
pub struct Inputs {
    pub packed: Packed,
    /// Of `-var`.
    pub variables: IndexMap<String, String>,
    /// `-var-file`s in their order.
    pub var_files: Vec<VarFile>,
    /// The run's environment.
    pub environment: IndexMap<String, String>,
}

/// A template looked at on this machine; mostly evaluated.
#[derive(Debug)]
pub struct Checked<T = Result<Evaluated, Vec<Diagnostic>>> {
    pub outcome: T,
    /// For quoting, with the variable files from elsewhere.
    pub sources: Sources,
    /// Under which paths the variable files from elsewhere were known, and what the user calls them.
    names: BTreeMap<String, String>,
}

/// Where a variable file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VarFile {
    /// In the bundle.
    Inside(String),
    /// Elsewhere on this machine.
    Outside { path: PathBuf, text: String },
}

impl TemplateArgs {
    /// Reads the template and the variable files.
    ///
    /// # Errors
    /// When something can't be read.
    pub fn read(&self, own: impl Iterator<Item = (OsString, OsString)>) -> CliResult<Inputs> {
        let here = Path::new(".");
        let own: Vec<_> = own.collect();
        let values = self.given.values(&own);
        let packed = if self.path == Path::new("-") {
            let hcl = self.given.config_type.map(|language| language == ConfigType::Hcl2);
            pack::read_stdin(std::io::stdin().lock(), hcl, here, &values)?
        } else {
            pack::read(&self.path, here, &values)?
        };
        self.given.inputs(packed, own.into_iter())
    }

    /// The commit given, else git's.
    #[must_use]
    pub fn commit(&self, inputs: &Inputs) -> Option<String> {
        self.given.git_sha.clone().or_else(|| git::head(&inputs.packed.root))
    }
}

impl GivenArgs {
    /// Evaluates the template here, as the server would.
    ///
    /// # Errors
    /// When the variable files can't stand beside the template's.
    pub fn check(&self, inputs: &Inputs, git_sha: Option<&str>, clock: &dyn Clock) -> CliResult<Checked> {
        self.look(inputs, git_sha, clock, template::evaluate)
    }

    /// Looks at the template as a run of it would be seen.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn look<T>(
        &self,
        inputs: &Inputs,
        git_sha: Option<&str>,
        clock: &dyn Clock,
        work: impl FnOnce(&Request<'_>) -> T,
    ) -> CliResult<Checked<T>> {
        let (bundle, var_files, names) = inputs.with_all_var_files()?;
        let variables = inputs.variables.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        let outcome = work(&Request {
            bundle: &bundle,
            variables: &variables,
            var_files: &var_files,
            env: &inputs.environment,
            default_region: None,
            only: &self.only,
            except: &self.except,
            git_sha,
            now: clock.now(),
            run_id: uuid::Uuid::nil(),
            clean_image: true,
            // The server asks them; here their attributes are unknown, as with `packer validate`.
            data: DataMode::Unknown,
        });
        let mut sources = inputs.sources();
        for file in &inputs.var_files {
            if let VarFile::Outside { path, text } = file {
                sources.insert(path.display().to_string(), text.clone());
            }
        }
        Ok(Checked { outcome, sources, names })
    }

    /// Texts with the values that variables are given, which may be paths. What can't be read is met again later.
    fn values(&self, own: &[(OsString, OsString)]) -> Vec<String> {
        let own = own.iter().filter_map(|(name, value)| name.to_str()?.strip_prefix(ENV_PREFIX).and(value.to_str()));
        let files = self.var_files.iter().filter_map(|path| std::fs::read_to_string(path).ok());
        let given = self.vars.iter().map(|(_, value)| value.clone());
        own.map(str::to_owned).chain(files).chain(given).collect()
    }

    /// A template with what it is given; `own` is this process's environment.
    ///
    /// # Errors
    /// When a variable file can't be read, or `--env` names what is not there.
    pub fn inputs(&self, packed: Packed, own: impl Iterator<Item = (OsString, OsString)>) -> CliResult<Inputs> {
        let own: BTreeMap<String, String> =
            own.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect();
        let environment = self.environment(&own, &packed)?;
        let var_files = self.var_files.iter().map(|path| var_file(path, &packed)).collect::<CliResult<_>>()?;
        Ok(Inputs { packed, variables: self.vars.iter().cloned().collect(), var_files, environment })
    }

    /// The run's environment: `PKR_VAR_…`, what the template asks for by `env()`, and what `--env` names.
    ///
    /// # Errors
    /// When `--env` names what is not there.
    pub fn environment(&self, own: &BTreeMap<String, String>, packed: &Packed) -> CliResult<IndexMap<String, String>> {
        let is_region = |name: &str| matches!(name, "AWS_REGION" | "AWS_DEFAULT_REGION");
        let is_variable = |name: &str| name.len() > ENV_PREFIX.len() && name.starts_with(ENV_PREFIX) || is_region(name);
        let mut environment: IndexMap<String, String> = own
            .iter()
            .filter(|(name, _)| is_variable(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        for name in packed.templates().flat_map(mentions::environment) {
            if let Some(value) = own.get(name) {
                environment.insert(name.to_owned(), value.clone());
            }
        }
        for text in &self.env {
            let (name, value) = environment_variable(text, |name| own.get(name).cloned())?;
            environment.insert(name, value);
        }
        Ok(environment)
    }
}

impl<T> Checked<T> {
    /// Complaints with the names that the user knows the files by.
    #[must_use]
    pub fn complaints(&self, diagnostics: &[Diagnostic]) -> Vec<Complaint> {
        renamed(diagnostics, |file| self.names.get(file).cloned().unwrap_or_else(|| shown(file)))
    }
}

impl Inputs {
    /// The texts of the template's files, for quoting.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let is_template = |path: &str| [".hcl", ".json"].iter().any(|end| path.ends_with(end));
        let files = self
            .packed
            .bundle
            .iter()
            .filter(|(path, _)| is_template(path) || self.packed.single.as_deref() == Some(*path));
        let text = |(path, file): (&str, &BundleFile)| (shown(path), String::from_utf8_lossy(&file.bytes).into_owned());
        files.map(text).collect()
    }

    /// Whether a variable file lies outside what is sent.
    #[must_use]
    pub fn has_outside_var_file(&self) -> bool {
        self.var_files.iter().any(|file| matches!(file, VarFile::Outside { .. }))
    }

    /// The bundle with the variable files from elsewhere in it, all variable files' paths there, and the user's names of
    /// those from elsewhere.
    fn with_all_var_files(&self) -> CliResult<(Bundle, Vec<String>, BTreeMap<String, String>)> {
        let mut bundle = self.packed.bundle.clone();
        let mut paths = Vec::new();
        let mut names = BTreeMap::new();
        for (index, file) in self.var_files.iter().enumerate() {
            match file {
                VarFile::Inside(path) => paths.push(path.clone()),
                VarFile::Outside { path, text } => {
                    // Its name stays: what it ends in says its language.
                    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("file.pkrvars.hcl");
                    let inside = format!("{OUTSIDE}/{index}/{name}");
                    let inserted = bundle.insert(&inside, text.clone().into_bytes(), false);
                    inserted.map_err(|error| CliError::Local(format!("{}: {error}", path.display())))?;
                    names.insert(inside.clone(), path.display().to_string());
                    paths.push(inside);
                }
            }
        }
        Ok((bundle, paths, names))
    }
}

/// Complaints about files of the bundle, with the names that the user knows them by.
#[must_use]
pub fn complaints(diagnostics: &[Diagnostic]) -> Vec<Complaint> {
    renamed(diagnostics, shown)
}

fn renamed(diagnostics: &[Diagnostic], name: impl Fn(&str) -> String) -> Vec<Complaint> {
    let complaints = diagnostics.iter().map(Complaint::from);
    complaints.map(|complaint| Complaint { file: complaint.file.as_deref().map(&name), ..complaint }).collect()
}

/// What a person calls a file of the bundle.
#[must_use]
pub fn shown(path: &str) -> String {
    if matches!(path, pack::STDIN_HCL | pack::STDIN_JSON) { "<stdin>".to_owned() } else { written(path) }
}

/// `NAME=VALUE` of the command line.
///
/// # Errors
/// When there is no `=` or no name.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form NAME=VALUE")),
    }
}

/// `--env`: `NAME=VALUE`, or `NAME` alone with its value in our own environment.
///
/// # Errors
/// When it has no name, or our own environment has no such variable.
pub fn environment_variable(text: &str, own: impl Fn(&str) -> Option<String>) -> CliResult<(String, String)> {
    match assignment(text) {
        Ok(pair) => Ok(pair),
        Err(complaint) if text.contains('=') => Err(CliError::Usage(format!("--env {complaint}"))),
        Err(_) => own(text).map(|value| (text.to_owned(), value)).ok_or_else(|| {
            CliError::Usage(format!("--env {text}: this environment has no such variable (as UTF-8 text)"))
        }),
    }
}

fn var_file(path: &Path, packed: &Packed) -> CliResult<VarFile> {
    let real = std::fs::canonicalize(path).map_err(|error| CliError::file(path, error))?;
    let root = std::fs::canonicalize(&packed.root).map_err(|error| CliError::file(&packed.root, error))?;
    if let Some(inside) = real.strip_prefix(&root).ok().and_then(Path::to_str)
        && packed.bundle.get(inside).is_some()
    {
        return Ok(VarFile::Inside(inside.to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| CliError::file(path, error))?;
    Ok(VarFile::Outside { path: path.to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn assignments_split_at_the_first_equals_sign() {
        assert_eq!(assignment("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(assignment("a=").unwrap(), ("a".into(), String::new()));
        assert!(assignment("a").is_err() && assignment("=b").is_err());
    }

    fn args(path: PathBuf) -> TemplateArgs {
        TemplateArgs { path, given: GivenArgs::default() }
    }

    #[test]
    fn the_environment_is_packers_variables_and_what_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.pkr.hcl"), "variable \"x\" { default = env(\"ASKED_FOR\") }").unwrap();
        let own = [
            ("ASKED_FOR", "by the template"),
            ("PKR_VAR_b", "2"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("PKR_VAR_", "x"),
            ("PKR_VAR_a", "1"),
            ("CI_JOB", "7"),
        ];
        let mut args = args(dir.path().into());
        args.given.env = vec!["CI_JOB".into(), "STAGE=dev=1".into()];
        let found = args.read(environment(&own)).unwrap().environment;
        let expected = [
            ("PKR_VAR_a", "1"),
            ("PKR_VAR_b", "2"),
            ("ASKED_FOR", "by the template"),
            ("CI_JOB", "7"),
            ("STAGE", "dev=1"),
        ];
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );

        args.given.env = vec!["NOT_THERE".into()];
        assert!(args.read(environment(&own)).unwrap_err().to_string().contains("NOT_THERE"));
    }

    #[test]
    fn variable_files_are_known_to_be_inside_or_outside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("web");
        std::fs::create_dir_all(root.join("env")).unwrap();
        std::fs::write(root.join("web.pkr.hcl"), "").unwrap();
        std::fs::write(root.join("env/prod.pkrvars.hcl"), "a = 1").unwrap();
        std::fs::write(dir.path().join("secret.pkrvars.hcl"), "b = 2").unwrap();
        let mut args = args(root.clone());
        args.given.vars = vec![("a".into(), "1".into()), ("a".into(), "2".into())];
        args.given.var_files = vec![root.join("env/../env/prod.pkrvars.hcl"), dir.path().join("secret.pkrvars.hcl")];
        let inputs = args.read(environment(&[])).unwrap();
        assert_eq!(inputs.variables["a"], "2", "the later -var wins");
        assert_eq!(inputs.var_files[0], VarFile::Inside("env/prod.pkrvars.hcl".into()));
        assert!(matches!(&inputs.var_files[1], VarFile::Outside { text, .. } if text == "b = 2"));
        assert!(inputs.sources().contains_key("env/prod.pkrvars.hcl"));

        args.path = root.join("web.pkr.hcl");
        let alone = args.read(environment(&[])).unwrap();
        assert!(matches!(alone.var_files[0], VarFile::Outside { .. }), "a single file goes without what is beside it");
    }
}
