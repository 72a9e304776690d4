//! Takes secrets out of text.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// What stands where a secret was; Packer's word.
pub const MASK: &str = "<sensitive>";

/// Replaces known secrets in text, longest first. Each line of a multi-line secret counts as a secret too. Clones know
/// the same secrets, also those that are learned later.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    pub fn new<'s>(values: impl IntoIterator<Item = &'s str>) -> Self {
        let redactor = Self::default();
        redactor.learn(values);
        redactor
    }

    /// Adds secrets that came up while the build runs.
    pub fn learn<'s>(&self, values: impl IntoIterator<Item = &'s str>) {
        let values = values.into_iter().flat_map(|value| std::iter::once(value).chain(value.lines()));
        let values = values.map(str::trim).filter(|secret| !secret.is_empty()).map(str::to_owned);
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        secrets.extend(values);
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
    }

    fn secrets(&self) -> RwLockReadGuard<'_, Vec<String>> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the longest secret; 0 without one.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.secrets().first().map_or(0, String::len)
    }

    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets().iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_secret_first_and_every_line() {
        let redactor = Redactor::new(["pass", "password1", "first line\nsecond line\n", "  "]);
        assert_eq!(redactor.redact("use password1 or pass"), "use <sensitive> or <sensitive>");
        assert_eq!(redactor.redact("it says: second line!"), "it says: <sensitive>!");
        assert_eq!(redactor.redact("a  b"), "a  b", "white space is no secret");
        assert_eq!(format!("{redactor:?}"), "Redactor(5 secrets)");
    }
}
