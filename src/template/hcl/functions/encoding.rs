//! Encodings of text.

use std::io::Write;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use encoding_rs::{Encoding, UTF_8};
use flate2::{Compression, GzBuilder};

use super::{Call, Function, FunctionError, FunctionResult, any, csv, function, json, text, yaml_decode, yaml_encode};
use crate::template::legacy::escape;
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
    function("urlencode", &[text("str")], |call| Ok(Value::string(escape::url_query(&call.text(0)?)))),
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

/// Encodings by their IANA names. Three of them are not what the web takes these names for.
enum Charset {
    Web(&'static Encoding),
    Utf16 { big_endian: bool, mark: bool },
    Latin1,
}

fn charset(call: &Call<'_>, at: usize) -> Result<Charset, FunctionError> {
    let name = call.text(at)?;
    match name.to_ascii_lowercase().as_str() {
        "utf-16" => return Ok(Charset::Utf16 { big_endian: true, mark: true }),
        "utf-16be" => return Ok(Charset::Utf16 { big_endian: true, mark: false }),
        "utf-16le" => return Ok(Charset::Utf16 { big_endian: false, mark: false }),
        "iso-8859-1" | "iso_8859-1" | "latin1" | "l1" | "ibm819" | "cp819" => return Ok(Charset::Latin1),
        _ => {}
    }
    let ascii = ["us-ascii", "ascii", "us", "ansi_x3.4-1968"].contains(&name.to_ascii_lowercase().as_str());
    match Encoding::for_label(name.as_bytes()).filter(|_| !ascii) {
        Some(encoding) => Ok(Charset::Web(encoding)),
        None => Call::fail(at, format!("there is no encoding {name:?}; use a name of IANA's list such as UTF-16LE")),
    }
}

fn text_encode(call: &Call<'_>) -> FunctionResult {
    let text = call.text(0)?;
    let unmappable =
        |name: &str| FunctionError::at(0, format!("the text holds characters that {name} can't represent"));
    let bytes: Vec<u8> = match charset(call, 1)? {
        Charset::Utf16 { big_endian, mark } => {
            let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
            units.flat_map(|unit: u16| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        }
        Charset::Latin1 => {
            let bytes: Result<_, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
            bytes.map_err(|_| unmappable("ISO-8859-1"))?
        }
        Charset::Web(encoding) if encoding == UTF_8 => text.as_bytes().to_vec(),
        Charset::Web(encoding) => {
            let (bytes, _, lossy) = encoding.encode(&text);
            if lossy {
                return Err(unmappable(encoding.name()));
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
        Charset::Utf16 { big_endian, mark } => match bytes.as_slice() {
            [0xff, 0xfe, rest @ ..] if mark => utf16(rest, false),
            [0xfe, 0xff, rest @ ..] if mark => utf16(rest, true),
            bytes => utf16(bytes, big_endian),
        },
        Charset::Latin1 => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Charset::Web(encoding) => {
            encoding.decode_without_bom_handling_and_without_replacement(&bytes).map(std::borrow::Cow::into_owned)
        }
    };
    match decoded {
        Some(text) => Ok(Value::string(text)),
        None => Call::fail(0, "the decoded bytes are no text in this encoding"),
    }
}

fn utf16(bytes: &[u8], big_endian: bool) -> Option<String> {
    let units = bytes.chunks_exact(2).map(|pair| {
        let pair = [pair[0], pair[1]];
        if big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    });
    bytes.len().is_multiple_of(2).then(|| String::from_utf16(&units.collect::<Vec<u16>>()).ok()).flatten()
}
