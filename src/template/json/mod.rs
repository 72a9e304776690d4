//! Legacy JSON templates. [`parse`] keeps positions and refuses repeated keys, [`template`] reads the structure, [`user`]
//! evaluates the variables, and [`evaluate`] makes builds of it all.

pub mod evaluate;
pub mod hcl;
pub mod parse;
pub mod ranges;
mod renamed;
pub mod template;
pub mod tree;
pub mod user;
