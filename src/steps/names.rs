//! Temporary names and client tokens: a function of (build, attempt, step) and, for launches, of the place; never of the
//! server or its lease. EC2 remembers a token after its instance is gone and treats it as zonal, so each attempt, each
//! place and each retry that a person asked for has its own.

use sha2::{Digest, Sha256};

use crate::engine::step::StepContext;

/// The name of a temporary thing, such as `ingot-0192f3c1…-1`; unique to the attempt.
#[must_use]
pub fn temporary(context: &StepContext) -> String {
    format!("ingot-{}-{}", context.facts.build.0.simple(), context.facts.attempt)
}

/// A client token, 64 ASCII characters. `place` tells launches in different subnets apart.
#[must_use]
pub fn client_token(context: &StepContext, place: &str) -> String {
    let mut hash = Sha256::new();
    for part in [&context.facts.build.to_string(), &context.facts.attempt.to_string(), &context.step.0, place] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    if context.retries > 0 {
        hash.update(context.retries.to_be_bytes());
    }
    hex::encode(hash.finalize())
}
