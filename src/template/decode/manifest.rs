//! The `manifest` post-processor's options.

use super::body::Decoder;
use crate::domain::bundle::normalise;
use crate::domain::config::postprocessor::Manifest;
use crate::template::legacy::early::{Late, SOURCE_AMI};

const CUSTOM_DATA: Late = SOURCE_AMI;

/// Reads the options. Complaints go to the decoder's context.
#[must_use]
pub fn decode(decoder: &Decoder<'_>) -> Manifest {
    let output = decoder.text("output");
    if let Some(output) = &output
        && let Err(error) = normalise(&output.value)
    {
        decoder.error(
            &output.at,
            format!("output: {error}"),
            "the manifest becomes a file of the run; give it a plain name",
        );
    }
    let manifest = Manifest {
        output: output.map_or_else(|| "packer-manifest.json".to_owned(), |output| output.value),
        strip_path: decoder.flag("strip_path").unwrap_or(false),
        strip_time: decoder.flag("strip_time").unwrap_or(false),
        custom_data: decoder.late_map("custom_data", CUSTOM_DATA),
    };
    // The manifest never takes the artifact away, so keeping it changes nothing.
    let _ = decoder.flag("keep_input_artifact");
    decoder.finish("the manifest post-processor", &[]);
    manifest
}
