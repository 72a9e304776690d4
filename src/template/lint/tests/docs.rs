//! Each rule has its page in docs/lint/, and each page its rule.

use std::path::Path;

use crate::template::lint::RULES;

#[test]
fn rules_and_pages_belong_together() {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into());
    let folder = Path::new(&root).join("docs/lint");
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for rule in RULES {
        let page = std::fs::read_to_string(folder.join(format!("{}.md", rule.id)));
        let page = page.unwrap_or_else(|error| panic!("docs/lint/{}.md: {error}", rule.id));
        let level = serde_json::to_value(rule.level).unwrap();
        for part in [
            format!("# {}\n", rule.id),
            format!("Level: {}", level.as_str().unwrap()),
            "## Bad\n".into(),
            "## Good\n".into(),
            format!("ingot:ignore {}", rule.id),
            format!("{} = \"block\"", rule.id),
        ] {
            assert!(page.contains(&part), "docs/lint/{}.md lacks {part:?}", rule.id);
        }
        let row = format!("| [{0}]({0}.md) | {1} | {2} |", rule.id, level.as_str().unwrap(), rule.summary);
        assert!(index.contains(&row), "docs/lint/README.md lacks the row\n{row}");
    }
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let id = name.strip_suffix(".md").unwrap();
        assert!(id == "README" || RULES.iter().any(|rule| rule.id == id), "docs/lint/{name} is about no rule");
    }
}
