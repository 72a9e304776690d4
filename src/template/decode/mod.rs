//! From options to the typed configuration of `domain::config`. [`body::Decoder`] reads single options with Packer's weak
//! conversions and complains about what it does not know; each other file knows one component.

pub mod amazon_ebs;
pub mod body;
pub mod breakpoint;
pub mod builders;
pub mod communicator;
pub mod file;
pub mod manifest;
pub mod shell;
pub mod shell_local;
mod ssh_keys;
mod unasked;
