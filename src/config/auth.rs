//! `[auth]`: how the first token comes to be.

use secrecy::{ExposeSecret, SecretString};

use super::section::Section;
use super::{Lines, line, secret};
use crate::domain::diagnostic::Diagnostic;

/// Below this a token can be guessed.
const SHORTEST_TOKEN: usize = 16;

#[derive(Debug, Clone)]
pub struct Auth {
    /// An admin token for automation, honoured only until an admin token was ever made.
    pub bootstrap_token: Option<SecretString>,
}

impl Auth {
    pub(super) fn read(root: &mut Section, found: &mut Vec<Diagnostic>) -> Self {
        let mut section = root.section("auth", found);
        let bootstrap_token = section.secret("bootstrap_token", found);
        if bootstrap_token.as_ref().is_some_and(|token| token.expose_secret().len() < SHORTEST_TOKEN) {
            found.push(
                section
                    .error(format!("auth.bootstrap_token is shorter than {SHORTEST_TOKEN} characters"))
                    .with_detail("make one with `openssl rand -hex 32`"),
            );
        }
        section.finish(found);
        Self { bootstrap_token }
    }

    pub(super) fn describe(&self, lines: &mut Lines) {
        line(lines, "auth.bootstrap_token", secret(self.bootstrap_token.is_some()));
    }
}
