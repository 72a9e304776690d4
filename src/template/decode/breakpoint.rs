//! The `breakpoint` provisioner's options.

use super::body::Decoder;
use crate::domain::config::provisioner::Breakpoint;

/// Reads the options. Complaints go to the decoder's context.
#[must_use]
pub fn decode(decoder: &Decoder<'_>) -> Breakpoint {
    let breakpoint = Breakpoint {
        disable: decoder.flag("disable").unwrap_or(false),
        note: decoder.string("note").unwrap_or_default(),
    };
    decoder.finish("the breakpoint provisioner", &[]);
    breakpoint
}
