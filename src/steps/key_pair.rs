//! The temporary key pair. Made here, kept encrypted; only the public half goes to the cloud.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::cloud::{Filter, KeyPair};
use crate::communicator::ssh;
use crate::domain::failure::Failure;
use crate::engine::step::{Made, Step, StepContext, StepError, StepResult};

use super::{finding, image_tags, names, removal, retry};

pub struct MakeKeyPair;

#[derive(Debug, Serialize, Deserialize)]
pub struct Intent {
    region: String,
    key_name: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Output {
    pub key_pair_id: String,
    pub key_name: String,
    /// One `authorized_keys` line without comment.
    pub public_key: String,
}

#[async_trait]
impl Step for MakeKeyPair {
    type Intent = Intent;
    type Output = Output;

    fn intent(&self, context: &StepContext) -> Result<Intent, Failure> {
        Ok(Intent { region: context.ebs()?.region.clone(), key_name: names::temporary(context) })
    }

    async fn act(&self, context: &StepContext, intent: &Intent) -> StepResult<Output> {
        let public_key = attempt_key(context).await?;
        context.log.say(&format!("Creating temporary key pair {}", intent.key_name)).await;
        let tags = finding::temporary_tags(context, &intent.key_name, &image_tags::run_tags(context)?);
        let import = || context.cloud.import_key_pair(&intent.region, &intent.key_name, &public_key, &tags);
        let pair = retry::make(context, |_| false, import, || adopt(context, intent, &public_key)).await?;
        Ok(Output { key_pair_id: pair.id, key_name: intent.key_name.clone(), public_key })
    }

    async fn undo(
        &self,
        context: &StepContext,
        intent: &Intent,
        made: Made<Output>,
        _found: &[String],
    ) -> StepResult<Vec<String>> {
        let mut ids = match &made {
            Made::Yes(output) => vec![output.key_pair_id.clone()],
            _ => finding::look(context, &made, || find(context, &intent.region))
                .await?
                .into_iter()
                .map(|pair| pair.id)
                .collect(),
        };
        ids.dedup();
        for id in &ids {
            removal::until_gone(context, || context.cloud.delete_key_pair(&intent.region, id)).await?;
            context.log.say(&format!("Deleted temporary key pair {id}")).await;
        }
        Ok(ids)
    }
}

/// The attempt's public key; makes and stores the pair unless that was done before.
async fn attempt_key(context: &StepContext) -> StepResult<String> {
    let attempt = context.facts.attempt;
    if context.records.private_key(attempt).await?.is_none() {
        let options = &context.ebs()?.communicator;
        let (kind, bits) = (options.temporary_key_pair_type, options.temporary_key_pair_bits);
        // Finding primes takes seconds in which nothing else would go on.
        let making = tokio::task::spawn_blocking(move || ssh::generate_key(kind, bits, &mut rand::rng()));
        let pair = making.await.map_err(|error| Failure::ours("key-pair", error.to_string()))?;
        let pair = pair.map_err(|error| Failure::ours("key-pair", error.to_string()))?;
        context.records.store_private_key(attempt, &pair.private_openssh).await?;
    }
    // Read back: a key that was stored before this one stays, and is the one that counts.
    let stored = context.records.private_key(attempt).await?;
    let stored = stored.ok_or_else(|| Failure::ours("key-missing", "the attempt's private key is not stored"))?;
    Ok(ssh::public_key_of(stored.expose_secret()).map_err(|error| Failure::ours("key-broken", error.to_string()))?)
}

async fn find(context: &StepContext, region: &str) -> StepResult<Vec<KeyPair>> {
    let own = finding::own(context);
    retry::call(context, || context.cloud.find_key_pairs(region, &own)).await
}

/// The bytes of a fingerprint: EC2 writes an Ed25519 key's in Base64, others in hexadecimal digits with colons.
fn digest(fingerprint: &str) -> Option<Vec<u8>> {
    let hexadecimal: String = fingerprint.chars().filter(|c| *c != ':').collect();
    if hexadecimal.len() == 64 && hexadecimal.chars().all(|c| c.is_ascii_hexdigit()) {
        return hex::decode(hexadecimal).ok();
    }
    STANDARD_NO_PAD.decode(fingerprint.trim_start_matches("SHA256:").trim_end_matches('=')).ok()
}

/// The pair of this name, if it is ours and has our key.
async fn adopt(context: &StepContext, intent: &Intent, public_key: &str) -> StepResult<Option<KeyPair>> {
    let by_name = [Filter::new("key-name", [&intent.key_name])];
    let found = retry::call(context, || context.cloud.find_key_pairs(&intent.region, &by_name)).await?;
    let Some(pair) = found.into_iter().next() else { return Ok(None) };
    if !finding::is_own(context, &pair.tags) {
        return Err(StepError::Failed(Failure::cloud(
            "key-pair-taken",
            format!("a key pair named {} exists and is not this build's", intent.key_name),
        )));
    }
    // What EC2 shows of an RSA key is not computed here; its name and tags are this attempt's, which has one key.
    if !public_key.starts_with("ssh-ed25519 ") {
        return Ok(Some(pair));
    }
    let expected = ssh::ec2_fingerprint(public_key).map_err(|error| Failure::ours("key-broken", error.to_string()))?;
    if digest(&pair.fingerprint).is_none() || digest(&pair.fingerprint) != digest(&expected) {
        return Err(StepError::Failed(Failure::cloud(
            "key-pair-differs",
            format!("key pair {} has another key than this build's", intent.key_name),
        )));
    }
    Ok(Some(pair))
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn fingerprints_are_compared_by_their_bytes() {
        let base64 = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
        let colons = (1..=32).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
        assert_eq!(digest(base64), digest(&colons));
        assert_eq!(digest(base64).unwrap().len(), 32);
        assert_eq!(digest("not a fingerprint"), None);
    }
}
