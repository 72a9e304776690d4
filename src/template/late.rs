//! What an evaluation finds that only the running build can answer: an operation that looks into a late value (see
//! [`Late`](super::value::Late)) notes it here, and the expression that it belongs to waits as a whole.

use std::cell::Cell;

use super::value::{Late, Value};

/// What is noted during one evaluation.
#[derive(Debug, Default)]
pub struct Needs {
    looked: Cell<u64>,
    waiting: Cell<u64>,
}

impl Needs {
    /// Notes that an operation needs to see inside of a late value.
    pub fn look(&self) {
        self.looked.set(self.looked.get() + 1);
    }

    /// Notes that an operation looks at the value itself, not only at what a collection holds. Says whether it is late.
    pub fn look_at(&self, value: &Value) -> bool {
        let late = value.late() != Late::No;
        if late {
            self.look();
        }
        late
    }

    /// Notes that an operation looks at the value and at everything in it. Says whether something of it is late.
    pub fn look_into(&self, value: &Value) -> bool {
        let late = value.is_late();
        if late {
            self.look();
        }
        late
    }

    /// How often an operation has looked.
    #[must_use]
    pub fn looked(&self) -> u64 {
        self.looked.get()
    }

    /// An expression waits: what its operations have looked at since then is settled by that.
    pub fn wait(&self, since: u64) {
        self.looked.set(since);
        self.waiting.set(self.waiting.get() + 1);
    }

    /// How many expressions wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.get()
    }
}
