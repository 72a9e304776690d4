//! The structure of a legacy JSON template: what Packer takes at which place, and complaints about all else. Nothing is
//! rendered or decoded here; [`super::evaluate`] does that.

use super::parse;
use super::renamed;
use crate::domain::diagnostic::{Diagnostic, Hint, SourceLocation};
use crate::template::options::{Content, Entry, Node};
use crate::template::packer;
use crate::template::select::OnlyExcept;
use crate::template::source::{SourceFile, did_you_mean};

/// A template's parts, each still as written.
#[derive(Debug, Default)]
pub struct JsonTemplate {
    pub description: Option<String>,
    /// Where the template begins.
    at: Option<SourceLocation>,
    /// `min_packer_version` as written.
    pub min_version: Option<String>,
    pub variables: Vec<Entry>,
    pub sensitive: Vec<String>,
    pub builders: Vec<RawComponent>,
    pub provisioners: Vec<RawComponent>,
    pub error_cleanup: Option<RawComponent>,
    pub post_processors: Vec<Vec<RawComponent>>,
}

/// What a component is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Builder,
    Provisioner,
    ErrorCleanup,
    PostProcessor,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Provisioner => "provisioner",
            Self::ErrorCleanup => "error-cleanup-provisioner",
            Self::PostProcessor => "post-processor",
        }
    }
}

/// An object with a `type`.
#[derive(Debug, Clone)]
pub struct RawComponent {
    pub kind: Kind,
    pub type_name: String,
    /// A builder's name as written, or its type.
    pub name: String,
    pub at: SourceLocation,
    /// Its options, without `type`, `only`, `except`, and without a builder's `name`.
    pub entries: Vec<Entry>,
    pub only: OnlyExcept,
}

/// Complaints that are counted; whoever has more has another problem.
const MAX_COUNTED: usize = 10_000;
/// Options that a component may have; the largest builder has some two hundred.
const MAX_OPTIONS: usize = 1000;

/// Keys at the root. Packer takes them in any case.
const ROOT: &[&str] = &[
    "min_packer_version",
    "description",
    "builders",
    "provisioners",
    "error-cleanup-provisioner",
    "post-processors",
    "variables",
    "sensitive-variables",
    "push",
    "comments",
];

/// Reads a template's structure.
///
/// # Errors
/// With its faults when it is no JSON object.
pub fn read(source: &SourceFile, complaints: &mut Vec<Diagnostic>) -> Result<JsonTemplate, Vec<Diagnostic>> {
    let (root, faults) = parse::parse(source);
    let Some(root) = root else { return Err(faults) };
    complaints.extend(faults);
    let at = root.at.clone();
    let Some(entries) = parse::into_entries(root) else {
        return Err(vec![Diagnostic::error("a template must be a JSON object").at(Some(at))]);
    };
    let mut template = JsonTemplate { at: Some(at), ..JsonTemplate::default() };
    let mut reader = Reader { complaints };
    for entry in entries {
        reader.root(entry, &mut template);
    }
    Ok(template)
}

impl JsonTemplate {
    /// The complaint that nothing is built, unless others say why.
    pub fn check_builders(&self, complaints: &mut Vec<Diagnostic>) {
        if self.builders.is_empty() && complaints.is_empty() {
            let diagnostic = Diagnostic::error("the template has no builders")
                .with_detail("add \"builders\": [{ \"type\": \"amazon-ebs\", … }]");
            complaints.push(diagnostic.at(self.at.clone()));
        }
    }
}

