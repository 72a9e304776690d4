//! The variables that shell provisioners give to their scripts.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::{ProvisionContext, ProvisionError};
use crate::domain::config::LateString;

/// Packer's own variables, those of `environment_vars`, and over them those of `env`, by name.
pub(super) fn variables(
    environment_vars: &[LateString],
    env: &IndexMap<String, LateString>,
    context: &ProvisionContext<'_>,
) -> Result<BTreeMap<String, String>, ProvisionError> {
    let none = BTreeMap::new();
    let mut all = BTreeMap::from([
        ("PACKER_BUILD_NAME".to_owned(), context.build_name.to_owned()),
        ("PACKER_BUILDER_TYPE".to_owned(), context.builder_type.to_owned()),
    ]);
    for variable in environment_vars {
        let text = context.render("environment_vars", &variable.0, &none)?;
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            // The value may be secret, so the text itself is not shown.
            ProvisionError::Configuration("an element of environment_vars is not in format NAME=value".to_owned())
        })?;
        all.insert(name.to_owned(), value.to_owned());
    }
    for (name, value) in env {
        all.insert(name.clone(), context.render("env", &value.0, &none)?);
    }
    Ok(all)
}

/// All variables for a shell's command line, each by `env_var_format`.
pub(super) fn formatted(variables: &BTreeMap<String, String>, format: &str) -> Result<String, ProvisionError> {
    variables.iter().map(|(name, value)| one(format, name, &value.replace('\'', r#"'"'"'"#))).collect()
}

/// `env_var_format` is a Go format with the name and the value as its two arguments.
fn one(format: &str, name: &str, value: &str) -> Result<String, ProvisionError> {
    let wrong = |what: &str| ProvisionError::Configuration(format!("env_var_format {format:?}: {what}"));
    let mut arguments = [name, value].into_iter();
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        match (character, if character == '%' { characters.next() } else { None }) {
            ('%', Some('s' | 'v')) => {
                text.push_str(arguments.next().ok_or_else(|| wrong("it has more than two %s (name and value)"))?);
            }
            ('%', Some('%')) => text.push('%'),
            ('%', verb) => {
                let verb = verb.map(String::from).unwrap_or_default();
                return Err(wrong(&format!("the verb %{verb}: not yet; use %s for the name and %s for the value")));
            }
            (other, _) => text.push(other),
        }
    }
    if arguments.next().is_some() { Err(wrong("it needs two %s (name and value)")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_variables() {
        assert_eq!(one("%s='%s' ", "A", "b").unwrap(), "A='b' ");
        assert_eq!(one("100%% %v=%s", "A", "%s").unwrap(), "100% A=%s");
        for (format, what) in
            [("%s", "needs two"), ("%s%s%s", "more than two"), ("%s=%q", "%q: not yet"), ("%s%", "not yet")]
        {
            let error = one(format, "A", "b").unwrap_err().to_string();
            assert!(error.contains(what), "{format}: {error}");
        }
    }
}
