//! `domain` and `template` of Ingot, and what the targets share.

#![allow(dead_code)]

#[path = "../../../src/domain/mod.rs"]
pub mod domain;
#[path = "../../../src/template/mod.rs"]
pub mod template;

use chrono::DateTime;
use domain::bundle::Bundle;
use indexmap::IndexMap;
use uuid::Uuid;

/// A file that `file` and `templatefile` can read.
const BESIDE: &[u8] = b"text ${a} %{ for x in [1] }${x}%{ endfor }\n";

/// Reads and evaluates a template of one file, as a run with these variables does.
pub fn evaluate(path: &str, text: &[u8], variables: &IndexMap<String, serde_json::Value>) {
    let mut bundle = Bundle::default();
    let files = [(path, text), ("a.txt", BESIDE)];
    if files.iter().any(|(path, bytes)| bundle.insert(path, bytes.to_vec(), false).is_err()) {
        return;
    }
    let nothing = IndexMap::new();
    let request = template::Request {
        bundle: &bundle,
        variables,
        var_files: &[],
        env: &nothing,
        default_region: None,
        only: &[],
        except: &[],
        git_sha: None,
        now: DateTime::UNIX_EPOCH,
        run_id: Uuid::nil(),
        clean_image: true,
        data: template::DataMode::Unknown,
    };
    // What it says is for other tests; here it must come back at all.
    let _ = template::outline(&bundle);
    let _ = template::evaluate(&request);
}
