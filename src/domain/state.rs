//! The states of builds and runs, and the one list of legal moves.

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As it is stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(format!("{other:?} is not one of {}", [$($text),+].join(", "))),
                }
            }
        }
    };
}
pub(crate) use text_enum;

text_enum! {
    /// The life of a build.
    BuildState {
        Queued = "queued",
        Running = "running",
        /// What it made is being removed, after a failure or a cancel.
        Unwinding = "unwinding",
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        /// Ingot can't tell what is right and waits for an operator; the reason says why.
        Stuck = "stuck",
    }
}

text_enum! {
    /// The life of a run: a function of its builds' states, see [`run_state`].
    RunState {
        Queued = "queued",
        Running = "running",
        Unwinding = "unwinding",
        Stuck = "stuck",
        Cancelled = "cancelled",
        Failed = "failed",
        Succeeded = "succeeded",
    }
}

text_enum! {
    /// Whether the temporary things of a build that is over are gone.
    CleanupState {
        /// Nothing was made yet, or the build is still at work.
        None = "none",
        Pending = "pending",
        Done = "done",
        Stuck = "stuck",
        /// The build failed and its run wanted everything left in place for a while; it is removed later.
        Kept = "kept",
    }
}

impl BuildState {
    /// Whether a build may go from this state to `next`.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use BuildState::{Cancelled, Failed, Queued, Running, Stuck, Succeeded, Unwinding};
        matches!(
            (self, next),
            // A queued build that is cancelled has made nothing, so there is nothing to unwind.
            (Queued, Running | Cancelled | Failed)
                // Queued: an interrupted attempt that left nothing behind goes to the next one.
                // Failed: the run wants what was made left in place (`on_error: abort`).
                | (Running, Unwinding | Succeeded | Stuck | Failed)
                | (Unwinding, Queued | Failed | Cancelled | Stuck)
                // The operator's "try again" takes the undo up where it stopped.
                | (Stuck, Unwinding)
                // Retry of a run.
                | (Failed | Cancelled, Queued)
        )
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl RunState {
    /// Whether nothing more happens by itself.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A run's state from those of its builds. `cancel_requested`: somebody asked for the run to stop.
#[must_use]
pub fn run_state(builds: &[BuildState], cancel_requested: bool) -> RunState {
    let any = |state| builds.contains(&state);
    if builds.iter().all(|state| *state == BuildState::Queued) {
        RunState::Queued
    } else if any(BuildState::Queued) || any(BuildState::Running) {
        RunState::Running
    } else if any(BuildState::Unwinding) {
        RunState::Unwinding
    } else if any(BuildState::Stuck) {
        RunState::Stuck
    } else if cancel_requested && any(BuildState::Cancelled) {
        RunState::Cancelled
    } else if any(BuildState::Failed) || any(BuildState::Cancelled) {
        RunState::Failed
    } else {
        RunState::Succeeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_what_its_builds_are() {
        use BuildState::*;
        let cases: &[(&[BuildState], bool, RunState)] = &[
            (&[Queued, Queued], false, RunState::Queued),
            (&[Queued, Succeeded], false, RunState::Running),
            (&[Unwinding, Running], false, RunState::Running),
            (&[Unwinding, Stuck], false, RunState::Unwinding),
            (&[Succeeded, Stuck], false, RunState::Stuck),
            (&[Succeeded, Cancelled], true, RunState::Cancelled),
            (&[Failed, Cancelled], true, RunState::Cancelled),
            (&[Succeeded, Failed], false, RunState::Failed),
            (&[Succeeded, Succeeded], true, RunState::Succeeded),
        ];
        for (builds, cancel, expected) in cases {
            assert_eq!(run_state(builds, *cancel), *expected, "{builds:?} cancel={cancel}");
        }
    }

    #[test]
    fn nothing_leaves_success() {
        assert!(BuildState::ALL.iter().all(|next| !BuildState::Succeeded.may_become(*next)));
        assert!(BuildState::Running.may_become(BuildState::Unwinding));
        assert!(!BuildState::Running.may_become(BuildState::Cancelled), "a running build unwinds first");
    }

    #[test]
    fn texts_round_trip() {
        for state in BuildState::ALL {
            assert_eq!(state.as_str().parse::<BuildState>().unwrap(), *state);
        }
        assert!("done".parse::<BuildState>().unwrap_err().contains("queued"));
    }
}
