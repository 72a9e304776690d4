//! Encodings of text.

use std::io::Write;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use encoding_rs::{Encoding, UTF_8};
use flate2::{Compression, GzBuilder};

use super::{Call, Function, FunctionError, FunctionResult, any, csv, function, json, text, yaml_decode, yaml_encode};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("base64decode", &[text("str")], |call| match String::from_utf8(base64(call, 0)?) {
        Ok(text) => Ok(Value::string(text)),
        Err(_) => Call::fail(0, "the decoded bytes are no UTF-8 text; textdecodebase64(…) knows other encodings"),
    }),
    function("base64encode", &[text("str")], |call| Ok(Value::string(STANDARD.encode(call.text(0)?.as_bytes())))),
    function("base64gzip", &[text("str")], |call| {
        let text = call.text(0)?;
        call.runtime.spend(text.len() as u64)?;
        // The same header as Go's: no name, no time, an unknown system.
        let mut writer = GzBuilder::new().operating_system(255).write(Vec::new(), Compression::default());
        let written = writer.write_all(text.as_bytes()).and_then(|()| writer.finish());
        written.map(|bytes| Value::string(STANDARD.encode(bytes))).map_err(|error| error.to_string().into())
    }),
    function("csvdecode", &[text("str")], csv::decode),
    function("jsondecode", &[text("str")], json::decode),
    function("jsonencode", &[any("val")], json::encode),
    function("textdecodebase64", &[text("source"), text("encoding")], text_decode),
    function("textencodebase64", &[text("string"), text("encoding")], text_encode),
    function("urlencode", &[text("str")], |call| Ok(Value::string(url_encode(&call.text(0)?)))),
    function("yamldecode", &[text("src")], yaml_decode::decode),
    function("yamlencode", &[super::any_or_null("value")], yaml_encode::encode),
];

/// Base64 as Go's standard decoder takes it: with padding, line breaks anywhere, and spare bits of the last letter free.
pub(super) fn base64(call: &Call<'_>, at: usize) -> Result<Vec<u8>, FunctionError> {
    let decoder =
        GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));
    let text: String = call.text(at)?.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    decoder.decode(text).map_err(|_| FunctionError::at(at, "this is no base64"))
}

/// Go's `url.QueryEscape`.
fn url_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            _ => {
                encoded.push('%');
                encoded.push_str(&hex::encode_upper([byte]));
            }
        }
    }
    encoded
}

/// What writes UTF-16, which the web's encodings only read.
enum Charset {
    Web(&'static Encoding),
    Utf16 { big_endian: bool },
}

fn charset(call: &Call<'_>, at: usize) -> Result<Charset, FunctionError> {
    let name = call.text(at)?;
    match name.to_ascii_lowercase().as_str() {
        "utf-16" | "utf-16be" | "utf16be" => return Ok(Charset::Utf16 { big_endian: true }),
        "utf-16le" | "utf16le" => return Ok(Charset::Utf16 { big_endian: false }),
        _ => {}
    }
    match Encoding::for_label(name.as_bytes()) {
        Some(encoding) => Ok(Charset::Web(encoding)),
        None => Call::fail(at, format!("there is no encoding {name:?}; use a name of IANA's list such as UTF-16LE")),
    }
}

fn text_encode(call: &Call<'_>) -> FunctionResult {
    let text = call.text(0)?;
    let bytes: Vec<u8> = match charset(call, 1)? {
        Charset::Utf16 { big_endian } => text
            .encode_utf16()
            .flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect(),
        Charset::Web(encoding) if encoding == UTF_8 => text.as_bytes().to_vec(),
        Charset::Web(encoding) => {
            let (bytes, _, unmappable) = encoding.encode(&text);
            if unmappable {
                let message = format!("the text holds characters that {} can't represent", encoding.name());
                return Call::fail(0, message);
            }
            bytes.into_owned()
        }
    };
    Call::reserve(bytes.len().saturating_mul(2))?;
    Ok(Value::string(STANDARD.encode(bytes)))
}

fn text_decode(call: &Call<'_>) -> FunctionResult {
    let bytes = base64(call, 0)?;
    let decoded = match charset(call, 1)? {
        Charset::Utf16 { big_endian } => {
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|pair| {
                    let pair = [pair[0], pair[1]];
                    if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
                })
                .collect();
            (bytes.len() % 2 == 0).then(|| String::from_utf16(&units).ok()).flatten()
        }
        Charset::Web(encoding) => {
            encoding.decode_without_bom_handling_and_without_replacement(&bytes).map(std::borrow::Cow::into_owned)
        }
    };
    match decoded {
        Some(text) => Ok(Value::string(text)),
        None => Call::fail(0, "the decoded bytes are no text in this encoding"),
    }
}
