//! A template in JSON.
#![no_main]

use indexmap::IndexMap;

libfuzzer_sys::fuzz_target!(|text: &[u8]| ingot_fuzz::evaluate("t.json", text, &IndexMap::new()));
