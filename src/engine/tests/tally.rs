//! Counts how builds ended that died somewhere, for the table of tests/crash. What was leaked or made twice fails the test
//! at once, so a line that is printed has none of it.

use std::collections::BTreeMap;

use super::world::TestWorld;
use crate::domain::state::BuildState;

/// How a build that kept the promise ended.
pub fn outcome(world: &TestWorld) -> &'static str {
    if world.state() == BuildState::Succeeded { "finished" } else { "undone" }
}

#[derive(Default)]
pub struct Tally(BTreeMap<(String, &'static str, &'static str), usize>);

impl Tally {
    /// Notes a build that kept the promise.
    pub fn note(&mut self, plan: &str, point: &'static str, world: &TestWorld) {
        *self.0.entry((plan.to_owned(), point, outcome(world))).or_default() += 1;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for ((plan, point, outcome), number) in &self.0 {
            println!("CRASH\t{plan}\t{point}\t{outcome}\t{number}");
        }
    }
}
