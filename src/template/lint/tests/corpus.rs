//! Templates from Packer's own tests and documentation, where `INGOT_CORPUS` names the folder that has them. They are small
//! and mostly sound: what rules say about them is looked at by a person, and the figures are printed.

use std::path::Path;

use super::*;

#[test]
fn figures_of_the_corpus() {
    let Some(folder) = std::env::var_os("INGOT_CORPUS") else {
        eprintln!("skipped: INGOT_CORPUS is not set");
        return;
    };
    let folder = Path::new(&folder);
    let show = std::env::var_os("INGOT_CORPUS_SHOW").is_some();
    let cases = std::fs::read_to_string(folder.join("cases.jsonl")).unwrap();
    let mut counts: IndexMap<String, usize> = IndexMap::new();
    let (mut templates, mut clean) = (0, 0);
    for case in cases.lines() {
        let case: serde_json::Value = serde_json::from_str(case).unwrap();
        let path = case["file"].as_str().unwrap();
        let Ok(text) = std::fs::read_to_string(folder.join(path)) else { continue };
        if case["kind"] == "fmt" || case["exit"] != 0 {
            continue;
        }
        let found = Given::file(path.rsplit('/').next().unwrap(), &text).found();
        templates += 1;
        clean += usize::from(found.is_empty());
        for finding in found {
            if show {
                println!(
                    "{path}:{}\n    {}",
                    super::line(&finding),
                    finding.source_line.clone().unwrap_or_default().trim()
                );
            }
            let rule = finding.rule.unwrap();
            *counts.entry(rule).or_default() += 1;
        }
    }
    counts.sort_unstable_by(|rule, count, other_rule, other| (other, rule).cmp(&(count, other_rule)));
    eprintln!("{templates} templates, {clean} without findings: {counts:#?}");
    assert!(templates > 0);
    // One template has a variable my_secret with a value; no other has anything that looks like a secret.
    assert_eq!(
        counts.iter().filter(|(rule, _)| rule.starts_with("secret-in")).map(|(_, count)| count).sum::<usize>(),
        1
    );
}
