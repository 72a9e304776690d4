//! `ingot build`: sends a template, follows its run, tells what came of it.

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::{Client, new_idempotency_key};
use super::complaint::{Complaint, Sources};
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::follow::{Ending, Following, follow};
use super::inputs::{Inputs, TemplateArgs, assignment};
use super::pack;
use super::request::{form, template_fields, told};
use super::runs::how_to_follow;
use super::screen::{Look, Screen};
use super::summary;
use super::voice::{Voice, VoiceArgs};
use super::wire::{Image, Run};
use super::{Context, given, interrupts, object, typed};
use crate::domain::clock::Clock;

#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    pub template: TemplateArgs,
    /// The account to build in.
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// The template's name on the server; by default its folder's or file's name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The line of images that this run's image belongs to; by default `bucket_name` of the
    /// template's `hcp_packer_registry`, else the template's name.
    #[arg(long, value_name = "NAME")]
    pub family: Option<String>,
    /// How long each build may take, such as 2h or 90m.
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// What happens when a step fails: cleanup, abort (leave everything in place for a while), ask (hold and wait for
    /// `ingot resume`) or run-cleanup-provisioner (as abort, after the template's error-cleanup-provisioner).
    #[arg(long, value_name = "WHAT")]
    pub on_error: Option<String>,
    /// Hold before each wave of steps until `ingot resume BUILD continue`.
    #[arg(long)]
    pub debug: bool,
    /// How long a build holds at one place, and things stay in place after an abort; by default 1h.
    #[arg(long, value_name = "DURATION")]
    pub hold_limit: Option<String>,
    /// How long each step may take.
    #[arg(long, value_name = "DURATION")]
    pub step_timeout: Option<String>,
    /// Images of the account that have a new image's name go before it is made, as with `force_deregister`.
    #[arg(long)]
    pub force: bool,
    /// How many of the run's builds go in parallel; 0: as many as the servers take.
    #[arg(long, value_name = "N")]
    pub parallel_builds: Option<u32>,
    /// Tell of values in variable files that the template declares no variable for.
    #[arg(long)]
    pub warn_on_undeclared_var: bool,
    /// From -100 to 100; runs with a higher one are built first.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,
    /// A label of the run; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = assignment)]
    pub labels: Vec<(String, String)>,
    /// Leave keys, logs and machine identity in the image.
    #[arg(long)]
    pub no_clean: bool,
    /// Whether a run that makes the same will do: join (one in progress), reuse (that, or one that has succeeded not long
    /// ago) or never.
    #[arg(long, value_name = "MODE", value_parser = ["join", "reuse", "never"])]
    pub dedupe: Option<String>,
    /// With --dedupe reuse: how old that run may be, such as 12h; a week when left out.
    #[arg(long, value_name = "DURATION", requires = "dedupe")]
    pub max_age: Option<String>,
    /// Only start the run; follow it later with `ingot logs -f`.
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub voice: VoiceArgs,
    /// Put the time before each line.
    #[arg(long)]
    pub timestamp_ui: bool,
}

impl BuildArgs {
    pub(super) async fn run(&self, context: &Context, voice: &Voice, sources: &mut Sources) -> CliResult<Exit> {
        let client = context.client()?;
        let inputs = self.template.read(std::env::vars_os())?;
        *sources = inputs.sources();
        let git_sha = self.template.commit(&inputs);
        let request = self.request(&inputs, git_sha.as_deref(), &*context.clock, sources)?;
        let bundle = pack::tar_gz(&inputs.packed.bundle)?;

        let mut screen = self.screen(context, voice)?;
        let template = inputs.packed.single.as_deref().unwrap_or("the template's folder").to_owned();
        let sent: Vec<String> = std::iter::once(template).chain(pack::above(&inputs.packed.bundle)).collect();
        screen.say(&format!(
            "Sending {} to {} ({}, {} packed)",
            sent.join(", "),
            client.server(),
            pack::size_report(&inputs.packed.bundle),
            pack::human_bytes(bundle.len() as u64)
        ))?;
        let key = new_idempotency_key();
        let answer: Value = client
            .post_form(&["runs"], &[], || form(&request, &bundle), &key)
            .await
            .map_err(|error| told(error, &inputs))?;
        let run: Run = typed(&client, &answer)?;
        let warnings = self.warnings(&run);
        if !warnings.is_empty() {
            voice.complain(&warnings, sources, None)?;
        }
        if let Some(dedupe) = &run.dedupe {
            screen.say(&dedupe.reason)?;
        }
        screen.say(&started(&run))?;
        if self.detach {
            screen.say(&how_to_follow(&run.id))?;
            if context.json() {
                context.print_json(&answer)?;
            }
            return Ok(Exit::Success);
        }
        screen.say("")?;
        self.follow(context, &client, &run, &mut screen).await
    }

