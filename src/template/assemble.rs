//! From one build's evaluated blocks, of either language, to its [`BuildConfig`].

use std::time::Duration;

use super::decode::body::{Context, Decoder};
use super::decode::{amazon_ebs, breakpoint, builders, file, manifest, shell, shell_local};
use super::options::{Content, Entry, Options};
use super::packer;
use super::select::Selection;
use super::source::did_you_mean;
use crate::domain::config::communicator::CommunicatorKind;
use crate::domain::config::{
    BuildConfig, BuilderConfig, PostProcessorBlock, PostProcessorConfig, ProvisionerBlock, ProvisionerConfig,
};
use crate::domain::diagnostic::{Diagnostic, SourceLocation};

const CHROOT: &str = "it works on a volume of the machine that Packer itself runs on, and the server has none to give: use \
    amazon-ebssurrogate";
const INSTANCE: &str = "images in instance stores are made by AMI tools with an X.509 key inside of the guest, and current \
    instance types can't start them: use amazon-ebs";

/// A provisioner or post-processor that applies to the build, with all its options.
#[derive(Debug)]
pub struct Component {
    pub kind: String,
    /// Where its type stands.
    pub at: SourceLocation,
    pub options: Options,
}

/// A build's evaluated blocks.
#[derive(Debug)]
pub struct Parts {
    pub name: String,
    pub source: String,
    /// Names that an `override` may use.
    pub override_names: Vec<String>,
    pub builder_type: String,
    /// Where the source's type stands.
    pub builder_at: SourceLocation,
    /// `None` when the source is not declared, which was complained about.
    pub builder: Option<Options>,
    pub provisioners: Vec<Component>,
    /// One at most; more are complained about where they are read.
    pub error_cleanup: Option<Component>,
    pub post_processors: Vec<Vec<Component>>,
}

/// Makes a build's configuration; `None` when a component of it is missing. Complaints go to the context.
pub fn build(mut parts: Parts, context: &Context<'_>, selection: &Selection, clean_image: bool) -> Option<BuildConfig> {
    let builder = builder(&parts, context, clean_image);
    let mut provisioners = Vec::new();
    for component in &mut parts.provisioners {
        apply_override(component, &parts.override_names, context);
        provisioners.extend(provisioner(component, context));
    }
    let error_cleanup = parts.error_cleanup.as_mut().and_then(|component| {
        apply_override(component, &parts.override_names, context);
        let block = provisioner(component, context)?;
        if block.config.provisioner_type() == "breakpoint" {
            let diagnostic = Diagnostic::error("a breakpoint can't be the error-cleanup-provisioner")
                .with_detail("start the run with on_error \"ask\" to look at a machine where something failed");
            context.complaints.borrow_mut().push(diagnostic.at(Some(component.at.clone())));
        }
        Some(Box::new(block))
    });
    if let Some(builder) = &builder {
        check_machine(builder, provisioners.iter().chain(error_cleanup.as_deref()), context);
    }
    let mut chains = Vec::new();
    for chain in &parts.post_processors {
        let mut blocks = Vec::new();
        for component in chain {
            let name = post_processor_name(component);
            // What is excepted takes the rest of its chain with it.
            if selection.drops(&name) || selection.drops(&component.kind) {
                break;
            }
            blocks.extend(post_processor(component, context));
        }
        if !blocks.is_empty() {
            chains.push(blocks);
        }
    }
    Some(BuildConfig {
        name: parts.name,
        source: parts.source,
        builder: builder?,
        provisioners,
        error_cleanup,
        post_processors: chains,
        expressions: context.early.runtime.late.take_used(),
    })
}

fn builder(parts: &Parts, context: &Context<'_>, clean_image: bool) -> Option<BuilderConfig> {
    let decoder = Decoder::new(parts.builder.as_ref()?, context);
    Some(match parts.builder_type.as_str() {
        "amazon-ebs" => BuilderConfig::AmazonEbs(Box::new(amazon_ebs::decode(&decoder, clean_image))),
        "amazon-ebsvolume" => BuilderConfig::AmazonEbsVolume(Box::new(builders::ebs_volume(&decoder))),
        "amazon-ebssurrogate" => BuilderConfig::AmazonEbsSurrogate(Box::new(builders::ebs_surrogate(&decoder))),
        "null" => BuilderConfig::Null(Box::new(builders::null(&decoder))),
        "file" => BuilderConfig::File(Box::new(builders::file(&decoder))),
        other => {
            complain_missing("builder", other, packer::BUILDERS, &parts.builder_at, context);
            return None;
        }
    })
}

/// Provisioners need a machine to run on. Packer accepts them all the same and fails when it comes to them, or leaves them
/// out with the `file` builder.
fn check_machine<'p>(
    builder: &BuilderConfig,
    mut provisioners: impl Iterator<Item = &'p ProvisionerBlock>,
    context: &Context<'_>,
) {
    let without = builder.communicator().is_some_and(|ssh| ssh.communicator == CommunicatorKind::None);
    let needs_machine =
        |block: &&ProvisionerBlock| !matches!(block.config.provisioner_type(), "breakpoint" | "shell-local");
    let (first, diagnostic) = match builder {
        BuilderConfig::File(_) => {
            let text = "the file builder has no machine: its provisioners are left out";
            (provisioners.next(), Diagnostic::warning(text))
        }
        BuilderConfig::Null(_) if without => {
            let text = "with communicator \"none\" there is no machine: the build will fail at this provisioner";
            let detail = "name a host in ssh_host and set communicator = \"ssh\"";
            (provisioners.find(needs_machine), Diagnostic::warning(text).with_detail(detail))
        }
        _ if without => {
            let text = "there can be no provisioners with communicator \"none\"";
            (provisioners.next(), Diagnostic::error(text))
        }
        _ => return,
    };
    if let Some(first) = first {
        context.complaints.borrow_mut().push(diagnostic.at(first.at.clone()));
    }
}

