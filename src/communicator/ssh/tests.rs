//! The communicator against a real sshd on this machine.

mod connecting;
mod running;
mod transferring;
