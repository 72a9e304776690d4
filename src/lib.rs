//! Ingot turns Packer templates into golden machine images. `domain` holds the rules, `engine` carries builds out,
//! `api` and `cli` are the ways in, and `app` is the one place where all of it is put together. Dependencies point one
//! way: `domain ← {template, cloud, communicator, provisioner, postprocess, store} ← {steps, engine, logs, auth} ←
//! {api, cli} ← app ← main`.

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod cloud;
pub mod communicator;
pub mod config;
pub mod domain;
pub mod engine;
pub mod gathering;
pub mod lifecycle;
pub mod logs;
pub mod postprocess;
pub mod provisioner;
pub mod steps;
pub mod store;
pub mod telemetry;
pub mod template;