    fn screen(&self, context: &Context, voice: &Voice) -> CliResult<Screen> {
        if context.json() && voice.is_machine() {
            return Err(CliError::Usage("choose one of --output json and --machine-readable".to_owned()));
        }
        let mut look = Look::of_terminal(self.voice.color, self.timestamp_ui, context.json());
        let out: Box<dyn std::io::Write + Send> =
            if context.json() { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
        if voice.is_machine() {
            look = Look { timestamps: self.timestamp_ui, ..Look::default() };
        }
        Ok(Screen::new(out, look).for_programs(voice.is_machine().then(|| context.clock.clone())))
    }

    /// The server's warnings. Packer tells of undeclared variables in `build` only when it is asked to.
    fn warnings(&self, run: &Run) -> Vec<Complaint> {
        let told = |warning: &&Complaint| self.warn_on_undeclared_var || !warning.is_undeclared_variable();
        run.warnings.iter().filter(told).cloned().collect()
    }

    async fn follow(&self, context: &Context, client: &Client, run: &Run, screen: &mut Screen) -> CliResult<Exit> {
        // A run that was there already is somebody else's: leaving it does not cancel it.
        let cancels = (!run.was_there()).then_some(run.id.as_str());
        let run = run.id.as_str();
        let path = ["runs", run, "log"];
        let following = Following { path: &path, cancels };
        let (last, cancelled_by_us) = match follow(client, following, screen, &mut interrupts()).await? {
            Ending::Over { last, cancelled_by_us } => (last, cancelled_by_us),
            Ending::Stuck => (client.get(&["runs", run], &[]).await?, false),
            Ending::Left => {
                screen.say(&format!("Left. See how it went with: ingot runs show {run}"))?;
                return Ok(Exit::Interrupted);
            }
        };
        let finished: Run = typed(client, &last)?;
        summary::write(&finished, screen)?;
        if let (Some(image), "succeeded", false) =
            (&finished.image, finished.state.as_str(), finished.channels.is_empty())
        {
            let image: Image = client.get(&["images", &image.id], &[]).await?;
            screen.say(&summary::on_stages(&image, &finished.channels))?;
        }
        if context.json() {
            context.print_json(&last)?;
        }
        Ok(match finished.state.as_str() {
            "succeeded" => Exit::Success,
            "cancelled" if cancelled_by_us => Exit::Interrupted,
            _ => Exit::Failed,
        })
    }

    /// The run request.
    fn request(
        &self,
        inputs: &Inputs,
        git_sha: Option<&str>,
        clock: &dyn Clock,
        sources: &mut Sources,
    ) -> CliResult<Value> {
        let template = template_fields(&self.template.given, inputs, git_sha, clock, sources)?;
        let request = given([
            ("name", json!(self.name.clone().or_else(|| default_name(inputs)))),
            ("family", json!(self.family)),
            ("account", json!(self.account)),
            ("timeout", json!(self.timeout)),
            ("on_error", json!(self.on_error)),
            ("debug", json!(self.debug.then_some(true))),
            ("hold_limit", json!(self.hold_limit)),
            ("step_timeout", json!(self.step_timeout)),
            ("force", json!(self.force.then_some(true))),
            ("parallel_builds", json!(self.parallel_builds.filter(|builds| *builds > 0))),
            ("priority", json!(self.priority)),
            ("labels", object(&self.labels)),
            ("clean_image", json!(self.no_clean.then_some(false))),
            ("dedupe", json!(self.dedupe)),
            ("max_age", json!(self.max_age)),
        ]);
        Ok(request.into_iter().chain(template).collect::<Map<_, _>>().into())
    }
}

/// The folder's or the file's name as a template's name: `./Web Server` → `web-server`, `db.pkr.hcl` → `db`.
fn default_name(inputs: &Inputs) -> Option<String> {
    let name = match &inputs.packed.single {
        Some(file) => [".pkr.hcl", ".pkr.json", ".hcl", ".json"]
            .iter()
            .find_map(|end| file.strip_suffix(end))
            .unwrap_or(file)
            .to_owned(),
        None => std::fs::canonicalize(&inputs.packed.root).ok()?.file_name()?.to_str()?.to_owned(),
    };
    let name: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    Some(name.trim_matches(|c: char| !c.is_ascii_alphanumeric()).chars().take(100).collect::<String>())
        .filter(|name| !name.is_empty())
}

fn started(run: &Run) -> String {
    let builds: Vec<&str> = run.builds.iter().map(|build| build.name.as_str()).collect();
    let verb = if run.was_there() && run.state == "succeeded" { "made" } else { "makes" };
    match &run.image {
        Some(image) => format!("Run {} {verb} {} #{}: {}", run.id, image.family, image.number, builds.join(", ")),
        None => format!("Run {}: {}", run.id, builds.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::test_support::Epoch;
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: BuildArgs,
    }

    fn parsed(line: &[&str]) -> BuildArgs {
        <Line as clap::Parser>::parse_from([&["build"], line].concat()).args
    }

    fn requested(args: &BuildArgs, own: &[(&str, &str)]) -> CliResult<Value> {
        let own = own.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let inputs = args.template.read(own.collect::<Vec<_>>().into_iter())?;
        args.request(&inputs, Some("abc"), &Epoch, &mut Sources::new())
    }

    fn template(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            std::fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(path), text).unwrap();
        }
        dir
    }

