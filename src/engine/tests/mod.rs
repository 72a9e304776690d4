//! Builds carried out from start to end against an EC2 world in memory, with the server killed at every instant. `world`
//! holds the fakes; `life` tells ordinary builds, `crash` the matrix of deaths, `faults` what comes of each fault of the cloud
//! and the machine (docs/failures.md).

mod crash;
mod faults;
mod life;
mod memory_journal;
mod scheduler;
mod stage_tagger;
mod watcher;
mod world;
