//! Ingot's rules, and nothing else: what a run, a build, a plan and an image are and which moves are legal. Everything
//! here is pure; no tokio, sqlx, axum or AWS types, and no clock but the [`clock::Clock`] that a caller passes.
//! Start reading at `plan`, then `journal` and `recovery`.

pub mod allowed_url;
pub mod bundle;
pub mod clock;
pub mod config;
pub mod content_key;
pub mod dedupe;
pub mod diagnostic;
pub mod error;
pub mod failure;
pub mod hold;
pub mod ids;
pub mod image;
pub mod janitor;
pub mod journal;
pub mod lint;
pub mod plan;
pub mod policy;
pub mod recovery;
pub mod role;
pub mod run;
pub mod schedule;
pub mod server_role;
pub mod stage;
pub mod state;
pub mod tags;