    #[test]
    fn the_request_says_what_was_asked_and_nothing_else() {
        let dir = template(&[("Web Server/web.pkr.hcl", ""), ("Web Server/prod.pkrvars.hcl", "a = 1")]);
        let path = dir.path().join("Web Server");
        let path = path.to_str().unwrap();
        let plain = requested(&parsed(&[path]), &[]).unwrap();
        assert_eq!(plain, json!({"name": "web-server", "git_sha": "abc"}));

        let file = format!("{path}/prod.pkrvars.hcl");
        let all = parsed(&[
            path,
            "--var",
            "a=1",
            "--var-file",
            &file,
            "--only",
            "x,y",
            "--account",
            "prod",
            "--name",
            "n",
            "--family",
            "f",
            "--timeout",
            "2h",
            "--label",
            "team=web",
            "--env",
            "STAGE=dev",
            "--no-clean",
            "--dedupe",
            "reuse",
            "--max-age",
            "7d",
        ]);
        assert_eq!(
            requested(&all, &[("PKR_VAR_a", "0")]).unwrap(),
            json!({"name": "n", "family": "f", "account": "prod", "variables": {"a": "1"}, "env": {"PKR_VAR_a": "0", "STAGE": "dev"},
                "var_files": ["prod.pkrvars.hcl"], "only": ["x", "y"], "git_sha": "abc", "timeout": "2h", "labels": {"team": "web"},
                "clean_image": false, "dedupe": "reuse", "max_age": "7d"})
        );
    }

