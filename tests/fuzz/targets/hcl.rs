//! A template in HCL2.
#![no_main]

use indexmap::IndexMap;

libfuzzer_sys::fuzz_target!(|text: &[u8]| ingot_fuzz::evaluate("t.pkr.hcl", text, &IndexMap::new()));
