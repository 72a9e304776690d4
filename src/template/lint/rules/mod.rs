//! The rules' code, a file for each matter. A check sees the whole template and may find things for several rules.

mod access;
mod clean_up;
mod downloads;
mod files;
mod image;
mod packages;
mod pinning;
mod secrets;
mod shell_habits;
mod tags;

use super::context::Context;
use super::findings::Findings;

pub use secrets::add_uploads;

type Check = fn(&Context<'_>, &mut Findings);

/// All checks. Secrets come first: what they find is hidden in what all others show.
pub const CHECKS: &[Check] = &[
    secrets::check,
    image::check,
    access::check,
    packages::check,
    pinning::check,
    downloads::check,
    clean_up::check,
    tags::check,
    files::check,
    shell_habits::check,
];
