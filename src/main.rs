//! The `ingot` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ingot::app::main(std::env::args_os())
}
