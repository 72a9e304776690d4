//! Formatting: what comes out is final, and says the same.
#![no_main]

use ingot_fuzz::template::hcl::fmt::format;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(once) = format("t.pkr.hcl", text) {
        assert_eq!(format("t.pkr.hcl", &once).as_deref(), Ok(once.as_str()));
    }
});
