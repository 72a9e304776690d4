//! Formatting. What the formatted text is like is compared with Packer's by the tests: Packer's own formatter is not
//! idempotent inside strings that hold line breaks and further strings, and this one gives what Packer's gives.
#![no_main]

use ingot_fuzz::template::hcl::fmt::format;

libfuzzer_sys::fuzz_target!(|text: &str| drop(format("t.pkr.hcl", text)));
