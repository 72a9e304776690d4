//! What is a block in Packer's language, and what is in it.

use super::super::tree::{Member, TreeKind};

/// What a body belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    Root,
    Packer,
    Variable,
    Build,
    /// A chain of post-processors.
    PostProcessors,
    /// A source, data source, provisioner or post-processor, or a block of one.
    Component,
    /// Attributes only.
    Attributes,
    /// A `dynamic` block, with what the blocks that it makes belong to.
    Dynamic(&'static Inside),
}

/// One kind of block.
#[derive(Debug, Clone, Copy)]
pub struct BlockSchema {
    pub kind: &'static str,
    pub labels: usize,
    inside: Inside,
    /// Of a `dynamic` block: whose blocks it makes.
    parent: Inside,
}

const fn block(kind: &'static str, labels: usize, inside: Inside) -> BlockSchema {
    BlockSchema { kind, labels, inside, parent: Inside::Attributes }
}

const ROOT: &[BlockSchema] = &[
    block("packer", 0, Inside::Packer),
    block("source", 2, Inside::Component),
    block("variables", 0, Inside::Attributes),
    block("variable", 1, Inside::Variable),
    block("locals", 0, Inside::Attributes),
    block("local", 1, Inside::Attributes),
    block("data", 2, Inside::Component),
    block("build", 0, Inside::Build),
    block("hcp_packer_registry", 0, Inside::Attributes),
    block("communicator", 2, Inside::Component),
];
const PACKER: &[BlockSchema] = &[block("required_plugins", 0, Inside::Attributes)];
const VARIABLE: &[BlockSchema] = &[block("validation", 0, Inside::Attributes)];
const BUILD: &[BlockSchema] = &[
    block("source", 1, Inside::Component),
    block("provisioner", 1, Inside::Component),
    block("error-cleanup-provisioner", 1, Inside::Component),
    block("post-processor", 1, Inside::Component),
    block("post-processors", 0, Inside::PostProcessors),
    block("hcp_packer_registry", 0, Inside::Attributes),
];
const POST_PROCESSORS: &[BlockSchema] = &[block("post-processor", 1, Inside::Component)];

/// Blocks of components. JSON writes them like an attribute that is a map, so only the name tells.
const COMPONENT_BLOCKS: &[&str] = &[
    "Statement",
    "ami_block_device_mappings",
    "ami_root_device",
    "assume_role",
    "aws_polling",
    "deregistration_protection",
    "ebs_volumes",
    "fast_launch",
    "filter",
    "fleet_tag",
    "launch_block_device_mappings",
    "license_configuration_request",
    "license_specifications",
    "metadata_options",
    "placement",
    "region_launch_templates",
    "run_tag",
    "run_volume_tag",
    "security_group_filter",
    "snapshot_tag",
    "source_ami_filter",
    "spot_tag",
    "subnet_filter",
    "tag",
    "temporary_iam_instance_profile_policy_document",
    "vault_aws_engine",
    "vpc_filter",
];

/// Whether components have a block of this name.
#[must_use]
pub fn is_component_block(name: &str) -> bool {
    COMPONENT_BLOCKS.contains(&name)
}

impl Inside {
    fn schemas(self) -> &'static [BlockSchema] {
        match self {
            Self::Root => ROOT,
            Self::Packer => PACKER,
            Self::Variable => VARIABLE,
            Self::Build => BUILD,
            Self::PostProcessors => POST_PROCESSORS,
            Self::Component | Self::Attributes | Self::Dynamic(..) => &[],
        }
    }

    /// The block that a member of this body is; `None` for an attribute.
    pub fn block(self, member: &Member) -> Option<BlockSchema> {
        let key = member.key.as_str();
        if let Some(found) = self.schemas().iter().find(|schema| schema.kind == key) {
            return Some(*found);
        }
        if key == "dynamic" && self != Self::Attributes {
            return Some(BlockSchema { parent: self, ..block("dynamic", 1, Self::Attributes) });
        }
        let objects = match &member.value.kind {
            TreeKind::Object(_) => true,
            TreeKind::List(items) => {
                !items.is_empty() && items.iter().all(|item| matches!(item.kind, TreeKind::Object(_)))
            }
            _ => false,
        };
        match self {
            Self::Dynamic(made) if key == "content" => Some(block("content", 0, *made)),
            Self::Component if objects => {
                let name = COMPONENT_BLOCKS.iter().find(|name| **name == key)?;
                Some(block(name, 0, Self::Component))
            }
            // Nothing else is known there; as a block it is complained about by name.
            Self::Root | Self::Build if objects => Some(block("block", 0, Self::Attributes)),
            _ => None,
        }
    }

    /// Whether an attribute is read as code: HCL takes it as it stands, not as a value.
    pub fn is_code(self, name: &str) -> bool {
        match self {
            Self::Variable => name == "type",
            Self::Dynamic(..) => name == "iterator",
            _ => false,
        }
    }
}

impl BlockSchema {
    /// What the label is that comes after so many.
    pub fn label_name(&self, labels: usize) -> &'static str {
        match (self.kind, labels) {
            ("variable" | "local", _) | (_, 1) => "name",
            _ => "type",
        }
    }

    /// What the block's body is, for its first label.
    pub fn inside(&self, label: Option<&str>) -> Inside {
        if self.kind != "dynamic" {
            return self.inside;
        }
        let label = label.unwrap_or_default();
        let made = self.parent.schemas().iter().find(|schema| schema.kind == label);
        Inside::Dynamic(made.map_or(&Inside::Component, |schema| &schema.inside))
    }
}
