//! Hashes, ids, password hashes, and what is encrypted for a key.

use md5::Md5;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::{Pkcs1v15Encrypt, RsaPrivateKey};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use uuid::Uuid;

use super::encoding::base64;
use super::{Call, Function, FunctionError, FunctionResult, Takes, function, takes, text, variadic};
use crate::template::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    variadic("bcrypt", &[text("str")], takes("cost", Takes::Number), bcrypt),
    function("md5", &[text("str")], hash::<Md5>),
    function("sha1", &[text("str")], hash::<Sha1>),
    function("sha256", &[text("str")], hash::<Sha256>),
    function("sha512", &[text("str")], hash::<Sha512>),
    function("rsadecrypt", &[text("ciphertext"), text("privatekey")], rsa_decrypt),
    function("uuidv4", &[], |call| Ok(Value::string(call.runtime.next_uuid().to_string()))),
    function("uuidv5", &[text("namespace"), text("name")], uuid_v5),
];

fn hash<D: Digest>(call: &Call<'_>) -> FunctionResult {
    Ok(Value::string(hex::encode(D::digest(call.text(0)?.as_bytes()))))
}

/// bcrypt's default cost in Go.
const DEFAULT_COST: u32 = 10;
/// What one round of bcrypt is worth in steps of an evaluation: a cost of 14 still fits, which takes about a second.
const STEPS_PER_ROUND: u64 = 96;
/// What is the same for every cost.
const STEPS_PER_HASH: u64 = 4000;

/// The salt depends on the run, so that the evaluation can be repeated.
fn bcrypt(call: &Call<'_>) -> FunctionResult {
    let password = call.text(0)?;
    let cost = match call.len() {
        1 => DEFAULT_COST,
        2 => match u32::try_from(call.integer(1)?) {
            // Go takes its default for a cost that is too low.
            Ok(cost) if cost < 4 => DEFAULT_COST,
            Ok(cost) if cost <= 31 => cost,
            _ => return Call::fail(1, "the cost must be from 4 to 31"),
        },
        _ => return Call::fail(2, "a text and a cost are all it takes"),
    };
    if password.len() > 72 {
        return Call::fail(0, "bcrypt takes 72 bytes at most");
    }
    call.runtime.spend(STEPS_PER_HASH + (STEPS_PER_ROUND << cost))?;
    let salt = Sha256::digest(call.runtime.next_uuid().as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&salt[..16]);
    match ::bcrypt::hash_with_salt(password.as_bytes(), cost, bytes) {
        Ok(hashed) => Ok(Value::string(hashed.format_for_version(::bcrypt::Version::TwoA))),
        Err(_) => Call::fail(0, "this text can't be hashed"),
    }
}

/// RSA with the padding of PKCS #1 v1.5; the key is in the PEM form of PKCS #1.
fn rsa_decrypt(call: &Call<'_>) -> FunctionResult {
    let cipher = base64(call, 0)?;
    call.runtime.spend(100_000)?;
    let key = call.text(1)?;
    if key.contains("ENCRYPTED") {
        return Call::fail(1, "the key is protected by a password");
    }
    let Ok(key) = RsaPrivateKey::from_pkcs1_pem(key.trim()) else {
        return Call::fail(1, "this is no private key that begins with -----BEGIN RSA PRIVATE KEY-----");
    };
    let Ok(plain) = key.decrypt(Pkcs1v15Encrypt, &cipher) else {
        return Call::fail(0, "the text can't be decrypted with this key");
    };
    String::from_utf8(plain)
        .map(Value::string)
        .map_err(|_| FunctionError::at(0, "the decrypted bytes are no UTF-8 text"))
}

fn uuid_v5(call: &Call<'_>) -> FunctionResult {
    let namespace = match &*call.text(0)? {
        "dns" => Uuid::NAMESPACE_DNS,
        "url" => Uuid::NAMESPACE_URL,
        "oid" => Uuid::NAMESPACE_OID,
        "x500" => Uuid::NAMESPACE_X500,
        other => match Uuid::parse_str(other) {
            Ok(namespace) => namespace,
            Err(_) => return Call::fail(0, "this is neither dns, url, oid, x500 nor a UUID"),
        },
    };
    Ok(Value::string(Uuid::new_v5(&namespace, call.text(1)?.as_bytes()).to_string()))
}
