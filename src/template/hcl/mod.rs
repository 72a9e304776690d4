//! HCL2: parsing with located complaints, the evaluator, and Packer's blocks. Start at [`config::evaluate`].

mod access;
pub mod blocks;
mod call;
pub mod config;
mod data;
mod dynamic;
pub mod eval;
pub mod fmt;
pub mod functions;
mod graph;
mod late;
pub mod late_run;
mod operators;
pub mod options;
pub mod parse;
mod parts;
pub mod plan;
pub mod plugins;
mod registry;
mod string_template;
pub mod syntax;
pub mod type_expr;
pub mod variables;
pub mod walk;
