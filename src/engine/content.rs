//! What a run is made of, as the parts of its content key. The template is evaluated once more for it, at a fixed time and
//! for no run in particular: what a template takes from the clock (`{{timestamp}}`) or from chance (`uuidv4()`) would make
//! each run unlike all others.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::evaluation::of_request;
use super::run_request::AcceptRequest;
use crate::domain::bundle::Bundle;
use crate::domain::config::BuildConfig;
use crate::domain::config::data_source::DataResults;
use crate::domain::content_key::{Content, ContentHasher};
use crate::domain::plan::PLAN_FORMAT;
use crate::template::{self, DataMode, Evaluated};

/// The time at which templates are evaluated for their content: noon on 1 January 2000, UTC.
const FIXED_TIME: i64 = 946_728_000;

/// What a run's content is made of, besides its template and what it asks for.
#[derive(Debug, Clone)]
pub struct Setting {
    pub account: String,
    pub family: String,
    /// Of what names none.
    pub default_region: Option<String>,
    /// The stages that the image goes to: who wants it on a stage can't be given a run that does not put it there.
    pub channels: Vec<String>,
}

/// The run's content.
///
/// # Errors
/// Why there is none, as the rest of a sentence.
pub fn of(
    hasher: &ContentHasher,
    bundle: &Arc<Bundle>,
    request: &AcceptRequest,
    setting: &Setting,
    data: &DataResults,
) -> Result<Content, String> {
    let at = DateTime::<Utc>::from_timestamp(FIXED_TIME, 0).unwrap_or_default();
    let region = setting.default_region.as_deref();
    let evaluated = template::evaluate(&of_request(request, bundle, region, (at, Uuid::nil()), DataMode::Given(data)));
    let evaluated = evaluated.and_then(Evaluated::complete);
    let evaluated = evaluated.map_err(|_| "the template can't be evaluated apart from the present time".to_owned())?;
    let unwritable = |_| "its configuration has no fixed form".to_owned();
    Ok(hasher.content(parts(bundle, request, setting, evaluated).map_err(unwritable)?))
}

/// The parts by name. Not among them is what does not decide the result: labels, time limits, who asks, and the words of
/// `only` and `except` (the builds that they select are).
fn parts(
    bundle: &Bundle,
    request: &AcceptRequest,
    setting: &Setting,
    evaluated: Evaluated,
) -> Result<Vec<(String, Value)>, serde_json::Error> {
    let mut parts = vec![
        ("template".to_owned(), json!(bundle.content_hash().0)),
        ("ingot".to_owned(), json!([env!("CARGO_PKG_VERSION"), PLAN_FORMAT])),
        ("account".to_owned(), json!(setting.account)),
        ("family".to_owned(), json!(setting.family)),
        ("git_sha".to_owned(), json!(request.git_sha)),
        ("clean_image".to_owned(), json!(request.clean_image)),
    ];
    if !setting.channels.is_empty() {
        parts.push(("channels".to_owned(), json!(setting.channels)));
    }
    let variables = evaluated.variables.into_iter();
    parts.extend(variables.map(|variable| (format!("variable:{}", variable.name), variable.value)));
    for build in evaluated.builds {
        add_build(build, &mut parts)?;
    }
    Ok(parts)
}

