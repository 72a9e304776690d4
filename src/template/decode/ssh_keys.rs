//! Keys that a template brings: a file of the bundle, or the key's own text, which a sensitive variable can hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::{Decoder, Located};

const FROM: &str = "send the file with the template, or give the key's text in a sensitive variable";
/// What an OpenSSH private key begins with.
const OPENSSH: &[u8] = b"openssh-key-v1\0";
/// The cipher behind it, of a key without a passphrase.
const NO_CIPHER: &[u8] = b"\0\0\0\x04none";

/// A private key without a passphrase.
pub fn private_key(decoder: &Decoder<'_>, name: &'static str) -> Option<String> {
    let given = decoder.text(name)?;
    let text = text_of(decoder, &given, name, "-----BEGIN ")?;
    match kind_of(&text) {
        Kind::NoKey => {
            let detail = "one is -----BEGIN … PRIVATE KEY-----, Base64, -----END … PRIVATE KEY-----; PuTTY keys must be converted";
            decoder.error(&given.at, format!("{name} is no private key"), detail);
            return None;
        }
        Kind::Locked => {
            let detail = "nobody is there to type it: ssh-keygen -p takes it off; keep the key in a sensitive variable";
            decoder.error(&given.at, format!("{name} has a passphrase"), detail);
        }
        Kind::Open => {}
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

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    NoKey,
    /// A key with a passphrase.
    Locked,
    Open,
}

fn kind_of(text: &str) -> Kind {
    let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    let framed = |line: &str, word: &str| line.starts_with(word) && line.ends_with("PRIVATE KEY-----");
    let [first, inner @ .., last] = lines.as_slice() else { return Kind::NoKey };
    if !framed(first, "-----BEGIN ") || !framed(last, "-----END ") {
        return Kind::NoKey;
    }
    // Old keys have headers, as mail has.
    let body: String = inner.iter().copied().filter(|line| !line.contains(':')).collect();
    let bytes = STANDARD.decode(body).unwrap_or_default();
    if bytes.is_empty() {
        return Kind::NoKey;
    }
    let locked = if first.contains("BEGIN OPENSSH") {
        let Some(rest) = bytes.strip_prefix(OPENSSH) else { return Kind::NoKey };
        !rest.starts_with(NO_CIPHER)
    } else {
        text.contains("ENCRYPTED")
    };
    if locked { Kind::Locked } else { Kind::Open }
}
