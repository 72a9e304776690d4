//! JSON documents as options: values with their places. `serde_json` knows neither where a value stands nor that a key
//! came twice.

use indexmap::IndexMap;

use super::ranges::Cursor;
use super::tree::{self, Repeats, Tree, TreeKind};
use crate::domain::diagnostic::Diagnostic;
use crate::template::number::Number;
use crate::template::options::{Content, Entry, Node};
use crate::template::source::SourceFile;
use crate::template::value::Value;

/// Parses a document as far as it can be understood, with all its faults; no document means that they make it
/// unreadable.
#[must_use]
pub fn parse(source: &SourceFile) -> (Option<Node>, Vec<Diagnostic>) {
    let (tree, faults) = tree::read(source, Repeats::Refused);
    (tree.map(|tree| node(tree, &mut Cursor::new(source))), faults)
}

fn node(tree: Tree, cursor: &mut Cursor<'_>) -> Node {
    let at = cursor.at(tree.span.start);
    let content = match tree.kind {
        TreeKind::Null => Content::Null,
        TreeKind::Unknown => Content::Unknown,
        TreeKind::Bool(flag) => Content::Bool(flag),
        TreeKind::Number(text) => Number::parse(&text).map_or(Content::Unknown, Content::Number),
        TreeKind::String(text) => Content::String(text),
        TreeKind::List(items) => Content::List(items.into_iter().map(|item| node(item, cursor)).collect()),
        TreeKind::Object(members) => {
            let entries = members.into_iter().map(|member| {
                let key_at = cursor.at(member.key_span.start);
                Entry { key: member.key, key_at, node: node(member.value, cursor) }
            });
            Content::Map(entries.collect())
        }
    };
    Node { at, content }
}

/// The entries of an object.
#[must_use]
pub fn into_entries(node: Node) -> Option<Vec<Entry>> {
    match node.content {
        Content::Map(entries) => Some(entries),
        _ => None,
    }
}

/// A node without its places.
#[must_use]
pub fn to_value(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::NULL,
        Content::Unknown => Value::UNKNOWN,
        Content::Bool(flag) => Value::bool(*flag),
        Content::Number(number) => Value::number(*number),
        Content::String(text) | Content::Late(text) | Content::LateCollection(text) => Value::string(text.as_str()),
        Content::List(items) => Value::tuple(items.iter().map(to_value).collect()),
        Content::Map(entries) => Value::object(
            entries.iter().map(|entry| (entry.key.clone(), to_value(&entry.node))).collect::<IndexMap<_, _>>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document, or its first fault.
    fn document(source: &SourceFile) -> Result<Node, Box<Diagnostic>> {
        let (node, faults) = parse(source);
        match faults.into_iter().next() {
            Some(fault) => Err(Box::new(fault)),
            None => Ok(node.expect("a document without faults")),
        }
    }

    fn complaint(text: &str) -> String {
        document(&SourceFile::new("t.json", text)).unwrap_err().to_string()
    }

    #[test]
    fn faults_have_a_place() {
        insta::assert_snapshot!(complaint("{\"a\": 1,\n \"a\": 2}"), @r#"t.json:2:2: the key "a" is there twice in one object: the first is at t.json:1:2; take one of the two out"#);
        insta::assert_snapshot!(complaint("{\"a\": 1\n \"b\": 2}"), @"t.json:1:8: a , or } is missing here: put a comma between two values");
        insta::assert_snapshot!(complaint("{\"a\": [1,]}"), @"t.json:1:9: there is a comma before a ]: take the comma out");
        insta::assert_snapshot!(complaint("{\"a\": True}"), @r#"t.json:1:7: a value is expected here, not True: did you mean "true"?"#);
        insta::assert_snapshot!(complaint("{\"a\": 012}"), @r#"t.json:1:7: this is no number, or has too many digits: text with digits stands in ""#);
        insta::assert_snapshot!(complaint("{\"a\": \"x\n\"}"), @r#"t.json:1:9: a string can't go over several lines in JSON: write \n for a line break, or close the ""#);
        insta::assert_snapshot!(complaint("{\n  // hm\n}"), @r#"t.json:2:3: JSON has no comments: a key such as "_comment" at the root can hold one"#);
        insta::assert_snapshot!(complaint("{"), @"t.json:1:2: the file ends inside an object: a } is missing");
        assert!(document(&SourceFile::new("t", &"[".repeat(100_000))).is_err());
    }

    #[test]
    fn all_faults_come_at_once() {
        let text =
            "{\n  // comment\n  \"a\": [1 \"x\", 2,],\n  \"b\": \"C:\\dir\",\n  \"a\": {\"c\": 1, \"c\": 2,},\n}";
        let (node, faults) = parse(&SourceFile::new("t.json", text));
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(node.is_some());
        insta::assert_snapshot!(lines.join("\n"), @r#"
        t.json:2:3: JSON has no comments: a key such as "_comment" at the root can hold one
        t.json:3:10: a , or ] is missing here: put a comma between two values
        t.json:3:17: there is a comma before a ]: take the comma out
        t.json:4:11: this escape is not known in JSON: a backslash itself is written \\
        t.json:5:3: the key "a" is there twice in one object: the first is at t.json:3:3; take one of the two out
        t.json:5:17: the key "c" is there twice in one object: the first is at t.json:5:9; take one of the two out
        t.json:5:23: there is a comma before a }: take the comma out
        t.json:5:25: there is a comma before a }: take the comma out
        "#);
        let (_, faults) = parse(&SourceFile::new("t.json", &"[\"\\x\",".repeat(1000)));
        assert!(faults.len() <= 51);
    }

    #[test]
    fn values_agree_with_serde() {
        let text = r#" {"a": [1, -2.5e1, true, null, "x\u00e4\ud83d\ude00\n\/"], "b": {}} "#;
        let ours = to_value(&document(&SourceFile::new("t", text)).unwrap()).to_json();
        let theirs: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(ours["a"][4], theirs["a"][4]);
        assert_eq!(ours["b"], theirs["b"]);
        assert_eq!(ours["a"][1], serde_json::json!(-25));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "[\\[\\]{},:\"\\\\u0-9a-fä \n-]{0,40}") {
            let source = SourceFile::new("t", &text);
            let ours = document(&source);
            // Ours is serde's language but for keys that come twice.
            if serde_json::from_str::<serde_json::Value>(&text).is_err() {
                proptest::prop_assert!(ours.is_err());
            } else if let Err(fault) = ours {
                proptest::prop_assert!(fault.summary.contains("twice") || fault.summary.contains("digits"));
            }
        }
    }
}
