//! What the commit of a build writes. The artifacts lose their `ingot:temporary` tag first: from then on nothing but this
//! build's own undo would remove them.

use crate::domain::config::{BuilderConfig, PostProcessorConfig};
use crate::domain::failure::Failure;
use crate::domain::ids::StepName;
use crate::domain::image::{CommitRecord, ImageCopy, ManifestEntry};
use crate::domain::plan::StepKind;
use crate::domain::tags;
use crate::engine::step::{StepContext, StepResult};
use crate::postprocess::manifest::{self, BuildOutcome};

use super::check::Checked;
use super::{image_tags, keep_volumes, make_file, retry, wait_image, wait_snapshots};

/// See [`StepRegistry::prepare_commit`](crate::engine::step::StepRegistry::prepare_commit).
///
/// # Errors
/// When the cloud refuses, or late text can't be rendered.
pub async fn prepare(context: &StepContext) -> StepResult<CommitRecord> {
    match &context.config()?.builder {
        BuilderConfig::Null(_) => {
            context.log.say("The null builder makes nothing.").await;
            Ok(without_image(context, "Null", &[])?)
        }
        BuilderConfig::File(_) => {
            let made: make_file::Output = context.output("make_file")?;
            context.log.say(&format!("{} is a file of the run.", made.name)).await;
            Ok(without_image(context, "File", &[(made.name, made.size)])?)
        }
        BuilderConfig::AmazonEbs(_) | BuilderConfig::AmazonEbsSurrogate(_) => amazon(context).await,
        BuilderConfig::AmazonEbsVolume(_) => volumes(context).await,
    }
}

fn without_image(context: &StepContext, artifact: &str, files: &[(String, usize)]) -> Result<CommitRecord, Failure> {
    Ok(CommitRecord {
        manifest: manifest_entries(context, artifact, files)?,
        copies: Vec::new(),
        source: None,
        os: String::new(),
        tags: Vec::new(),
        files: Vec::new(),
        artifact_id: artifact.to_owned(),
    })
}

async fn amazon(context: &StepContext) -> StepResult<CommitRecord> {
    let copies = copies(context)?;
    for copy in &copies {
        let ids: Vec<String> = std::iter::once(&copy.ami_id).chain(&copy.snapshot_ids).cloned().collect();
        make_lasting(context, &copy.region, &ids).await?;
    }
    let kept: Option<keep_volumes::Output> = context.output_if_any("keep_volumes")?;
    if let Some(kept) = &kept {
        context.log.say(&format!("Volumes that stay: {}", kept.volume_ids.join(", "))).await;
        make_lasting(context, &context.ebs()?.region, &kept.volume_ids).await?;
    }
    protect(context, &copies).await?;
    let artifact_id = artifact_id(copies.iter().map(|copy| (&copy.region, &copy.ami_id)));
    if copies.is_empty() {
        context.log.say("skip_create_ami is set: no AMI was made.").await;
    } else {
        context.log.say(&format!("AMIs were created:\n{}", artifact_id.replace(',', "\n").replace(':', ": "))).await;
    }
    record(context, copies, artifact_id)
}

/// What `amazon-ebsvolume` made: the volumes that stay, and snapshots.
async fn volumes(context: &StepContext) -> StepResult<CommitRecord> {
    let region = &context.ebs()?.region;
    let kept: Option<keep_volumes::Output> = context.output_if_any("keep_volumes")?;
    let kept = kept.map(|kept| kept.volume_ids).unwrap_or_default();
    if !kept.is_empty() {
        // Only now is known what the machine is; the launch, which gave them their other tags, came before.
        let mut facts = image_tags::registry_tags(context)?;
        facts.retain(|(key, _)| key != tags::TEMPORARY);
        retry::set_on_new(context, || context.cloud.create_tags(region, &kept, &facts)).await?;
    }
    let snapshots: Option<wait_snapshots::Output> = context.output_if_any("wait_snapshots")?;
    let snapshots = snapshots.map(|made| made.snapshots).unwrap_or_default();
    let ids: Vec<String> = kept.into_iter().chain(snapshots.into_values()).collect();
    if ids.is_empty() {
        context.log.say("No volume stays, and no snapshot was made.").await;
    } else {
        make_lasting(context, region, &ids).await?;
    }
    let artifact_id = artifact_id(ids.iter().map(|id| (region, id)));
    if !ids.is_empty() {
        context.log.say(&format!("EBS Volumes were created:\n{}", artifact_id.replace(',', "\n"))).await;
    }
    record(context, Vec::new(), artifact_id)
}

