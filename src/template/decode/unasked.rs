//! What is said of options that nobody asked for.

use super::body::{Decoder, Rule, Rules};
use crate::domain::diagnostic::SourceLocation;
use crate::template::legacy::early::{self, NOW};
use crate::template::options::{Content, Language, Node};
use crate::template::source::did_you_mean;

impl Decoder<'_> {
    /// Complains about every option that was not asked for, saying why where the reason is known. `what` names the
    /// component, such as `amazon-ebs`.
    pub fn finish(&self, what: &str, rules: Rules) {
        self.finish_all(what, &[rules]);
    }

    /// As [`Decoder::finish`], with several lists of rules.
    pub fn finish_all(&self, what: &str, rules: &[Rules]) {
        for entry in &self.options.attributes {
            if self.asked.borrow().iter().any(|name| self.matches(&entry.key, name)) {
                continue;
            }
            let asked_block = self.asked_blocks.borrow().iter().any(|name| self.matches(&entry.key, name));
            if asked_block {
                if self.options.language == Language::Hcl2 && !matches!(entry.node.content, Content::Null) {
                    let detail = format!("leave the = out: {} {{ … }}", entry.key);
                    self.error(&entry.key_at, format!("{} is a block, not an attribute", entry.key), detail);
                }
                continue;
            }
            self.refuse(&entry.key, &entry.key_at, what, rules, self.says_nothing(&entry.node));
        }
        for (key, block) in &self.options.blocks {
            if self.asked_blocks.borrow().contains(&key.as_str()) {
                continue;
            }
            if self.asked.borrow().contains(&key.as_str()) {
                let detail = format!("write {key} = {{ … }}");
                self.error(&block.at, format!("{key} is an attribute, not a block"), detail);
                continue;
            }
            self.refuse(key, &block.at, what, rules, false);
        }
    }

    /// Whether a value says what the option's absence says, also once its actions are rendered: templates pass on
    /// variables that may be empty.
    fn says_nothing(&self, node: &Node) -> bool {
        match &node.content {
            Content::String(text) => {
                let rendered = early::render(text, &self.context.early, NOW);
                self.context.early.warnings.borrow_mut().clear();
                self.context.early.told.set(false);
                rendered.is_ok_and(|text| text.is_empty())
            }
            _ => node.is_empty(),
        }
    }

    fn refuse(&self, key: &str, at: &SourceLocation, what: &str, rules: &[Rules], empty: bool) {
        let mut all = rules.iter().copied().flatten();
        match all.find(|(name, _)| self.matches(key, name)) {
            // An empty value says what the option's absence says.
            Some(_) if empty => {}
            Some((_, Rule::Refused(why))) => self.error(at, format!("{key} can't be used here"), *why),
            Some((_, Rule::NotYet(instead))) => self.error(at, format!("{key} is not supported yet"), *instead),
            None => {
                let asked = self.asked.borrow();
                let blocks = self.asked_blocks.borrow();
                let names = asked
                    .iter()
                    .chain(blocks.iter())
                    .copied()
                    .chain(rules.iter().copied().flatten().map(|(name, _)| *name));
                self.error(at, format!("{what} has no option {key:?}"), did_you_mean(key, names));
            }
        }
    }
}
