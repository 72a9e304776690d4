//! Key pairs for getting into a build's machine, and the fingerprints EC2 shows for them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::CryptoRng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::RsaKeypair;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::communicator::CommunicatorError;
use crate::domain::config::communicator::KeyPairType;

/// A new key pair. Only the public half may leave the server.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// OpenSSH PEM.
    pub private_openssh: SecretString,
    /// One `authorized_keys` line without comment: `ssh-ed25519 AAAA…`.
    pub public_openssh: String,
    /// As `ssh-keygen -l` prints it: `SHA256:…` without padding.
    pub fingerprint: String,
    /// What EC2's `DescribeKeyPairs` shows for the imported key; `None` for RSA, whose fingerprint is not computed here.
    pub ec2_fingerprint: Option<String>,
}

/// Packer's own default.
const RSA_BITS: u32 = 4096;

/// Makes a key pair. Ed25519 takes well under a millisecond; RSA takes seconds of work, so call it where that does no harm.
/// `rsa_bits`: `None` is 4096.
///
/// # Errors
/// When the library can't make it.
pub fn generate_key<R: CryptoRng + ?Sized>(
    kind: KeyPairType,
    rsa_bits: Option<u32>,
    rng: &mut R,
) -> Result<KeyPair, CommunicatorError> {
    let private = match kind {
        KeyPairType::Ed25519 => PrivateKey::random(rng, Algorithm::Ed25519).map_err(key_error)?,
        KeyPairType::Rsa => {
            let bits = rsa_bits.unwrap_or(RSA_BITS) as usize;
            RsaKeypair::random(rng, bits).map_err(key_error)?.into()
        }
    };
    let public = private.public_key();
    let private_openssh = SecretString::from(private.to_openssh(LineEnding::LF).map_err(key_error)?.to_string());
    Ok(KeyPair {
        private_openssh,
        public_openssh: openssh_line(public)?,
        fingerprint: public.fingerprint(HashAlg::Sha256).to_string(),
        ec2_fingerprint: (kind == KeyPairType::Ed25519).then(|| ec2_fingerprint_of(public)).transpose()?,
    })
}

/// The public half of a private key in OpenSSH PEM, as one `authorized_keys` line without comment.
///
/// # Errors
/// When the text is not such a key.
pub fn public_key_of(private_openssh: &str) -> Result<String, CommunicatorError> {
    let private = PrivateKey::from_openssh(private_openssh).map_err(key_error)?;
    openssh_line(private.public_key())
}

/// The fingerprint that EC2 shows for an imported Ed25519 public key: the padded Base64 of the SHA-256 of its blob
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html>).
///
/// # Errors
/// When the line is not an Ed25519 public key.
pub fn ec2_fingerprint(public_openssh: &str) -> Result<String, CommunicatorError> {
    let public = parse_public(public_openssh)?;
    if public.algorithm() != Algorithm::Ed25519 {
        return Err(CommunicatorError::NotYet(
            "the EC2 fingerprint of a key that is not ed25519",
            "use an ed25519 key pair",
        ));
    }
    ec2_fingerprint_of(&public)
}

fn ec2_fingerprint_of(public: &PublicKey) -> Result<String, CommunicatorError> {
    Ok(STANDARD.encode(Sha256::digest(public.to_bytes().map_err(key_error)?)))
}

/// The key without its comment, so that equal keys give equal lines.
pub(super) fn openssh_line(public: &PublicKey) -> Result<String, CommunicatorError> {
    let mut public = public.clone();
    public.set_comment("");
    Ok(public.to_openssh().map_err(key_error)?.trim_end().to_owned())
}

pub(super) fn parse_public(line: &str) -> Result<PublicKey, CommunicatorError> {
    PublicKey::from_openssh(line.trim()).map_err(key_error)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn key_error(error: russh::keys::ssh_key::Error) -> CommunicatorError {
    CommunicatorError::InvalidKey(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use secrecy::ExposeSecret;

    #[test]
    fn an_ed25519_pair_reads_back_and_depends_on_the_generator_alone() {
        let pair =
            |seed| generate_key(KeyPairType::Ed25519, None, &mut rand::rngs::StdRng::seed_from_u64(seed)).unwrap();
        let (one, again, other) = (pair(1), pair(1), pair(2));
        assert_eq!(one.public_openssh, again.public_openssh);
        assert_ne!(one.public_openssh, other.public_openssh);
        let read = russh::keys::decode_secret_key(one.private_openssh.expose_secret(), None).unwrap();
        assert_eq!(openssh_line(read.public_key()).unwrap(), one.public_openssh);
        assert!(one.public_openssh.starts_with("ssh-ed25519 AAAA"));
    }

    #[test]
    fn the_ec2_fingerprint_is_the_padded_form_of_openssh_s() {
        let pair = generate_key(KeyPairType::Ed25519, None, &mut rand::rngs::StdRng::seed_from_u64(3)).unwrap();
        let padded = ec2_fingerprint(&format!("{} comment here", pair.public_openssh)).unwrap();
        assert_eq!(Some(padded.clone()), pair.ec2_fingerprint);
        assert_eq!(format!("SHA256:{}", padded.trim_end_matches('=')), pair.fingerprint);
        assert!(padded.ends_with('='));
    }

    #[test]
    fn an_rsa_pair_reads_back() {
        let pair = generate_key(KeyPairType::Rsa, Some(2048), &mut rand::rngs::StdRng::seed_from_u64(3)).unwrap();
        assert_eq!(public_key_of(pair.private_openssh.expose_secret()).unwrap(), pair.public_openssh);
        assert!(pair.public_openssh.starts_with("ssh-rsa AAAA") && pair.ec2_fingerprint.is_none());
    }
}
