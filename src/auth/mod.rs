//! Who is asking: bearer tokens and the principals behind them. A token is `ingot_` and 32 random bytes; the database
//! knows only its SHA-256. Knows nothing of HTTP: `api/principal.rs` reads the header. Start at [`Authenticator`].

pub mod authenticator;
pub mod token;

pub use authenticator::{Authenticator, Principal};
pub use token::{PlainToken, TokenHash};
