//! `yamldecode`: one document, with anchors, aliases and merge keys.

use std::collections::HashMap;

use indexmap::IndexMap;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{Call, FunctionError, FunctionResult, yaml_scalar};
use crate::template::runtime::{MAX_VALUE_DEPTH, MAX_VALUE_WEIGHT, Runtime};
use crate::template::value::{Kind, Value};

pub(super) fn decode(call: &Call<'_>) -> FunctionResult {
    let text = call.text(0)?;
    // The reader takes a tab for indentation there, which YAML forbids.
    if text.starts_with('\t') {
        return Call::fail(0, "this is no YAML: line 1, column 1: a tab can't indent");
    }
    let mut reader =
        Reader { parser: Parser::new_from_str(&text), anchors: HashMap::new(), runtime: call.runtime, line: 1 };
    reader.document().map_err(|message| FunctionError::at(0, message))
}

struct Reader<'t, 'c> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Value>,
    runtime: &'c Runtime<'c>,
    /// The line of the event that was read last.
    line: usize,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<Event<'t>, String> {
        self.runtime.spend(1)?;
        let item: Option<Result<(Event<'t>, Span), ScanError>> = self.parser.next();
        match item {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                let mark = error.marker();
                Err(format!("this is no YAML: line {}, column {}: {}", mark.line(), mark.col() + 1, error.info()))
            }
            None => Err("the YAML ends too early".to_owned()),
        }
    }

    fn fault(&self, message: &str) -> String {
        format!("line {}: {message}", self.line)
    }

    fn document(&mut self) -> Result<Value, String> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::Nothing => {}
                Event::DocumentStart(_) => break,
                _ => return Err("there is no document in it".to_owned()),
            }
        }
        let first = self.next()?;
        let value = self.value(first, 0)?;
        loop {
            match self.next()? {
                Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(value),
                _ => return Err(self.fault("there is more than one document in it")),
            }
        }
    }

    fn value(&mut self, event: Event<'t>, depth: u32) -> Result<Value, String> {
        if depth > MAX_VALUE_DEPTH {
            return Err(self.fault("it nests too deep: more than 100 levels"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, tag.as_deref())?, anchor),
            Event::SequenceStart(anchor, tag) => {
                self.container_tag(tag.as_deref(), "seq")?;
                (self.sequence(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.container_tag(tag.as_deref(), "map")?;
                (self.mapping(depth)?, anchor)
            }
            Event::Alias(id) => {
                let found = self.anchors.get(&id).cloned();
                return found.ok_or_else(|| self.fault("an alias refers to an anchor from inside of it"));
            }
            _ => return Err(self.fault("a value is missing")),
        };
        if value.weight() > MAX_VALUE_WEIGHT {
            return Err("the value is too large: more than 4 MiB".to_owned());
        }
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
        let quoted = style != ScalarStyle::Plain;
        let result = match tag {
            None if quoted => Ok(Value::string(text)),
            None => yaml_scalar::plain(text),
            Some(tag) if tag.is_yaml_core_schema() => yaml_scalar::tagged(&tag.suffix, text, quoted),
            Some(tag) if tag.handle == "!" && tag.suffix.is_empty() => Ok(Value::string(text)),
            Some(tag) => Err(format!("the tag {tag} is not known here")),
        };
        result.map_err(|message| self.fault(&message))
    }

    fn container_tag(&self, tag: Option<&Tag>, own: &str) -> Result<(), String> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == own) => {
                Err(self.fault(&format!("the tag {tag} can't stand here")))
            }
            _ => Ok(()),
        }
    }

    fn sequence(&mut self, depth: u32) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::tuple(items)),
                event => items.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: u32) -> Result<Value, String> {
        let mut entries: IndexMap<String, Value> = IndexMap::new();
        loop {
            let (text, style, tag) = match self.next()? {
                Event::MappingEnd => return Ok(Value::object(entries)),
                Event::Scalar(text, style, _, tag) => (text, style, tag),
                _ => return Err(self.fault("a key must be a string")),
            };
            let merge = &*text == "<<";
            let key = self.scalar(&text, style, tag.as_deref())?;
            let Some(key) = key.to_text() else { return Err(self.fault("a key must not be null")) };
            let event = self.next()?;
            let value = self.value(event, depth + 1)?;
            if merge {
                self.merge(&value, &mut entries)?;
            } else {
                entries.insert(key.to_string(), value);
            }
        }
    }

    /// Adds what `<<` names. Of several values for a key the last counts, wherever it stands.
    fn merge(&self, value: &Value, into: &mut IndexMap<String, Value>) -> Result<(), String> {
        let Kind::Mapping(mapping) = value.kind() else { return Err(self.fault("<< takes a map")) };
        self.runtime.spend(mapping.entries.len() as u64)?;
        into.extend(mapping.entries.iter().map(|(key, item)| (key.clone(), item.clone())));
        Ok(())
    }
}