fn complain_missing(what: &str, kind: &str, known: &[&str], at: &SourceLocation, context: &Context<'_>) {
    let diagnostic = if known.contains(&kind) {
        let detail = match what {
            "builder" => match kind {
                "amazon-chroot" => CHROOT,
                "amazon-instance" => INSTANCE,
                _ => {
                    "amazon-ebs, amazon-ebsvolume, amazon-ebssurrogate, null and file are; leave the build out with except, or select \
                    others with only"
                }
            },
            "provisioner" => "shell, shell-local, file and breakpoint are",
            _ => "manifest is",
        };
        let never = matches!(kind, "amazon-chroot" | "amazon-instance") && what == "builder";
        let why = if never { "can't be used here" } else { "is not supported yet" };
        Diagnostic::error(format!("{what} {kind:?} {why}")).with_detail(detail)
    } else {
        Diagnostic::error(format!("there is no {what} {kind:?}")).with_detail(did_you_mean(kind, known.iter().copied()))
    };
    context.complaints.borrow_mut().push(diagnostic.at(Some(at.clone())));
}

/// Works `override = { name = { … } }` into a provisioner's options.
fn apply_override(component: &mut Component, names: &[String], context: &Context<'_>) {
    let Some(at) = component.options.attributes.iter().position(|entry| entry.key == "override") else { return };
    let entry = component.options.attributes.remove(at);
    let entries = match entry.node.content {
        Content::Map(entries) => entries,
        Content::Null | Content::Unknown => return,
        _ => {
            let diagnostic = Diagnostic::error("override must be a map of build names").at(Some(entry.key_at));
            context.complaints.borrow_mut().push(diagnostic);
            return;
        }
    };
    for Entry { key, key_at, node } in entries {
        if !names.contains(&key) {
            continue;
        }
        let Content::Map(options) = node.content else {
            let diagnostic = Diagnostic::error(format!("override.{key} must be a map of options")).at(Some(key_at));
            context.complaints.borrow_mut().push(diagnostic);
            continue;
        };
        for option in options {
            component.options.attributes.retain(|existing| existing.key != option.key);
            component.options.overridden.push(option.key.clone());
            component.options.attributes.push(option);
        }
    }
}

/// The options that every block has are not the component's own.
fn meta(decoder: &Decoder<'_>) {
    decoder.leave("only");
    decoder.leave("except");
}

fn provisioner(component: &Component, context: &Context<'_>) -> Option<ProvisionerBlock> {
    if !matches!(component.kind.as_str(), "shell" | "shell-local" | "file" | "breakpoint") {
        complain_missing("provisioner", &component.kind, packer::PROVISIONERS, &component.at, context);
        return None;
    }
    let decoder = Decoder::new(&component.options, context);
    meta(&decoder);
    if decoder.flag("continue_on_error") == Some(true) {
        decoder.not_yet("continue_on_error", "let the command itself succeed: `… || true`");
    }
    let name = decoder.string("name");
    let pause_before = decoder.duration("pause_before").unwrap_or(Duration::ZERO);
    let max_retries = decoder.integer("max_retries", 0, 1000).unwrap_or(0);
    let timeout = decoder.duration("timeout").unwrap_or(Duration::ZERO);
    let config = match component.kind.as_str() {
        "shell" => ProvisionerConfig::Shell(Box::new(shell::decode(&decoder))),
        "shell-local" => ProvisionerConfig::ShellLocal(Box::new(shell_local::decode(&decoder))),
        "breakpoint" => ProvisionerConfig::Breakpoint(breakpoint::decode(&decoder)),
        _ => ProvisionerConfig::File(Box::new(file::decode(&decoder))),
    };
    Some(ProvisionerBlock {
        name,
        config,
        pause_before,
        max_retries: u32::try_from(max_retries).unwrap_or(0),
        timeout,
        at: Some(component.at.clone()),
    })
}

fn post_processor_name(component: &Component) -> String {
    let entry = component.options.attributes.iter().find(|entry| entry.key == "name");
    entry.and_then(|entry| entry.node.scalar()).unwrap_or_default()
}

fn post_processor(component: &Component, context: &Context<'_>) -> Option<PostProcessorBlock> {
    if component.kind != "manifest" {
        complain_missing("post-processor", &component.kind, packer::POST_PROCESSORS, &component.at, context);
        return None;
    }
    let decoder = Decoder::new(&component.options, context);
    meta(&decoder);
    let name = decoder.string("name");
    let config = PostProcessorConfig::Manifest(manifest::decode(&decoder));
    Some(PostProcessorBlock { name, config, at: Some(component.at.clone()) })
}