/// A build option by option. Where it stands in the template does not matter.
fn add_build(mut build: BuildConfig, parts: &mut Vec<(String, Value)>) -> Result<(), serde_json::Error> {
    for provisioner in &mut build.provisioners {
        provisioner.at = None;
    }
    for post_processor in build.post_processors.iter_mut().flatten() {
        post_processor.at = None;
    }
    build.builder.locations_mut().clear();
    let name = &build.name;
    parts.push((format!("build:{name}"), json!(build.source)));
    parts.push((format!("build:{name}:provisioners"), serde_json::to_value(&build.provisioners)?));
    parts.push((format!("build:{name}:post-processors"), serde_json::to_value(&build.post_processors)?));
    for (number, expression) in &build.expressions {
        parts.push((format!("build:{name}:expression:{number}"), json!([expression.source, expression.names])));
    }
    if let Value::Object(mut options) = serde_json::to_value(&build.builder)? {
        // What the amazon builders share stands in a part of its own, where it is not all that there is.
        if let Some(Value::Object(machine)) = options.remove("machine") {
            options.extend(machine);
        }
        for (option, value) in options.into_iter().filter(|(_, value)| !value.is_null()) {
            let option = if option == "source" { "source_ami" } else { option.as_str() };
            parts.push((format!("build:{name}:{option}"), value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::hold::RunOptions;
    use crate::engine::accept::TemplateSource;

    const TEMPLATE: &str = r#"
        variable "region" { default = "us-east-1" }
        variable "password" {
          default   = "hunter2"
          sensitive = true
        }
        variable "stage" { default = env("STAGE") }
        source "amazon-ebs" "a" {
          ami_name      = "web-${formatdate("YYYYMMDDhhmmss", timestamp())}-${uuidv4()}"
          instance_type = "t3.micro"
          region        = var.region
          source_ami    = "ami-1"
          ssh_username  = "root"
          tags          = { stage = var.stage, time = "{{timestamp}}", id = "{{uuid}}" }
        }
        source "amazon-ebs" "b" {
          ami_name      = "db-{{timestamp}}"
          instance_type = "t3.micro"
          region        = "us-east-1"
          source_ami    = "ami-1"
          ssh_username  = "root"
        }
        build {
          sources = ["source.amazon-ebs.a", "source.amazon-ebs.b"]
          provisioner "shell" { inline = ["echo ${var.password}"] }
        }
    "#;

    struct Run {
        template: String,
        other_file: &'static str,
        request: AcceptRequest,
        setting: Setting,
    }

    fn plain() -> Run {
        Run {
            template: TEMPLATE.to_owned(),
            other_file: "echo hello",
            request: AcceptRequest {
                template: TemplateSource::Stored { name: "web".into(), version: None },
                family: None,
                account: None,
                variables: [("region".to_owned(), json!("us-east-1"))].into(),
                env: [("STAGE".to_owned(), "dev".to_owned())].into(),
                var_files: Vec::new(),
                only: Vec::new(),
                except: Vec::new(),
                git_sha: Some("abc".into()),
                timeout: None,
                options: RunOptions::default(),
                priority: 0,
                labels: [("a".to_owned(), "1".to_owned())].into(),
                clean_image: true,
                force: false,
                dedupe: None,
            },
            setting: Setting {
                account: "default".into(),
                family: "web".into(),
                default_region: None,
                channels: Vec::new(),
            },
        }
    }

    fn content(run: &Run) -> Content {
        let mut bundle = Bundle::single("web.pkr.hcl", run.template.as_bytes().to_vec()).unwrap();
        bundle.insert("setup.sh", run.other_file.as_bytes().to_vec(), false).unwrap();
        bundle.insert("us.pkrvars.hcl", b"region = \"us-west-2\"".to_vec(), false).unwrap();
        let hasher = ContentHasher::new("k1".into(), [7; 32]);
        of(&hasher, &Arc::new(bundle), &run.request, &run.setting, &DataResults::default()).unwrap()
    }

    /// The parts that a change of the run changes.
    fn changed(change: impl FnOnce(&mut Run)) -> Vec<String> {
        let mut run = plain();
        change(&mut run);
        let (one, other) = (content(&plain()), content(&run));
        assert_eq!(one.is_same_as(&other), one.parts == other.parts);
        one.parts_unlike(&other).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn time_and_chance_are_no_part_of_it() {
        // Both are evaluated at the fixed time, whatever the present one is.
        assert!(content(&plain()).is_same_as(&content(&plain())));
    }

    #[test]
    fn what_decides_the_result_changes_the_key_and_is_named() {
        let region = |run: &mut Run| run.request.variables.insert("region".into(), json!("eu-west-1"));
        assert_eq!(changed(|run| drop(region(run))), ["build:amazon-ebs.a:region", "variable:region"]);
        let file = |run: &mut Run| {
            run.request.variables.clear();
            run.request.var_files = vec!["us.pkrvars.hcl".into()];
        };
        assert_eq!(changed(file), ["build:amazon-ebs.a:region", "variable:region"]);
        let stage = |run: &mut Run| run.request.env.insert("STAGE".into(), "prod".into());
        assert_eq!(changed(|run| drop(stage(run))), ["build:amazon-ebs.a:tags", "variable:stage"]);
        let password = |run: &mut Run| run.request.variables.insert("password".into(), json!("hunter3"));
        assert_eq!(
            changed(|run| drop(password(run))),
            ["build:amazon-ebs.a:provisioners", "build:amazon-ebs.b:provisioners", "variable:password"]
        );
        assert_eq!(changed(|run| run.other_file = "echo bye"), ["template"]);
        assert_eq!(changed(|run| run.template.push_str("\n# more")), ["template"]);
        assert_eq!(changed(|run| run.template.insert(0, '\n')), ["template"], "places are not compared");
        assert_eq!(
            changed(|run| run.template = run.template.replacen("t3.micro", "t3.small", 1)),
            ["build:amazon-ebs.a:instance_type", "template"]
        );
        assert_eq!(
            changed(|run| run.template = run.template.replacen("ami-1", "ami-2", 1)),
            ["build:amazon-ebs.a:source_ami", "template"]
        );
        assert_eq!(changed(|run| run.request.git_sha = Some("def".into())), ["git_sha"]);
        assert_eq!(changed(|run| run.setting.account = "prod".into()), ["account"]);
        assert_eq!(changed(|run| run.setting.family = "db".into()), ["family"]);
        assert_eq!(
            changed(|run| run.request.clean_image = false),
            ["build:amazon-ebs.a:clean_image", "build:amazon-ebs.b:clean_image", "clean_image"]
        );
        let only = changed(|run| run.request.only = vec!["amazon-ebs.a".into()]);
        assert!(
            only.iter().all(|part| part.starts_with("build:amazon-ebs.b"))
                && only.contains(&"build:amazon-ebs.b".into())
        );
    }

    #[test]
    fn what_a_surrogates_machine_has_is_a_part_by_itself() {
        let surrogate = |instance_type: &str, size: u32| Run {
            template: format!(
                r#"
                source "amazon-ebssurrogate" "s" {{
                  ami_name                = "web-{{{{timestamp}}}}"
                  ami_virtualization_type = "hvm"
                  instance_type           = "{instance_type}"
                  region                  = "us-east-1"
                  source_ami              = "ami-1"
                  ssh_username            = "root"
                  launch_block_device_mappings {{
                    device_name = "/dev/xvdf"
                    volume_size = 8
                  }}
                  ami_root_device {{
                    source_device_name = "/dev/xvdf"
                    device_name        = "/dev/sda1"
                    volume_size        = {size}
                  }}
                }}
                build {{
                  sources = ["source.amazon-ebssurrogate.s"]
                }}
                "#
            ),
            ..plain()
        };
        let mut one = surrogate("t3.micro", 8);
        one.request.variables.clear();
        let mut other = surrogate("t3.small", 9);
        other.request.variables.clear();
        let (one, other) = (content(&one), content(&other));
        let parts = one.parts_unlike(&other);
        let name = "build:amazon-ebssurrogate.s";
        assert_eq!(parts, [&format!("{name}:instance_type"), &format!("{name}:root"), "template"]);
    }

    #[test]
    fn what_does_not_decide_the_result_leaves_the_key_alone() {
        let nothing: [&str; 0] = [];
        assert_eq!(changed(|run| run.request.labels.clear()), nothing);
        assert_eq!(changed(|run| run.request.timeout = Some(std::time::Duration::from_secs(60))), nothing);
        assert_eq!(changed(|run| run.request.except = vec!["amazon-ebs.c".into()]), nothing);
        assert_eq!(changed(|run| run.request.variables.clear()), nothing, "the default is the same value");
        assert_eq!(changed(|run| drop(run.request.env.insert("UNUSED".into(), "1".into()))), nothing);
        let tags = |run: &mut Run| {
            let (stage, time) = ("stage = var.stage", "time = \"{{timestamp}}\"");
            let (before, after) = (format!("{stage}, {time}"), format!("{time}, {stage}"));
            assert!(run.template.contains(&before));
            run.template = run.template.replace(&before, &after);
        };
        assert_eq!(changed(tags), ["template"], "the order of keys");
        assert_eq!(
            changed(|run| run.request.template = TemplateSource::Stored { name: "x".into(), version: Some(1) }),
            nothing
        );
    }

    #[test]
    fn no_value_is_in_it() {
        let content = content(&plain());
        let text = format!("{content:?}");
        assert!(!text.contains("hunter2") && !text.contains("ami-1"), "{text}");
    }

    #[test]
    fn a_template_that_needs_the_present_time_has_none() {
        let mut run = plain();
        // A conversion that fails at the fixed time only.
        run.template
            .push_str("\nlocals { late = tonumber(formatdate(\"YYYY\", timestamp()) == \"2000\" ? \"x\" : \"1\") }");
        let bundle = Arc::new(Bundle::single("web.pkr.hcl", run.template.as_bytes().to_vec()).unwrap());
        let hasher = ContentHasher::new("k1".into(), [7; 32]);
        let why = of(&hasher, &bundle, &run.request, &run.setting, &DataResults::default()).unwrap_err();
        assert_eq!(why, "the template can't be evaluated apart from the present time");
    }
}
