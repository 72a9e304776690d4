//! What a server of an installation does.

use super::state::text_enum;

text_enum! {
    /// Servers of one installation may share the work.
    ServerRole {
        /// Answers requests and builds.
        All = "all",
        /// Answers requests; builds, schedules and clean-up are left to others.
        Api = "api",
        /// Builds, serves schedules, tags and cleans up; answers only whether it is well.
        Worker = "worker",
    }
}

impl ServerRole {
    #[must_use]
    pub fn works(self) -> bool {
        self != Self::Api
    }

    #[must_use]
    pub fn answers(self) -> bool {
        self != Self::Worker
    }
}
