//! A legacy JSON template as [`Model`].

use std::cell::Cell;
use std::collections::HashMap;

use super::json_reader::{self, Json, Member};
use super::model::{Build, Component, Entry, Kind, Language, Model, Place, Text, Value, Variable};
use super::{names, text};
use crate::template::source::SourceFile;

/// Adds what the template says. `given` tells which variables the request gives.
pub fn add(model: &mut Model, file: SourceFile, given: &dyn Fn(&str) -> bool) {
    model.language = Language::LegacyJson;
    let index = model.files.len();
    let root = json_reader::read(&file.text);
    model.files.push(file);
    let Some(root) = root else { return };
    let sensitive = root.get("sensitive-variables").map(Json::items).unwrap_or_default();
    let sensitive: Vec<&str> = sensitive.iter().filter_map(Json::string).collect();
    let mut reader =
        Reader { file: index, text: model.files[index].text.clone(), variables: HashMap::new(), put_in: Cell::new(0) };
    let members = root.get("variables").map(Json::members).unwrap_or_default();
    // A variable's default may use functions, not other variables.
    let mut variables = Vec::new();
    for member in members {
        let value = reader.value(&member.value);
        let known = !given(&member.key) && !matches!(value.kind, Kind::Null);
        let secret = sensitive.contains(&member.key.as_str()) || names::is_secret(&member.key);
        variables.push(Variable {
            name: member.key.clone(),
            at: reader.place(member.key_start, member.key_end),
            value: Some(value.clone()),
            sensitive: sensitive.contains(&member.key.as_str()),
            local: false,
        });
        let value = if secret || !known {
            let hole = super::model::Hole {
                changes: !known,
                secret,
                variables: vec![member.key.clone()],
                parts: if known { vec![value] } else { Vec::new() },
            };
            Value::unknown(reader.place(member.value.start, member.value.end), hole)
        } else {
            value
        };
        reader.variables.insert(member.key.clone(), value);
    }
    let mut build = Build { at: reader.place(root.start, root.start + 1), ..Build::default() };
    for builder in root.get("builders").map(Json::items).unwrap_or_default() {
        build.sources.push(model.sources.len());
        model.sources.extend(reader.component(builder));
    }
    build.sources.retain(|source| *source < model.sources.len());
    let provisioners = root.get("provisioners").map(Json::items).unwrap_or_default();
    let provisioners = provisioners.iter().chain(root.get("error-cleanup-provisioner"));
    build.provisioners = provisioners.filter_map(|provisioner| reader.component(provisioner)).collect();
    for chain in root.get("post-processors").map(Json::items).unwrap_or_default() {
        let chain = if chain.items().is_empty() { std::slice::from_ref(chain) } else { chain.items() };
        build.post_processors.extend(chain.iter().filter_map(|one| reader.component(one)));
    }
    let builders = root.members().iter().find(|member| member.key == "builders");
    if let Some(member) = builders {
        build.at = reader.place(member.key_start, member.key_end);
        model.at = Some(build.at);
        model.builds.push(build);
    }
    model.variables.append(&mut variables);
}

/// Adds the values of a `*.pkrvars.json`.
pub fn add_values(model: &mut Model, file: SourceFile) {
    let index = model.files.len();
    let reader = Reader { file: index, text: file.text.clone(), variables: HashMap::new(), put_in: Cell::new(0) };
    let root = json_reader::read(&file.text);
    model.files.push(file);
    for member in root.iter().flat_map(Json::members) {
        model.variables.push(Variable {
            name: member.key.clone(),
            at: reader.place(member.key_start, member.key_end),
            value: Some(reader.value(&member.value)),
            // Whether it is sensitive is said where it is declared.
            sensitive: true,
            local: false,
        });
    }
}

/// Bytes that variables may put into texts: a long one that is used over and over would be endless work.
const MAX_PUT_IN: usize = 8 * 1024 * 1024;

struct Reader {
    file: usize,
    text: String,
    variables: HashMap<String, Value>,
    put_in: Cell<usize>,
}

impl Reader {
    fn place(&self, start: usize, end: usize) -> Place {
        Place { file: self.file, start, end }
    }

    fn value(&self, json: &Json) -> Value {
        let place = self.place(json.start, json.end);
        let kind = match &json.kind {
            json_reader::Kind::Null => Kind::Null,
            json_reader::Kind::Bool(flag) => Kind::Bool(*flag),
            json_reader::Kind::Number(number) => return Value::literal(number, place),
            json_reader::Kind::String(text) => return self.string(text, json),
            json_reader::Kind::List(items) => Kind::List(items.iter().map(|item| self.value(item)).collect()),
            json_reader::Kind::Object(members) => Kind::Map(self.entries(members)),
        };
        Value { place, kind }
    }

    fn string(&self, decoded: &str, json: &Json) -> Value {
        let place = self.place(json.start, json.end);
        let end = json.end - usize::from(json.end > json.start + 1 && self.text[..json.end].ends_with('"'));
        let inside = self.place(json.start + 1, end);
        let mut pieces = Vec::new();
        let mut variable = |name: &str| {
            let value = self.variables.get(name)?;
            let put_in = self.put_in.get() + value.place.end.saturating_sub(value.place.start) + 64;
            self.put_in.set(put_in);
            (put_in <= MAX_PUT_IN).then(|| value.clone())
        };
        text::pieces(decoded, &self.text[inside.start..inside.end], inside, &mut variable, &mut pieces);
        Value { place, kind: Kind::Text(Text { pieces }) }
    }

    fn entries(&self, members: &[Member]) -> Vec<Entry> {
        let entry = |member: &Member| Entry {
            key: member.key.clone(),
            key_place: self.place(member.key_start, member.key_end),
            value: self.value(&member.value),
        };
        members.iter().map(entry).collect()
    }

    /// An object with a `type`, or the type alone.
    fn component(&self, json: &Json) -> Option<Component> {
        if let Some(kind) = json.string() {
            let at = self.place(json.start, json.end);
            return Some(Component {
                kind: kind.to_owned(),
                name: kind.to_owned(),
                at,
                extent: at,
                options: Vec::new(),
            });
        }
        let member = json.members().iter().find(|member| member.key == "type")?;
        let kind = member.value.string()?;
        let name = json.get("name").and_then(Json::string).unwrap_or(kind);
        let entries = self.entries(json.members());
        Some(Component {
            kind: kind.to_owned(),
            name: name.to_owned(),
            at: self.place(member.value.start, member.value.end),
            extent: self.place(json.start, json.end),
            options: entries.into_iter().filter(|entry| !matches!(entry.key.as_str(), "type" | "name")).collect(),
        })
    }
}
