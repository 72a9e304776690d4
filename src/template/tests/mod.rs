//! Whole templates: the ones that must evaluate, the complaints that must come, and a corpus where there is one.

mod amazon_ebs;
mod amazon_ebs_rules;
mod blocks;
mod complaints;
mod corpus;
mod functions;
mod inspect;
mod json;
mod language;
mod late;
mod limits;
mod packer;
mod shell_local;
mod templates;
mod unknown;
mod upgrade;

use indexmap::IndexMap;
use uuid::Uuid;

use super::{DataMode, Evaluated, Request, evaluate};
use crate::domain::bundle::Bundle;
use crate::domain::config::data_source::DataResults;
use crate::domain::config::{AmazonEbs, BuildConfig};
use crate::domain::diagnostic::Diagnostic;

/// A request that a test changes to its needs.
#[derive(Default)]
struct Given {
    files: Vec<(String, Vec<u8>)>,
    variables: IndexMap<String, serde_json::Value>,
    var_files: Vec<String>,
    env: IndexMap<String, String>,
    only: Vec<String>,
    except: Vec<String>,
    git_sha: Option<String>,
    data: Option<DataResults>,
}

impl Given {
    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.as_bytes().to_vec()));
        self
    }

    fn hcl(text: &str) -> Self {
        Self::default().file("t.pkr.hcl", text)
    }

    fn var(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn only(mut self, pattern: &str) -> Self {
        self.only.push(pattern.to_owned());
        self
    }

    fn except(mut self, pattern: &str) -> Self {
        self.except.push(pattern.to_owned());
        self
    }

    fn bundle(&self) -> Bundle {
        let mut bundle = Bundle::default();
        for (path, bytes) in &self.files {
            bundle.insert(path, bytes.clone(), false).expect("a test's path is clean");
        }
        bundle
    }

    fn run(&self) -> Result<Evaluated, Vec<Diagnostic>> {
        self.with(evaluate)
    }

    /// Does something with the request.
    fn with<T>(&self, work: impl FnOnce(&Request<'_>) -> T) -> T {
        work(&Request {
            bundle: &self.bundle(),
            variables: &self.variables,
            var_files: &self.var_files,
            env: &self.env,
            default_region: None,
            only: &self.only,
            except: &self.except,
            git_sha: self.git_sha.as_deref(),
            now: "2024-03-05T14:07:09Z".parse().expect("a time"),
            run_id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
            clean_image: true,
            data: self.data.as_ref().map_or(DataMode::Unknown, DataMode::Given),
        })
    }

    fn good(&self) -> Evaluated {
        match self.run() {
            Ok(evaluated) => evaluated,
            Err(complaints) => panic!("it must evaluate:\n{}", lines(&complaints)),
        }
    }

    /// The complaints, a line each.
    fn bad(&self) -> String {
        match self.run() {
            Ok(_) => panic!("it must be refused"),
            Err(complaints) => lines(&complaints),
        }
    }
}

fn lines(complaints: &[Diagnostic]) -> String {
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn ebs(build: &BuildConfig) -> &AmazonEbs {
    build.builder.ebs().expect("an amazon builder")
}

/// A source and build with extra options, for tests of single options.
fn with_options(options: &str) -> Given {
    Given::hcl(&format!(
        "source \"amazon-ebs\" \"a\" {{\n  ami_name = \"abc\"\n  region = \"us-east-1\"\n  instance_type = \"t3.micro\"\n  \
         source_ami = \"ami-1\"\n  ssh_username = \"u\"\n{options}\n}}\nbuild {{\n  sources = [\"amazon-ebs.a\"]\n}}\n"
    ))
}
