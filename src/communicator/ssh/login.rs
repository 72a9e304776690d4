//! Who we say that we are: a key, with or without a certificate, or a password.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg};
use secrecy::{ExposeSecret, SecretString};

use super::connect::Client;
use crate::communicator::CommunicatorError;

/// Rounds of questions that a server may ask.
const MOST_ROUNDS: usize = 5;

/// How to log in; what is given is tried in the order of the fields.
#[derive(Debug, Clone, Default)]
pub struct Login {
    pub username: String,
    /// OpenSSH or PEM form, without passphrase.
    pub private_key: Option<SecretString>,
    /// An OpenSSH user certificate for the key.
    pub certificate: Option<String>,
    pub password: Option<SecretString>,
    /// Give the password as the answer to questions only, and not as a password.
    pub interactive: bool,
}

/// A [`Login`] whose keys are read.
pub(super) struct Credentials {
    pub(super) username: String,
    key: Option<Arc<PrivateKey>>,
    certificate: Option<Certificate>,
    password: Option<SecretString>,
    interactive: bool,
}

impl Credentials {
    pub(super) fn read(login: &Login) -> Result<Self, CommunicatorError> {
        let invalid = |error: &dyn std::fmt::Display| CommunicatorError::InvalidKey(error.to_string());
        let key = login.private_key.as_ref().map(|key| russh::keys::decode_secret_key(key.expose_secret(), None));
        let certificate = login.certificate.as_deref().map(Certificate::from_openssh);
        Ok(Self {
            username: login.username.clone(),
            key: key.transpose().map_err(|error| invalid(&error))?.map(Arc::new),
            certificate: certificate.transpose().map_err(|error| invalid(&error))?,
            password: login.password.clone(),
            interactive: login.interactive,
        })
    }

    /// Whether the server lets us in.
    pub(super) async fn authenticate(&self, handle: &mut Handle<Client>) -> Result<bool, russh::Error> {
        let user = self.username.as_str();
        if let Some(key) = &self.key {
            let result = if let Some(certificate) = &self.certificate {
                handle.authenticate_openssh_cert(user, Arc::clone(key), certificate.clone()).await?
            } else {
                let rsa = key.algorithm().is_rsa();
                let hash = if rsa { handle.best_supported_rsa_hash().await?.flatten() } else { None };
                let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
                handle.authenticate_publickey(user, key).await?
            };
            if matches!(result, AuthResult::Success) {
                return Ok(true);
            }
        }
        let Some(password) = &self.password else { return Ok(false) };
        if !self.interactive {
            let result = handle.authenticate_password(user, password.expose_secret()).await?;
            if matches!(result, AuthResult::Success) {
                return Ok(true);
            }
        }
        // Where PAM asks, the password is the answer.
        answer_questions(handle, user, password).await
    }
}

async fn answer_questions(
    handle: &mut Handle<Client>,
    user: &str,
    password: &SecretString,
) -> Result<bool, russh::Error> {
    if handle.is_closed() {
        return Ok(false);
    }
    let mut said = handle.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..MOST_ROUNDS {
        match said {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.expose_secret().to_owned()).collect();
                said = handle.authenticate_keyboard_interactive_respond(answers).await?;
            }
        }
    }
    Ok(false)
}
