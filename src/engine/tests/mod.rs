//! Builds carried out from start to end against an EC2 world in memory, with the server killed at every instant. `world`
//! holds the fakes; `life` tells ordinary builds, `crash` the matrix of deaths.

mod crash;
mod janitor;
mod life;
mod memory_journal;
mod scheduler;
mod stage_tagger;
mod world;