    #[test]
    fn a_variable_file_from_elsewhere_is_resolved_here_in_packers_order() {
        let text = r#"
            variable "a" { default = "default" }
            variable "b" { default = "default" }
            variable "c" { default = "default" }
            variable "d" { default = "default" }
            variable "list" { type = list(string) }
            source "amazon-ebs" "x" {
                region = "us-east-1"
                instance_type = "t3.micro"
                source_ami = "ami-1"
                ami_name = "web"
                ssh_username = "root"
            }
            build { sources = ["source.amazon-ebs.x"] }
        "#;
        let elsewhere = "a = \"file\"\nb = \"file\"\nlist = [\"x\"]\nnobody_declares_this = 1";
        let dir = template(&[("web/web.pkr.hcl", text), ("secret.pkrvars.hcl", elsewhere)]);
        let (path, file) = (dir.path().join("web"), dir.path().join("secret.pkrvars.hcl"));
        let args = parsed(&[path.to_str().unwrap(), "--var-file", file.to_str().unwrap(), "--var", "b=var"]);
        let environment = [("PKR_VAR_a", "env"), ("PKR_VAR_b", "env"), ("PKR_VAR_c", "env")];
        let request = requested(&args, &environment).unwrap();
        assert_eq!(request["variables"], json!({"a": "file", "b": "var", "c": "env", "list": ["x"]}));
        assert_eq!(request.get("var_files"), None);
    }

    #[test]
    fn faults_in_a_variable_file_from_elsewhere_are_told_under_its_own_name() {
        let dir = template(&[("web/web.pkr.hcl", "variable \"a\" {}"), ("bad.pkrvars.hcl", "a = [1")]);
        let (path, file) = (dir.path().join("web"), dir.path().join("bad.pkrvars.hcl"));
        let args = parsed(&[path.to_str().unwrap(), "--var-file", file.to_str().unwrap()]);
        let Err(CliError::Problem(problem)) = requested(&args, &[]) else { panic!("it is refused") };
        assert!(problem.errors.iter().any(|error| error.file.as_deref() == file.to_str()), "{:?}", problem.errors);
    }

    #[test]
    fn a_run_that_was_there_is_told_as_such() {
        let run: Run = serde_json::from_value(
            json!({"id": "r1", "state": "succeeded", "builds": [{"id": "b1", "name": "a", "state": "succeeded"}],
            "image": {"id": "i1", "family": "web", "number": 7, "state": "built"},
            "dedupe": {"mode": "reuse", "outcome": "reused", "run": "r1", "reason": "Reused: it is the same."}}),
        )
        .unwrap();
        assert!(run.was_there());
        assert_eq!(started(&run), "Run r1 made web #7: a");
    }

    #[tokio::test]
    async fn the_form_has_two_parts_and_is_repeated_under_one_key() {
        use wiremock::matchers::{method, path};
        use wiremock::{Mock, MockServer, ResponseTemplate};

        let server = MockServer::start().await;
        let away = ResponseTemplate::new(503).set_body_json(json!({"title": "Service Unavailable"}));
        Mock::given(method("POST")).respond_with(away).up_to_n_times(1).mount(&server).await;
        let made = ResponseTemplate::new(201).set_body_json(json!({"id": "r1", "state": "queued"}));
        Mock::given(method("POST")).and(path("/v1/runs")).respond_with(made).mount(&server).await;
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let request = json!({"name": "web"});
        let answer: Value = client.post_form(&["runs"], &[], || form(&request, b"packed"), "key-1").await.unwrap();
        assert_eq!(answer["id"], "r1");

        let sent = server.received_requests().await.unwrap();
        assert_eq!(sent.len(), 2);
        for request in sent {
            assert_eq!(request.headers["idempotency-key"], "key-1");
            assert!(request.headers["content-type"].to_str().unwrap().starts_with("multipart/form-data"));
            let body = String::from_utf8_lossy(&request.body).into_owned();
            assert!(
                body.contains("name=\"request\"")
                    && body.contains("application/json")
                    && body.contains(r#"{"name":"web"}"#)
            );
            assert!(body.contains("name=\"bundle\"") && body.contains("application/gzip") && body.contains("packed"));
        }
    }

    #[test]
    fn names_come_from_the_path() {
        let dir = template(&[("DB (new).pkr.hcl", "")]);
        let request = requested(&parsed(&[dir.path().join("DB (new).pkr.hcl").to_str().unwrap()]), &[]).unwrap();
        assert_eq!(request["name"], "db--new");
    }
}
