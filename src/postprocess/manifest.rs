//! The `manifest` post-processor: Packer's JSON, key for key
//! (developer.hashicorp.com/packer/docs/post-processors/manifest).

use serde_json::{Map, Value, json};

use crate::domain::config::postprocessor::Manifest;
use crate::domain::ids::RunId;

/// What a manifest says of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutcome {
    pub name: String,
    pub builder_type: String,
    /// Unix seconds.
    pub build_time: i64,
    pub artifact_id: String,
    /// Names and sizes in bytes of what a builder of files made; empty of an AMI.
    pub files: Vec<(String, usize)>,
    pub run_id: RunId,
    pub custom_data: Vec<(String, String)>,
}

/// One element of `builds`. An AMI has no local files, so `files` is `null` and `strip_path` has nothing to strip, as with
/// Packer.
#[must_use]
pub fn entry(options: &Manifest, outcome: &BuildOutcome) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), outcome.name.clone().into());
    entry.insert("builder_type".into(), outcome.builder_type.clone().into());
    if !options.strip_time {
        entry.insert("build_time".into(), outcome.build_time.into());
    }
    entry.insert("files".into(), files(options, &outcome.files));
    entry.insert("artifact_id".into(), outcome.artifact_id.clone().into());
    entry.insert("packer_run_uuid".into(), outcome.run_id.to_string().into());
    let custom = if outcome.custom_data.is_empty() {
        Value::Null
    } else {
        // Go prints maps in key order.
        let mut pairs = outcome.custom_data.clone();
        pairs.sort();
        Value::Object(pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect())
    };
    entry.insert("custom_data".into(), custom);
    Value::Object(entry)
}

fn files(options: &Manifest, files: &[(String, usize)]) -> Value {
    if files.is_empty() {
        return Value::Null;
    }
    let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
    let shown = |name: &str| if options.strip_path { base(name) } else { name.to_owned() };
    files.iter().map(|(name, size)| json!({"name": shown(name), "size": size})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;

    #[test]
    fn an_entry_has_packers_keys_in_packers_order() {
        let options = Manifest {
            output: "packer-manifest.json".into(),
            strip_path: true,
            strip_time: false,
            custom_data: IndexMap::new(),
        };
        let outcome = BuildOutcome {
            name: "ubuntu".into(),
            builder_type: "amazon-ebs".into(),
            build_time: 1_753_000_000,
            artifact_id: "us-east-1:ami-1".into(),
            files: Vec::new(),
            run_id: RunId(uuid::Uuid::nil()),
            custom_data: vec![("b".into(), "2".into()), ("a".into(), "1".into())],
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&entry(&options, &outcome)).unwrap(), @r#"
        {
          "name": "ubuntu",
          "builder_type": "amazon-ebs",
          "build_time": 1753000000,
          "files": null,
          "artifact_id": "us-east-1:ami-1",
          "packer_run_uuid": "00000000-0000-0000-0000-000000000000",
          "custom_data": {
            "a": "1",
            "b": "2"
          }
        }
        "#);
        let untimed = entry(&Manifest { strip_time: true, ..options }, &outcome);
        assert!(untimed.get("build_time").is_none());
    }
}
