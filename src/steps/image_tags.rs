//! Which tags go where, with their late `{{ … }}` rendered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::config::builders::EbsVolume;
use crate::domain::config::communicator::CommunicatorKind;
use crate::domain::config::{BuilderConfig, LateString, LateTags};
use crate::domain::failure::Failure;
use crate::domain::image::Stob;
use crate::domain::tags::{self, TagList};
use crate::engine::step::StepContext;
use crate::template::hcl::late_run::Expressions;
use crate::template::late;
use crate::template::legacy::{self, LateData};

use super::check::Checked;
use super::connect::Connected;
use super::finding;

/// Late text can't be rendered, or an expression of the template evaluated.
pub const LATE_TEMPLATE: &str = "late-template";

/// Renders text that waited for the source AMI or the machine to be known.
///
/// # Errors
/// When it asks for something that is not there.
pub fn render(context: &StepContext, text: &LateString) -> Result<String, Failure> {
    legacy::render_late(&text.0, &late_data(context)?).map_err(|error| {
        // An expression's fault has its place in the template.
        let message = if late::named(&text.0).next().is_some() { error } else { format!("{:?}: {error}", text.0) };
        Failure::user(LATE_TEMPLATE, message)
    })
}

/// What late text may ask for, as far as the build has come.
///
/// # Errors
/// When the journal's records can't be read.
pub fn late_data(context: &StepContext) -> Result<LateData, Failure> {
    let mut data = LateData::default();
    let mut build = BTreeMap::from([
        ("PackerRunUUID".to_owned(), context.facts.run.to_string()),
        ("name".to_owned(), context.facts.build_name.clone()),
    ]);
    if let Some(checked) = context.output_if_any::<Checked>("check")? {
        let source = &checked.source;
        let fields = [
            ("SourceAMI", source.ami_id.clone()),
            ("SourceAMIName", source.name.clone()),
            ("SourceAMICreationDate", source.creation_date.clone()),
            ("SourceAMIOwner", source.owner_id.clone()),
            ("SourceAMIOwnerName", checked.source_owner_alias.clone().unwrap_or_default()),
            ("BuildRegion", source.region.clone()),
        ];
        for (name, value) in fields {
            build.insert(name.to_owned(), value.clone());
            data.fields.insert(name.to_owned(), value);
        }
        data.maps.insert("SourceAMITags".into(), checked.source_tags.into_iter().collect());
    }
    // What Packer's null builder says of itself.
    if let Some(BuilderConfig::Null(null)) = context.config.as_deref().map(|config| &config.builder) {
        build.insert("ID".into(), "Null".into());
        if null.communicator.communicator == CommunicatorKind::None {
            let fields = [("Host", ""), ("Port", "0"), ("User", ""), ("Password", ""), ("ConnType", "none")];
            build.extend(fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }
    if let Some(connected) = context.output_if_any::<Connected>("connect")? {
        build.insert("Host".into(), connected.host);
        build.insert("User".into(), connected.username);
        build.insert("Port".into(), connected.port.to_string());
        build.insert("ConnType".into(), "ssh".into());
        let ssh = context.config()?.builder.communicator();
        build.insert("Password".into(), ssh.and_then(|ssh| ssh.password.clone()).unwrap_or_default());
    }
    if let Some(launched) = context.output_if_any::<super::launch::Output>("launch")? {
        build.insert("ID".into(), launched.instance_id);
    }
    data.build = build;
    data.expressions = expressions(context);
    Ok(data)
}

/// The expressions of the template that wait for the build.
fn expressions(context: &StepContext) -> Option<Expressions> {
    let config = context.config.clone().filter(|config| !config.expressions.is_empty())?;
    let redactor = context.log.redactor().clone();
    Some(Expressions {
        config,
        bundle: context.bundle.clone(),
        now: context.facts.accepted_at,
        run_id: context.facts.run.0,
        hide: Arc::new(move |text| redactor.learn([text])),
    })
}

/// Tags with their late text rendered.
///
/// # Errors
/// When a tag can't be rendered.
pub fn rendered(context: &StepContext, late: &LateTags) -> Result<TagList, Failure> {
    late.iter().map(|(key, value)| Ok((render(context, &LateString(key.clone()))?, render(context, value)?))).collect()
}

/// The template's `run_tags`.
///
/// # Errors
/// When a tag can't be rendered.
pub fn run_tags(context: &StepContext) -> Result<TagList, Failure> {
    rendered(context, &context.ebs()?.run_tags)
}

/// `run_tags` and `run_volume_tags`, the latter winning.
///
/// # Errors
/// When a tag can't be rendered.
pub fn volume_tags(context: &StepContext) -> Result<TagList, Failure> {
    let mut list = run_tags(context)?;
    for (key, value) in rendered(context, &context.ebs()?.run_volume_tags)? {
        finding::set(&mut list, &key, &value);
    }
    Ok(list)
}

/// The AMI's tags: the template's, then STOB, family and ownership. `ingot:temporary` is taken off at the commit.
///
/// # Errors
/// When a tag can't be rendered.
pub fn image_tags(context: &StepContext) -> Result<TagList, Failure> {
    let mut list = own_tags(context)?;
    list.extend(registry_tags(context)?);
    Ok(list)
}

/// `tags`, and `run_tags` where those say nothing, unless `skip_ami_run_tags`.
fn own_tags(context: &StepContext) -> Result<TagList, Failure> {
    let ebs = context.ebs()?;
    let mut list = rendered(context, &ebs.tags)?;
    if !ebs.skip_ami_run_tags {
        for (key, value) in run_tags(context)? {
            if tags::value(&list, &key).is_none() {
                list.push((key, value));
            }
        }
    }
    Ok(list)
}

/// The snapshots' tags: the template's `tags` and `snapshot_tags`, the latter winning, then as [`image_tags`].
///
/// # Errors
/// When a tag can't be rendered.
pub fn snapshot_tags(context: &StepContext) -> Result<TagList, Failure> {
    let mut list = own_tags(context)?;
    for (key, value) in rendered(context, &context.ebs()?.snapshot_tags)? {
        finding::set(&mut list, &key, &value);
    }
    list.extend(registry_tags(context)?);
    Ok(list)
}

/// The tags of a snapshot that `amazon-ebsvolume` makes.
///
/// # Errors
/// When a tag can't be rendered.
pub fn volume_snapshot_tags(context: &StepContext, volume: &EbsVolume) -> Result<TagList, Failure> {
    let mut list = rendered(context, &volume.snapshot_tags)?;
    list.extend(registry_tags(context)?);
    Ok(list)
}

/// Ownership, family and STOB, on whatever a build makes to last.
///
/// # Errors
/// When the journal's records can't be read.
pub fn registry_tags(context: &StepContext) -> Result<TagList, Failure> {
    let facts = &context.facts;
    let mut list = context.ownership().temporary_tags();
    list.push((tags::RUN_ID.into(), facts.run.to_string()));
    list.push((tags::FAMILY.into(), facts.family.clone()));
    list.push((tags::NUMBER.into(), facts.number.to_string()));
    list.extend(stob(context)?.tags());
    Ok(list)
}

/// The four facts.
///
/// # Errors
/// When the journal's records can't be read.
pub fn stob(context: &StepContext) -> Result<Stob, Failure> {
    Ok(Stob {
        sha: context.facts.git_sha.clone(),
        time: context.facts.accepted_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        os: base_os(context)?,
        builder: context.facts.builder.clone(),
    })
}

/// What the machine says of itself, else the source image's name.
fn base_os(context: &StepContext) -> Result<String, Failure> {
    if let Some(connected) = context.output_if_any::<Connected>("connect")?
        && let Some(os) = connected.os
    {
        return Ok(os);
    }
    let checked: Checked = context.output("check")?;
    Ok(if checked.platform == "windows" { "Windows".into() } else { checked.source.name })
}
