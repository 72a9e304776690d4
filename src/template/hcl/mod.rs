//! HCL2: parsing with located complaints, the evaluator, and Packer's blocks. Start at [`config::evaluate`].

pub mod blocks;
pub mod builds;
pub mod config;
pub mod eval;
pub mod fmt;
pub mod functions;
pub mod locals;
pub mod options;
pub mod parse;
pub mod string_template;
pub mod syntax;
pub mod variables;
