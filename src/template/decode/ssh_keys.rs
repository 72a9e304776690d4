//! Keys that a template brings: a file of the bundle, or the key's own text, which a sensitive variable can hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::{Decoder, Located};

const FROM: &str = "send the file with the template, or give the key's text in a sensitive variable";
/// What an OpenSSH private key begins with, and the cipher of one without a passphrase behind it.
const OPENSSH: &[u8] = b"openssh-key-v1\0\0\0\0\x04none";

/// A private key without a passphrase.
pub fn private_key(decoder: &Decoder<'_>, name: &'static str) -> Option<String> {
    let given = decoder.text(name)?;
    let text = text_of(decoder, &given, name, "-----BEGIN ")?;
    if !text.trim_start().starts_with("-----BEGIN ") {
        decoder.error(
            &given.at,
            format!("{name} is no private key"),
            "it begins with -----BEGIN …; PuTTY keys must be converted",
        );
        return None;
    }
    if has_passphrase(&text) {
        let detail = "nobody is there to type it: ssh-keygen -p takes it off; keep the key in a sensitive variable";
        decoder.error(&given.at, format!("{name} has a passphrase"), detail);
    }
    Some(text)
}

/// An OpenSSH user certificate.
pub fn certificate(decoder: &Decoder<'_>, name: &'static str) -> Option<String> {
    let given = decoder.text(name)?;
    let text = text_of(decoder, &given, name, "-cert-v01@openssh.com ")?;
    if !text.contains("-cert-v01@openssh.com ") {
        decoder.error(&given.at, format!("{name} is no OpenSSH user certificate"), "ssh-keygen -s makes one");
        return None;
    }
    Some(text.trim().to_owned())
}

/// The value itself when it has `mark` in it, else the text of the bundle's file of that path.
fn text_of(decoder: &Decoder<'_>, given: &Located<String>, name: &str, mark: &str) -> Option<String> {
    if given.value.contains(mark) {
        return Some(given.value.clone());
    }
    // A path outside of the bundle is one on the machine of whoever wrote the template.
    let outside = given.value.starts_with(['/', '~']) || given.value.contains('\n');
    if outside {
        let summary = format!("{name}: the server can't read files of your machine");
        decoder.error(&given.at, summary, FROM);
        return None;
    }
    let (_, file) = decoder.bundle_file(given, name)?;
    let text = std::str::from_utf8(&file.bytes).ok();
    if text.is_none() {
        decoder.error(&given.at, format!("{name} is not text"), "");
    }
    text.map(str::to_owned)
}

fn has_passphrase(text: &str) -> bool {
    if text.contains("ENCRYPTED") {
        return true;
    }
    let body: String = text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let is_openssh = text.contains("BEGIN OPENSSH PRIVATE KEY");
    is_openssh && STANDARD.decode(body).is_ok_and(|bytes| !bytes.starts_with(OPENSSH))
}
