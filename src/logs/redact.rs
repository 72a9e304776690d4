//! Takes secrets out of text.

/// What stands where a secret was; Packer's word.
pub const MASK: &str = "<sensitive>";

/// Replaces known secrets in text, longest first. Each line of a multi-line secret counts as a secret too.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Vec<String>,
}

impl Redactor {
    pub fn new<'s>(values: impl IntoIterator<Item = &'s str>) -> Self {
        let mut secrets: Vec<String> = values
            .into_iter()
            .flat_map(|value| std::iter::once(value).chain(value.lines()))
            .map(str::trim)
            .filter(|secret| !secret.is_empty())
            .map(str::to_owned)
            .collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self { secrets }
    }

    /// Bytes of the longest secret; 0 without one.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.secrets.first().map_or(0, String::len)
    }

    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
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
