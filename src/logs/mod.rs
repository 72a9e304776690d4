//! A build's log: what is said is redacted, cut into lines, numbered by the build's owner, and saved in batches. Start at
//! [`BuildLog`]; `tail` follows a log for the API.

pub mod redact;
pub mod tail;
mod writer;

pub use redact::Redactor;
pub use writer::{BuildLog, StepLog};
