//! Tests of the whole program: the real binary against the sandbox, over HTTP and SSH. Start at `support` (a server, the
//! sandbox, EC2's own API), then read the module of what interests you.
//!
//! `tests/run` starts the sandbox and runs all of this. Tests share one sandbox and run beside each other, so each looks
//! only at what carries its own builds' tags, and faults are asked for in a region that no other test uses.

mod architecture;
mod command_line;
mod crash;
mod dependencies;
mod disks;
mod drain;
mod failures;
mod features;
mod holds;
mod kill_matrix;
mod one_call;
mod packer_commands;
mod pipeline;
mod private_cluster;
mod secret_keys;
mod seeds;
mod session_manager;
mod split_brain;
mod support;
mod zz_nothing_is_left;
