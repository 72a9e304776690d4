//! What came of a run, in Packer's words.

use super::error::CliResult;
use super::screen::Screen;
use super::wire::{Build, Image, Run};

/// Writes errors, artifacts and the image, as `packer build` ends.
///
/// # Errors
/// When the output is closed or full.
pub fn write(run: &Run, screen: &mut Screen) -> CliResult<()> {
    let bad: Vec<&Build> = run.builds.iter().filter(|build| build.state != "succeeded").collect();
    let good: Vec<&Build> = run.builds.iter().filter(|build| build.state == "succeeded").collect();
    screen.say("")?;
    if !bad.is_empty() {
        screen.machine("", "error-count", &[&bad.len().to_string()])?;
        screen.say("Some builds didn't complete successfully and had errors:")?;
        for build in bad {
            failure(build, screen)?;
        }
        screen.say("")?;
    }
    if good.iter().all(|build| build.artifacts.is_empty()) {
        screen.say("Builds finished but no artifacts were created.")?;
    } else {
        screen.say("Builds finished. The artifacts of successful builds are:")?;
        for build in good {
            artifacts(build, screen)?;
        }
    }
    screen.say("")?;
    let image = run.image.as_ref().map_or_else(String::new, |image| {
        format!("; image {} #{} is {} ({})", image.family, image.number, image.state, image.id)
    });
    screen.say(&format!("Run {} {}{image}", run.id, run.state))
}

/// Whether an image went to all stages that its template names.
#[must_use]
pub fn on_stages(image: &Image, channels: &[String]) -> String {
    let name = format!("Image {} #{}", image.family, image.number);
    let missing: Vec<&str> =
        channels.iter().filter(|stage| !image.stages.contains(stage)).map(String::as_str).collect();
    if missing.is_empty() {
        return format!("{name} was promoted to {}", channels.join(", "));
    }
    format!("{name} is not on {}; why: ingot images show {}", missing.join(", "), image.id)
}

fn failure(build: &Build, screen: &mut Screen) -> CliResult<()> {
    let message = build.error.as_ref().map_or(build.state.as_str(), |error| &error.message);
    screen.machine(&build.name, "error", &[message])?;
    let Some(error) = &build.error else {
        let text = match (build.state.as_str(), &build.stuck_reason) {
            ("stuck", Some(reason)) => format!("stuck, waits for an operator: {reason}"),
            ("stuck", None) => "stuck, waits for an operator".to_owned(),
            (state, _) => state.to_owned(),
        };
        return screen.result(&build.name, &text, true);
    };
    let facts = [("class", &error.class), ("code", &error.code), ("step", &error.step)];
    let facts: Vec<String> =
        facts.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    screen.result(&build.name, &format!("{}{facts}", error.message), true)?;
    for line in [error.advice.as_deref(), build.stuck_reason.as_deref()].into_iter().flatten() {
        screen.plain(&format!("    {line}"))?;
    }
    Ok(())
}

fn artifacts(build: &Build, screen: &mut Screen) -> CliResult<()> {
    if build.artifacts.is_empty() {
        return screen.result(&build.name, "no artifacts", false);
    }
    for_programs(build, screen)?;
    screen.result(&build.name, heading(build), false)?;
    for artifact in &build.artifacts {
        match &artifact.region {
            Some(region) => screen.plain(&format!("{region}: {}", artifact.id))?,
            None => screen.plain(&format!("{}: {}", artifact.kind, artifact.id))?,
        }
    }
    screen.plain("")
}

/// What the artifacts are.
fn heading(build: &Build) -> &'static str {
    match build.kind.as_str() {
        "amazon-ebsvolume" => "EBS volumes and snapshots were created:",
        "file" => "Files were created:",
        _ => "AMIs were created:",
    }
}

/// The artifact as Packer's amazon plugin names it: its id is `region:ami`, of all regions, sorted; of `amazon-ebsvolume` it is
/// that of all snapshots and volumes.
fn for_programs(build: &Build, screen: &mut Screen) -> CliResult<()> {
    let of_volumes = build.kind == "amazon-ebsvolume";
    let made = build.artifacts.iter().filter(|artifact| of_volumes || artifact.kind == "ami");
    let mut places: Vec<(&str, &str)> =
        made.map(|artifact| (artifact.region.as_deref().unwrap_or_default(), artifact.id.as_str())).collect();
    places.sort_unstable();
    let id: Vec<String> = places.iter().map(|(region, id)| format!("{region}:{id}")).collect();
    let lines: Vec<String> = places.iter().map(|(region, id)| format!("{region}: {id}\n")).collect();
    screen.machine(&build.name, "artifact-count", &["1"])?;
    screen.machine(&build.name, "artifact", &["0", "builder-id", builder_id(&build.kind)])?;
    screen.machine(&build.name, "artifact", &["0", "id", &id.join(",")])?;
    screen.machine(&build.name, "artifact", &["0", "string", &format!("{}\n{}", heading(build), lines.concat())])?;
    screen.machine(&build.name, "artifact", &["0", "files-count", "0"])?;
    screen.machine(&build.name, "artifact", &["0", "end"])
}