struct Reader<'c> {
    complaints: &'c mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn complain(&mut self, at: &SourceLocation, summary: impl Into<String>, detail: impl Into<Hint>) {
        if self.complaints.len() > MAX_COUNTED {
            return;
        }
        self.complaints.push(Diagnostic::error(summary).with_detail(detail).at(Some(at.clone())));
    }

    fn root(&mut self, entry: Entry, template: &mut JsonTemplate) {
        let Entry { key, key_at, node } = entry;
        if matches!(node.content, Content::Unknown) {
            return;
        }
        match key.to_ascii_lowercase().as_str() {
            key if key.starts_with('_') => {
                if !matches!(node.content, Content::String(_)) {
                    self.complain(&node.at, format!("{key} must be a string"), "a comment at the root is one string");
                }
            }
            "min_packer_version" => {
                template.min_version = self.string(&node, &key);
                if let Some(version) = &template.min_version
                    && let Err(message) = packer::check_version(&format!(">= {version}"))
                {
                    self.complain(&node.at, format!("min_packer_version: {message}"), "");
                }
            }
            "description" => template.description = self.string(&node, &key),
            "variables" => template.variables = self.variables(node),
            "sensitive-variables" => {
                let names = self.list(node, &key);
                template.sensitive =
                    names.iter().filter_map(|name| self.string(name, "a sensitive variable")).collect();
            }
            "builders" => {
                for node in self.list(node, &key) {
                    template.builders.extend(self.component(node, Kind::Builder));
                }
            }
            "provisioners" => {
                for node in self.list(node, &key) {
                    template.provisioners.extend(self.component(node, Kind::Provisioner));
                }
            }
            "post-processors" => {
                for node in self.list(node, &key) {
                    let chain = self.chain(node);
                    template.post_processors.push(chain);
                }
            }
            "error-cleanup-provisioner" if !matches!(node.content, Content::Null) => {
                template.error_cleanup = self.component(node, Kind::ErrorCleanup);
            }
            // Packer reads these and makes no use of them.
            "push" => {
                if !matches!(node.content, Content::Map(_) | Content::Null) {
                    self.complain(
                        &node.at,
                        "push must be an object",
                        "take it out; Packer makes no use of it any more",
                    );
                }
            }
            "comments" | "error-cleanup-provisioner" => {}
            _ => {
                let hint = did_you_mean(&key, ROOT.iter().copied());
                self.complain(&key_at, format!("a template has no key {key:?}"), hint);
            }
        }
    }

    fn string(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.content {
            Content::String(text) => Some(text.clone()),
            Content::Null | Content::Unknown => None,
            _ => {
                let hint = node.scalar().map_or_else(String::new, |text| format!("write {text:?}"));
                self.complain(&node.at, format!("{what} must be a string, this is {}", node.type_name()), hint);
                None
            }
        }
    }

    /// Defaults are strings, or null for a variable that must be given. Packer takes no others.
    fn variables(&mut self, node: Node) -> Vec<Entry> {
        let mut entries = match node.content {
            Content::Map(entries) => entries,
            Content::Null => return Vec::new(),
            _ => {
                self.complain(
                    &node.at,
                    "variables must be an object",
                    "write \"variables\": { \"name\": \"default\" }",
                );
                return Vec::new();
            }
        };
        for entry in &mut entries {
            if matches!(entry.node.content, Content::String(_) | Content::Null | Content::Unknown) {
                continue;
            }
            let text = entry.node.scalar();
            let hint = match &text {
                Some(text) => format!("write {text:?}; options take numbers and bools from strings"),
                None => "a list is a string with commas, such as \"a,b\"".to_owned(),
            };
            let summary = format!("the variable {:?} must be a string, this is {}", entry.key, entry.node.type_name());
            self.complain(&entry.node.at, summary, hint);
            entry.node.content = Content::String(text.unwrap_or_default());
        }
        entries
    }

    fn list(&mut self, node: Node, key: &str) -> Vec<Node> {
        match node.content {
            Content::List(items) => items,
            Content::Null => Vec::new(),
            _ => {
                self.complain(&node.at, format!("{key} must be a list"), format!("write \"{key}\": [ … ]"));
                Vec::new()
            }
        }
    }

    /// A post-processor, or several one after the other.
    fn chain(&mut self, node: Node) -> Vec<RawComponent> {
        let Content::List(nodes) = node.content else {
            return self.component(node, Kind::PostProcessor).into_iter().collect();
        };
        let mut chain = Vec::new();
        for node in nodes {
            if matches!(node.content, Content::List(_)) {
                self.complain(
                    &node.at,
                    "a sequence of post-processors holds no further sequence",
                    "put its post-processors into the outer list",
                );
                continue;
            }
            chain.extend(self.component(node, Kind::PostProcessor));
        }
        chain
    }

    fn component(&mut self, node: Node, kind: Kind) -> Option<RawComponent> {
        let (at, what) = (node.at, kind.word());
        let entries = match node.content {
            Content::Map(entries) => entries,
            Content::String(name) if kind == Kind::PostProcessor => {
                let (entries, only) = (Vec::new(), OnlyExcept::default());
                return Some(RawComponent { kind, type_name: name.clone(), name, at, entries, only });
            }
            Content::Unknown => return None,
            _ => {
                self.complain(&at, format!("a {what} must be an object"), "write { \"type\": \"…\", … }");
                return None;
            }
        };
        let mut component = RawComponent {
            kind,
            type_name: String::new(),
            name: String::new(),
            at,
            entries,
            only: OnlyExcept::default(),
        };
        if let Some(entry) = component.take("type") {
            component.type_name = self.string(&entry.node, "type").unwrap_or_default();
        }
        if kind == Kind::Builder {
            component.name = component.take("name").and_then(|entry| entry.node.scalar()).unwrap_or_default();
        } else {
            component.only.only = self.names(component.take("only"));
            component.only.except = self.names(component.take("except"));
        }
        if component.type_name.is_empty() {
            self.complain(&component.at, format!("a {what} needs a type"), "add \"type\": \"…\"");
            return None;
        }
        if component.name.is_empty() {
            component.name.clone_from(&component.type_name);
        }
        if !component.only.only.is_empty() && !component.only.except.is_empty() {
            self.complain(&component.at, "only one of only and except can be given", "take one of them out");
        }
        if component.entries.len() > MAX_OPTIONS {
            self.complain(&component.at, format!("a {what} has more than {MAX_OPTIONS} options"), "");
            component.entries.truncate(MAX_OPTIONS);
        }
        self.misplaced(&mut component);
        renamed::refuse(&mut component, self.complaints);
        Some(component)
    }

    /// What Packer knows elsewhere only.
    fn misplaced(&mut self, component: &mut RawComponent) {
        let kind = component.kind;
        component.entries.retain(|entry| {
            let key = entry.key.as_str();
            let (summary, hint) = if key.starts_with('_') {
                let hint = "move it to the root, beside \"builders\", or take it out";
                (format!("a {} has no comments such as {key:?}", kind.word()), hint)
            } else if key == "name" && matches!(kind, Kind::Provisioner | Kind::ErrorCleanup) {
                ("a provisioner of a JSON template has no name".to_owned(), "take it out, or move to HCL2")
            } else if matches!(kind, Kind::Builder) && matches!(key, "only" | "except") {
                (format!("a builder has no {key}"), "choose builders with only and except of the run")
            } else {
                return true;
            };
            self.complaints.push(Diagnostic::error(summary).with_detail(hint).at(Some(entry.key_at.clone())));
            false
        });
    }

    /// The names of `only` and `except`.
    fn names(&mut self, entry: Option<Entry>) -> Vec<String> {
        let Some(entry) = entry else { return Vec::new() };
        match &entry.node.content {
            Content::List(items) => items.iter().filter_map(|item| self.string(item, "a builder's name")).collect(),
            Content::String(one) => vec![one.clone()],
            Content::Null | Content::Unknown => Vec::new(),
            _ => {
                let hint = format!("write \"{}\": [\"name\"]", entry.key);
                self.complain(&entry.node.at, format!("{} must be a list of builders' names", entry.key), hint);
                Vec::new()
            }
        }
    }
}

impl RawComponent {
    /// Takes an option out.
    fn take(&mut self, name: &str) -> Option<Entry> {
        let found = self.entries.iter().position(|entry| entry.key == name);
        found.map(|at| self.entries.remove(at))
    }
}
