//! The content key: one fingerprint of everything that decides what a run makes. Two runs with the same key make the same
//! image, apart from what time and chance put into it, and apart from the source AMI, which only the cloud can tell.
//!
//! The key is made of named parts (docs/decisions/0011-content-key.md), so that people can be told
//! which of them differs. Every fingerprint is an HMAC-SHA-256 under a secret of the deployment: a part may be a password of
//! few letters, and whoever reads the database must not be able to try them all.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of one block of SHA-256.
const BLOCK: usize = 64;
/// Bytes kept of a part's fingerprint: enough that two parts of one deployment never collide.
const PART_BYTES: usize = 16;

/// Makes fingerprints under one secret.
pub struct ContentHasher {
    key_id: String,
    secret: Zeroizing<[u8; 32]>,
}

/// A run's content: what it is made of, as fingerprints by part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The secret that the fingerprints were made with. Those of another one can't be compared.
    pub key_id: String,
    /// Fingerprints of all parts together.
    pub key: [u8; 32],
    /// By part, such as `template` or `variable:region`.
    pub parts: BTreeMap<String, String>,
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl ContentHasher {
    #[must_use]
    pub fn new(key_id: String, secret: [u8; 32]) -> Self {
        Self { key_id, secret: Zeroizing::new(secret) }
    }

    /// The content with these parts. The order of a value's object keys does not matter.
    #[must_use]
    pub fn content(&self, parts: impl IntoIterator<Item = (String, Value)>) -> Content {
        let fingerprint = |(name, value): (String, Value)| {
            let mut message = Zeroizing::new(name.clone().into_bytes());
            // Names hold no NUL, so where the value begins is never in doubt.
            message.push(0);
            canonical(&value, &mut message);
            let digest = hmac_sha256(&*self.secret, &message);
            (name, hex::encode(&digest[..PART_BYTES]))
        };
        let parts: BTreeMap<String, String> = parts.into_iter().map(fingerprint).collect();
        let mut message = Vec::new();
        for text in parts.iter().flat_map(|(name, digest)| [name, digest]) {
            message.extend_from_slice(&(text.len() as u64).to_be_bytes());
            message.extend_from_slice(text.as_bytes());
        }
        Content { key_id: self.key_id.clone(), key: hmac_sha256(&*self.secret, &message), parts }
    }
}

impl Content {
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.key_id == other.key_id && self.key == other.key
    }

    /// The parts that are not the same in `other`, those that only one has included.
    #[must_use]
    pub fn parts_unlike<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let names: BTreeSet<&String> = self.parts.keys().chain(other.parts.keys()).collect();
        names.into_iter().filter(|name| self.parts.get(*name) != other.parts.get(*name)).map(String::as_str).collect()
    }
}

/// HMAC (RFC 2104) with SHA-256.
#[must_use]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = Zeroizing::new([0_u8; BLOCK]);
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |pad: u8| Zeroizing::new(block.map(|byte| byte ^ pad));
    let inner = Sha256::new().chain_update(*padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(*padded(0x5c)).chain_update(inner).finalize().into()
}

/// JSON with the keys of objects in order.
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            let fields: BTreeMap<&String, &Value> = fields.iter().collect();
            out.push(b'{');
            for (key, value) in fields {
                out.extend_from_slice(Value::from(key.as_str()).to_string().as_bytes());
                out.push(b':');
                canonical(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        plain => out.extend_from_slice(plain.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(parts: &[(&str, Value)]) -> Content {
        let hasher = ContentHasher::new("k1".into(), [7; 32]);
        hasher.content(parts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())))
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let cases = [
            (vec![0x0b; 20], b"Hi There".to_vec(), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expected) in cases {
            assert_eq!(hex::encode(hmac_sha256(&key, &message)), expected);
        }
    }

    #[test]
    fn the_order_of_keys_does_not_matter_and_that_of_items_does() {
        let one = content(&[("a", json!({"x": 1, "y": {"p": [1, 2], "q": null}}))]);
        let other = content(&[("a", json!({"y": {"q": null, "p": [1, 2]}, "x": 1}))]);
        assert!(one.is_same_as(&other));
        let turned = content(&[("a", json!({"x": 1, "y": {"p": [2, 1], "q": null}}))]);
        assert!(!one.is_same_as(&turned));
        assert!(!content(&[("a", json!("1"))]).is_same_as(&content(&[("a", json!(1))])));
        assert!(!content(&[("a", json!(["b"]))]).is_same_as(&content(&[("a", json!(["b,"]))])));
    }

    #[test]
    fn the_parts_that_differ_are_named() {
        let one = content(&[("a", json!(1)), ("b", json!(2)), ("c", json!(3))]);
        let other = content(&[("a", json!(1)), ("b", json!(9)), ("d", json!(3))]);
        assert_eq!(one.parts_unlike(&other), ["b", "c", "d"]);
        assert_eq!(one.parts_unlike(&one.clone()), [""; 0]);
    }

    #[test]
    fn another_secret_makes_other_fingerprints() {
        let parts = || [("a".to_owned(), json!("hunter2"))];
        let one = ContentHasher::new("k1".into(), [7; 32]).content(parts());
        let other = ContentHasher::new("k2".into(), [8; 32]).content(parts());
        assert_ne!(one.parts, other.parts);
        assert!(!one.is_same_as(&other));
        assert!(!one.parts.values().any(|digest| digest.contains(&hex::encode(&Sha256::digest(b"hunter2")[..8]))));
    }
}