/// What Packer's builders call themselves in artifacts.
fn builder_id(kind: &str) -> &str {
    match kind {
        "amazon-ebs" => "mitchellh.amazonebs",
        "amazon-ebssurrogate" => "mitchellh.amazon.ebssurrogate",
        "amazon-ebsvolume" => "mitchellh.amazon.ebsvolume",
        "null" => "fnoeding.null",
        "file" => "packer.file",
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::sync::Arc;

    use super::super::screen::Look;
    use super::super::screen::tests::Paper;
    use super::super::test_support::Epoch;
    use super::*;

    fn written(run: serde_json::Value) -> String {
        let paper = Paper::default();
        write(&serde_json::from_value(run).unwrap(), &mut paper.screen(Look::default())).unwrap();
        paper.text()
    }

    #[test]
    fn one_succeeded_and_one_failed() {
        let text = written(json!({"id": "0190", "state": "failed", "builds": [
            {"id": "1", "name": "amazon-ebs.web", "state": "succeeded",
             "artifacts": [{"kind": "ami", "id": "ami-1", "account": "default", "region": "eu-west-1"},
                           {"kind": "ami", "id": "ami-2", "account": "default", "region": "us-east-1"}]},
            {"id": "2", "name": "amazon-ebs.db", "state": "failed", "artifacts": [],
             "error": {"class": "user", "code": "script-failed", "message": "Script exited with 3.",
                       "advice": "See the log above.", "step": "provision:2"}},
        ], "image": {"id": "img", "family": "web", "number": 12, "state": "incomplete"}}));
        insta::assert_snapshot!(text, @"

        ==> Some builds didn't complete successfully and had errors:
        --> amazon-ebs.db: Script exited with 3. (class user, code script-failed, step provision:2)
            See the log above.

        ==> Builds finished. The artifacts of successful builds are:
        --> amazon-ebs.web: AMIs were created:
        eu-west-1: ami-1
        us-east-1: ami-2


        ==> Run 0190 failed; image web #12 is incomplete (img)
        ");
    }

    #[test]
    fn stages_that_the_template_names() {
        let image = json!({"id": "img", "family": "web", "number": 12, "state": "built", "stages": ["dev"]});
        let image: Image = serde_json::from_value(image).unwrap();
        let told = |channels: &[&str]| {
            on_stages(&image, &channels.iter().map(|stage| (*stage).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(told(&["dev"]), "Image web #12 was promoted to dev");
        let expected = "Image web #12 is not on staging, prod; why: ingot images show img";
        assert_eq!(told(&["dev", "staging", "prod"]), expected);
    }

    #[test]
    fn programs_read_packers_lines() {
        let run = json!({"id": "0190", "state": "failed", "builds": [
            {"id": "1", "name": "amazon-ebs.web", "type": "amazon-ebs", "state": "succeeded",
             "artifacts": [{"kind": "ami", "id": "ami-2", "account": "default", "region": "us-east-1"},
                           {"kind": "snapshot", "id": "snap-1", "account": "default", "region": "us-east-1"},
                           {"kind": "ami", "id": "ami-1", "account": "default", "region": "eu-west-1"}]},
            {"id": "2", "name": "amazon-ebs.db", "type": "amazon-ebs", "state": "failed",
             "error": {"class": "user", "code": "script-failed", "message": "Script exited with 3, alas."}},
        ]});
        let paper = Paper::default();
        let mut screen = paper.screen(Look::default()).for_programs(Some(Arc::new(Epoch)));
        write(&serde_json::from_value(run).unwrap(), &mut screen).unwrap();
        let text = paper.text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains(",ui,")).collect();
        assert_eq!(
            lines,
            [
                "0,,error-count,1",
                "0,amazon-ebs.db,error,Script exited with 3%!(PACKER_COMMA) alas.",
                "0,amazon-ebs.web,artifact-count,1",
                "0,amazon-ebs.web,artifact,0,builder-id,mitchellh.amazonebs",
                "0,amazon-ebs.web,artifact,0,id,eu-west-1:ami-1%!(PACKER_COMMA)us-east-1:ami-2",
                "0,amazon-ebs.web,artifact,0,string,AMIs were created:\\neu-west-1: ami-1\\nus-east-1: ami-2\\n",
                "0,amazon-ebs.web,artifact,0,files-count,0",
                "0,amazon-ebs.web,artifact,0,end",
            ]
        );
        assert!(text.contains("0,,ui,error,--> amazon-ebs.db: Script exited with 3%!(PACKER_COMMA) alas."), "{text}");
    }

    #[test]
    fn volumes_are_no_images() {
        let run = json!({"id": "0190", "state": "succeeded", "builds": [
            {"id": "1", "name": "amazon-ebsvolume.data", "type": "amazon-ebsvolume", "state": "succeeded",
             "artifacts": [{"kind": "volume", "id": "vol-1", "account": "default", "region": "us-east-1"},
                           {"kind": "snapshot", "id": "snap-1", "account": "default", "region": "us-east-1"}]},
        ]});
        let paper = Paper::default();
        let mut screen = paper.screen(Look::default()).for_programs(Some(Arc::new(Epoch)));
        write(&serde_json::from_value(run.clone()).unwrap(), &mut screen).unwrap();
        let id = "artifact,0,id,us-east-1:snap-1%!(PACKER_COMMA)us-east-1:vol-1";
        assert!(paper.text().contains(id), "{}", paper.text());
        assert!(written(run).contains("EBS volumes and snapshots were created:"));
    }

    #[test]
    fn nothing_came_of_it() {
        let text = written(json!({"id": "0190", "state": "stuck", "builds": [
            {"id": "1", "name": "a", "state": "stuck", "stuck_reason": "nobody knows whether ami-1 is ours"},
            {"id": "2", "name": "b", "state": "cancelled"},
        ]}));
        insta::assert_snapshot!(text, @"

        ==> Some builds didn't complete successfully and had errors:
        --> a: stuck, waits for an operator: nobody knows whether ami-1 is ours
        --> b: cancelled

        ==> Builds finished but no artifacts were created.

        ==> Run 0190 stuck
        ");
    }
}