/// From then on nothing but this build's own undo would remove them.
async fn make_lasting(context: &StepContext, region: &str, ids: &[String]) -> StepResult<()> {
    let keys = [tags::TEMPORARY.to_owned()];
    retry::set_on_new(context, || context.cloud.delete_tags(region, ids, &keys)).await
}

fn record(context: &StepContext, copies: Vec<ImageCopy>, artifact_id: String) -> StepResult<CommitRecord> {
    let checked: Checked = context.output("check")?;
    let mut image_tags = image_tags::image_tags(context)?;
    image_tags.retain(|(key, _)| key != tags::TEMPORARY);
    Ok(CommitRecord {
        manifest: manifest_entries(context, &artifact_id, &[])?,
        copies,
        source: Some(checked.source),
        os: image_tags::stob(context)?.os,
        tags: image_tags,
        files: Vec::new(),
        artifact_id,
    })
}

/// The very last thing: nobody can remove what is protected, and with a cooldown not even who takes the protection off.
async fn protect(context: &StepContext, copies: &[ImageCopy]) -> StepResult<()> {
    let Some(protection) = context.ebs()?.keeping.deregistration_protection else { return Ok(()) };
    for copy in copies {
        let (region, id) = (&copy.region, &copy.ami_id);
        context.log.say(&format!("Protecting {id} in {region} from being deregistered")).await;
        retry::set_on_new(context, || context.cloud.protect_image(region, id, protection.with_cooldown)).await?;
    }
    Ok(())
}

fn copies(context: &StepContext) -> Result<Vec<ImageCopy>, Failure> {
    let interim = context.plan.steps().any(|step| step.kind == StepKind::DropInterim);
    let waits = context.plan.steps().filter(|step| match step.kind {
        StepKind::WaitImage => !interim,
        StepKind::WaitCopy { .. } => true,
        _ => false,
    });
    let names: Vec<StepName> = waits.map(|step| step.name.clone()).collect();
    names
        .iter()
        .map(|name| {
            let image: wait_image::Output = context.output(&name.0)?;
            Ok(ImageCopy {
                region: image.region,
                ami_id: image.image_id,
                snapshot_ids: image.snapshot_ids,
                platform: image.platform,
                architecture: image.architecture,
            })
        })
        .collect()
}

/// Packer's artifact id: `region:id,region:id`, sorted.
fn artifact_id<'a>(made: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let mut parts: Vec<String> = made.map(|(region, id)| format!("{region}:{id}")).collect();
    parts.sort();
    parts.join(",")
}

fn manifest_entries(
    context: &StepContext,
    artifact_id: &str,
    files: &[(String, usize)],
) -> Result<Vec<ManifestEntry>, Failure> {
    let config = context.config()?;
    let mut entries = Vec::new();
    for block in config.post_processors.iter().flatten() {
        let PostProcessorConfig::Manifest(options) = &block.config;
        let mut custom_data = Vec::new();
        for (key, value) in &options.custom_data {
            custom_data.push((key.clone(), image_tags::render(context, value)?));
        }
        let outcome = BuildOutcome {
            name: manifest_name(&config.name),
            builder_type: config.builder.builder_type().to_owned(),
            build_time: context.clock.now().timestamp(),
            artifact_id: artifact_id.to_owned(),
            files: files.to_vec(),
            run_id: context.facts.run,
            custom_data,
        };
        entries.push(ManifestEntry { output: options.output.clone(), build: manifest::entry(options, &outcome) });
    }
    Ok(entries)
}

/// Packer's manifest has the source's own name: `ubuntu` of `amazon-ebs.ubuntu`.
fn manifest_name(build_name: &str) -> String {
    build_name.rsplit('.').next().unwrap_or(build_name).to_owned()
}
