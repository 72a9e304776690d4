//! A token as its owner has it, and as the database has it: two types, so that one can't be stored for the other.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// How every token begins, so that secret scanners find one that leaked.
pub const PREFIX: &str = "ingot_";

/// A token in clear. Shown once, when it is made.
#[derive(Debug, Clone)]
pub struct PlainToken(SecretString);

/// SHA-256 of a token. The token has 256 random bits, so a slow hash would add nothing; and a lookup by hash tells an
/// attacker nothing by its duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl PlainToken {
    /// A new token from 32 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// A token that somebody presents.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        Self(SecretString::from(text))
    }

    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.expose_secret().as_bytes()).into())
    }

    /// The token in clear, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognisable_and_its_debug_is_not() {
        let token = PlainToken::from_random([7; 32]);
        assert!(token.expose().starts_with(PREFIX) && token.expose().len() == PREFIX.len() + 43);
        assert_eq!(PlainToken::presented(token.expose()).hash(), token.hash());
        assert!(!format!("{token:?}").contains(token.expose()));
        assert_ne!(token.hash(), PlainToken::from_random([8; 32]).hash());
    }
}
