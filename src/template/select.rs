//! Which builds a run takes, and which blocks apply to a build.

use globset::{GlobBuilder, GlobMatcher};

use crate::domain::diagnostic::Diagnostic;

/// Packer's `-only` and `-except`: patterns over build names, where `*` matches dots too.
#[derive(Debug)]
pub struct Selection {
    only: Vec<GlobMatcher>,
    except: Vec<GlobMatcher>,
    patterns: String,
}

impl Selection {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// With a complaint for each that is none.
    pub fn new(only: &[String], except: &[String]) -> Result<Self, Vec<Diagnostic>> {
        let mut complaints = Vec::new();
        let mut compile = |patterns: &[String], name: &str| {
            let mut matchers = Vec::new();
            for pattern in patterns {
                match GlobBuilder::new(pattern).literal_separator(false).build() {
                    Ok(glob) => matchers.push(glob.compile_matcher()),
                    Err(_) => complaints.push(Diagnostic::error(format!("{name}: {pattern:?} is no valid pattern"))),
                }
            }
            matchers
        };
        let (only_matchers, except_matchers) = (compile(only, "only"), compile(except, "except"));
        if !complaints.is_empty() {
            return Err(complaints);
        }
        let patterns = only.iter().map(|p| format!("only {p:?}")).chain(except.iter().map(|p| format!("except {p:?}")));
        let patterns = patterns.collect::<Vec<_>>().join(", ");
        Ok(Self { only: only_matchers, except: except_matchers, patterns })
    }

    /// Whether a build of this name is taken.
    #[must_use]
    pub fn takes(&self, name: &str) -> bool {
        (self.only.is_empty() || self.only.iter().any(|glob| glob.is_match(name))) && !self.drops(name)
    }

    /// Whether `except` names this; it also drops post-processors, by name or type.
    #[must_use]
    pub fn drops(&self, name: &str) -> bool {
        self.except.iter().any(|glob| glob.is_match(name))
    }

    /// The complaint that no build is left.
    #[must_use]
    pub fn nothing_left(&self, names: &[&str]) -> Diagnostic {
        let given = if self.patterns.is_empty() { "the request".to_owned() } else { self.patterns.clone() };
        Diagnostic::error(format!("no build is left by {given}"))
            .with_detail(format!("the template has the builds {}", names.join(", ")))
    }
}

/// `only` and `except` of a block: exact names.
#[derive(Debug, Clone, Default)]
pub struct OnlyExcept {
    pub only: Vec<String>,
    pub except: Vec<String>,
}

impl OnlyExcept {
    /// Whether the block applies to a build that goes by one of these names.
    #[must_use]
    pub fn applies(&self, names: &[&str]) -> bool {
        let has = |list: &[String]| list.iter().any(|name| names.contains(&name.as_str()));
        (self.only.is_empty() || has(&self.only)) && !has(&self.except)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(only: &[&str], except: &[&str]) -> Selection {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(only), &owned(except)).unwrap()
    }

    #[test]
    fn globs_cross_dots() {
        assert!(selection(&["*.ubuntu"], &[]).takes("web.amazon-ebs.ubuntu"));
        assert!(!selection(&["amazon-ebs.ubuntu"], &[]).takes("web.amazon-ebs.ubuntu"));
        assert!(!selection(&["*"], &["docker.*"]).takes("docker.app"));
        assert!(Selection::new(&["[".to_owned()], &[]).is_err());
        insta::assert_snapshot!(selection(&["x"], &[]).nothing_left(&["amazon-ebs.a"]), @r#"no build is left by only "x": the template has the builds amazon-ebs.a"#);
    }
}
