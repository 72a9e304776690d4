//! Formatting: what is formatted can be formatted again. (Not always to the same text: inside strings that hold line breaks
//! and further strings, Packer's own formatter needs several turns, and this one gives what Packer's gives.)
#![no_main]

use ingot_fuzz::template::hcl::fmt::format;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(once) = format("t.pkr.hcl", text) {
        let again = format("t.pkr.hcl", &once);
        assert!(again.is_ok(), "{again:?}");
    }
});
