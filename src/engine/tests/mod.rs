//! Builds carried out from start to end against an EC2 world in memory, with the server killed at every instant. `world`
//! holds the fakes; `life` tells ordinary builds, `disks` those of volumes and surrogates, `crash` the matrix of deaths, `faults` what comes of each fault of the cloud
//! and the machine (docs/failures.md).

mod codes;
mod control;
mod crash;
mod disks;
mod each_step;
mod faults;
mod janitor;
mod late;
mod life;
mod memory_journal;
mod options;
mod scheduler;
mod sequences;
mod session_manager;
mod shared_looks;
mod shell_local;
mod stage_tagger;
mod tally;
mod watcher;
mod world;
