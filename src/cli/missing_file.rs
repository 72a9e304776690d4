//! What to do when a template that was named as a single file needs one that did not come along.

use super::complaint::Complaint;
use super::inputs::Inputs;

/// The advice, when a complaint names a file that lies beside the template and was not taken along.
#[must_use]
pub fn missing_file(complaints: &[Complaint], inputs: &Inputs) -> Option<Complaint> {
    let single = inputs.packed.single.as_ref()?;
    let texts: Vec<&str> =
        complaints.iter().flat_map(|error| [Some(error.message.as_str()), error.detail.as_deref()]).flatten().collect();
    let entries = std::fs::read_dir(&inputs.packed.root).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let missing = names
        .filter(|name| name != single && name.len() > 2 && inputs.packed.bundle.under(name).next().is_none())
        .filter(|name| inputs.packed.bundle.get(name).is_none())
        .find(|name| texts.iter().any(|text| mentions(text, name)))?;
    let root = inputs.packed.root.display();
    Some(Complaint::error(
        format!("{missing:?} lies beside the template and was not taken along"),
        &format!("a single file goes with the files that its strings name; name the folder for all: {root}"),
    ))
}

/// Whether the text has the name as a word of its own: `setup.sh` or `scripts/…` in quotes or after a space, not the end of
/// a longer name.
fn mentions(text: &str, name: &str) -> bool {
    let begins = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '/');
    let ends = |c: char| begins(c) || matches!(c, ':' | ',' | ';');
    text.match_indices(name).any(|(at, _)| {
        text[..at].chars().next_back().is_none_or(begins) && text[at + name.len()..].chars().next().is_none_or(ends)
    })
}

#[cfg(test)]
mod tests {
    use super::super::inputs::{GivenArgs, TemplateArgs};
    use super::*;

    #[test]
    fn a_single_file_that_needs_its_neighbours_is_told_to_come_with_them() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["web.pkr.hcl", "setup.sh"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let args = TemplateArgs { path: dir.path().join("web.pkr.hcl"), given: GivenArgs::default() };
        let inputs = args.read(std::iter::empty()).unwrap();
        let advice = |message: &str| missing_file(&[Complaint::error(message, "")], &inputs);
        let told = advice("the bundle has no file \"setup.sh\"").unwrap();
        assert!(told.message.contains("\"setup.sh\""), "{told:?}");
        assert!(told.detail.unwrap().ends_with(dir.path().to_str().unwrap()));
        assert_eq!(advice("the bundle has no file \"other-setup.sh\""), None);
    }
}
