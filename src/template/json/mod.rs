//! Legacy JSON templates: a parser that keeps positions and refuses repeated keys, and the template itself.

pub mod parse;
pub mod ranges;
pub mod template;
pub mod user;
