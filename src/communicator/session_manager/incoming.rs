//! The order of what comes: each message once, in the order of their numbers.

use std::collections::BTreeMap;

use super::message::Message;

/// How far ahead of the next message one may be. An agent keeps 10,000 unacknowledged.
const MOST_AHEAD: i64 = 10_000;
/// Of the payloads that wait for earlier ones, together.
const MOST_EARLY_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Incoming {
    expected: i64,
    early: BTreeMap<i64, Message>,
    early_bytes: usize,
}

impl Incoming {
    /// Takes a message, unless there is no room for it. Answers whether it is to be acknowledged: it is kept, or was
    /// already there.
    pub(super) fn offer(&mut self, message: Message) -> bool {
        let ahead = message.sequence.saturating_sub(self.expected);
        if ahead < 0 || self.early.contains_key(&message.sequence) {
            return true;
        }
        let bytes = self.early_bytes + message.payload.len();
        if ahead > 0 && (ahead > MOST_AHEAD || bytes > MOST_EARLY_BYTES) {
            return false;
        }
        self.early_bytes = bytes;
        self.early.insert(message.sequence, message);
        true
    }

    /// The next message, if it is there.
    pub(super) fn next(&mut self) -> Option<Message> {
        let message = self.early.remove(&self.expected)?;
        self.early_bytes -= message.payload.len();
        self.expected = self.expected.saturating_add(1);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::message::{MessageType, PayloadType};
    use super::*;

    fn message(sequence: i64, length: usize) -> Message {
        Message {
            kind: MessageType::Output,
            created: 1,
            sequence,
            flags: 0,
            id: Uuid::nil(),
            payload_type: PayloadType::Output,
            payload: Bytes::from(vec![0; length]),
        }
    }

    #[test]
    fn what_has_come_already_is_acknowledged_again_and_not_kept() {
        let mut incoming = Incoming::default();
        for sequence in [0, 0, -5, i64::MIN] {
            assert!(incoming.offer(message(sequence, 1)));
        }
        assert_eq!(incoming.next().map(|message| message.sequence), Some(0));
        assert!(incoming.offer(message(0, 1)) && incoming.next().is_none());
    }

    #[test]
    fn what_is_too_far_ahead_is_not_kept() {
        let mut incoming = Incoming::default();
        assert!(!incoming.offer(message(i64::MAX, 1)));
        assert!(!incoming.offer(message(MOST_AHEAD + 1, 1)));
        assert!(incoming.offer(message(MOST_AHEAD, 1)));
        let large = 512 * 1024;
        let kept = (1..100).filter(|sequence| incoming.offer(message(*sequence, large))).count();
        assert!((30..=32).contains(&kept), "{kept} of half a megabyte each");
        assert!(incoming.offer(message(0, large)), "the next one is always taken: it makes room");
    }

    proptest! {
        #[test]
        fn any_order_with_repetitions_comes_out_in_order(
            order in Just((0..40_i64).collect::<Vec<_>>()).prop_shuffle(),
            again in prop::collection::vec(0..40_i64, 0..40),
        ) {
            let mut incoming = Incoming::default();
            let mut seen = Vec::new();
            let mut repeated = again.into_iter();
            for sequence in order {
                for sequence in std::iter::once(sequence).chain(repeated.next()) {
                    prop_assert!(incoming.offer(message(sequence, 3)));
                    while let Some(message) = incoming.next() {
                        seen.push(message.sequence);
                    }
                }
            }
            prop_assert_eq!(seen, (0..40).collect::<Vec<_>>());
            prop_assert_eq!(incoming.early_bytes, 0);
        }
    }
}
