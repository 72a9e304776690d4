//! What was sent and is not acknowledged. The first of it is sent again when an acknowledgement is overdue; all of it when a
//! websocket was replaced.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// Messages that may be under way. Of 1 kB each, they fill a fast connection across the world.
const WINDOW: usize = 512;
const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
/// After so many repetitions a message whose successors were acknowledged counts as arrived.
const REPETITIONS: u32 = 10;

#[derive(Debug)]
struct Pending {
    sequence: i64,
    bytes: Bytes,
    sent: Instant,
    repetitions: u32,
    /// One that was sent later has been acknowledged since this one was last sent.
    overtaken: bool,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    next: i64,
    pending: VecDeque<Pending>,
    /// The agent's connection to the port stands: it is ready to take what comes.
    established: bool,
    round_trip: Option<Duration>,
    variation: Duration,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { next: 0, pending: VecDeque::new(), established: false, round_trip: None, variation: Duration::ZERO }
    }
}

impl Outgoing {
    /// How many more may be sent.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.pending.len())
    }

    /// The number of the next message.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The message of the number [`Outgoing::next`] is being sent.
    pub(super) fn sent(&mut self, bytes: Bytes, now: Instant) {
        self.pending.push_back(Pending { sequence: self.next, bytes, sent: now, repetitions: 0, overtaken: false });
        self.next = self.next.saturating_add(1);
    }

    /// Something has come from the port, so the agent is ready.
    pub(super) fn establish(&mut self) {
        self.established = true;
    }

    pub(super) fn acknowledged(&mut self, sequence: i64, now: Instant) {
        // Numbers are in order, and one after the other but for those that are gone.
        let Ok(place) = self.pending.binary_search_by_key(&sequence, |pending| pending.sequence) else { return };
        let Some(gone) = self.pending.remove(place) else { return };
        if gone.repetitions == 0 {
            self.measured(now.saturating_duration_since(gone.sent));
        }
        // The handshake's answer has number 0; the agent takes it before its connection to the port stands.
        self.established |= place == 0 && sequence > 0;
        for earlier in self.pending.iter_mut().take(place).filter(|earlier| earlier.sent <= gone.sent) {
            earlier.overtaken = true;
        }
    }

    /// As TCP reckons it (RFC 6298).
    fn measured(&mut self, took: Duration) {
        let Some(round_trip) = self.round_trip else {
            self.round_trip = Some(took);
            self.variation = took / 2;
            return;
        };
        self.variation = self.variation * 3 / 4 + round_trip.abs_diff(took) / 4;
        self.round_trip = Some(round_trip * 7 / 8 + took / 8);
    }

    fn timeout(&self) -> Duration {
        let measured = self.round_trip.map_or(FIRST_TIMEOUT, |round_trip| round_trip + self.variation * 4);
        measured.clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT)
    }

    /// When the first is to be sent again.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let first = self.pending.front()?;
        let backoff = self.timeout() * 2_u32.pow(first.repetitions.min(4));
        Some(first.sent + backoff.min(LONGEST_TIMEOUT))
    }

    /// What is to be sent again now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Bytes> {
        while self.due_at()? <= now {
            let established = self.established;
            let first = self.pending.front_mut()?;
            // An agent throws away what it has already and does not acknowledge it a second time, so a lost
            // acknowledgement never comes. Until its connection to the port stands it takes nothing but keeps what comes
            // after; from then on, a successor's acknowledgement means that this one is there.
            if established && first.overtaken && first.repetitions >= REPETITIONS {
                self.pending.pop_front();
                continue;
            }
            first.repetitions += 1;
            first.sent = now;
            first.overtaken = false;
            return Some(first.bytes.clone());
        }
        None
    }

    /// All that is not acknowledged, on a new websocket.
    pub(super) fn again(&mut self, now: Instant) -> Vec<Bytes> {
        let all = self.pending.iter_mut().map(|pending| {
            pending.sent = now;
            pending.repetitions += 1;
            pending.bytes.clone()
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(count: usize, now: Instant) -> Outgoing {
        let mut outgoing = Outgoing::default();
        for number in 0..count {
            outgoing.sent(Bytes::from(vec![u8::try_from(number % 256).unwrap()]), now);
        }
        outgoing
    }

    fn after(seconds: f64) -> Instant {
        Instant::now() + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_window_closes_and_opens() {
        let now = Instant::now();
        let mut outgoing = filled(WINDOW, now);
        assert_eq!((outgoing.room(), outgoing.next()), (0, 512));
        outgoing.acknowledged(3, now);
        outgoing.acknowledged(3, now);
        outgoing.acknowledged(9999, now);
        assert_eq!(outgoing.room(), 1);
    }

    #[test]
    fn only_the_first_is_sent_again_and_ever_more_rarely() {
        let now = Instant::now();
        let mut outgoing = filled(3, now);
        assert_eq!(outgoing.due(now), None);
        let mut times = Vec::new();
        for _ in 0..5 {
            let at = outgoing.due_at().unwrap();
            assert_eq!(outgoing.due(at).as_deref(), Some(&[0_u8][..]));
            times.push(at.duration_since(now).as_millis());
        }
        assert_eq!(times, [200, 600, 1400, 2400, 3400]);
        outgoing.acknowledged(0, now);
        assert_eq!(outgoing.due(outgoing.due_at().unwrap()).as_deref(), Some(&[1_u8][..]));
    }

    #[test]
    fn the_timeout_follows_the_round_trips() {
        let now = Instant::now();
        let mut outgoing = filled(20, now);
        for sequence in 0..19 {
            outgoing.acknowledged(sequence, now + Duration::from_millis(400));
        }
        let timeout = outgoing.due_at().unwrap().duration_since(now).as_millis();
        assert!((400..=600).contains(&timeout), "{timeout}");
    }

    #[test]
    fn an_acknowledgement_that_never_comes_is_not_waited_for_for_ever() {
        let now = Instant::now();
        let mut outgoing = filled(3, now);
        outgoing.acknowledged(0, now);
        outgoing.acknowledged(1, now);
        // 2 has come, its acknowledgement was lost.
        let mut at = now;
        for _ in 0..40 {
            at += Duration::from_secs(1);
            outgoing.due(at);
            let number = outgoing.next();
            outgoing.sent(Bytes::from_static(b"x"), at);
            outgoing.acknowledged(number, at);
        }
        assert!(outgoing.is_empty());
    }

    #[test]
    fn what_an_agent_is_not_ready_for_is_repeated_until_it_is() {
        let mut outgoing = filled(3, Instant::now());
        outgoing.acknowledged(0, after(0.0));
        for second in 1..60 {
            outgoing.acknowledged(2, after(f64::from(second)));
            assert_eq!(outgoing.due(after(f64::from(second) + 0.9)).as_deref(), Some(&[1_u8][..]), "{second}");
        }
        outgoing.acknowledged(1, after(60.0));
        assert!(outgoing.is_empty());
    }

    #[test]
    fn a_new_websocket_gets_all_in_order() {
        let now = Instant::now();
        let mut outgoing = filled(4, now);
        outgoing.acknowledged(1, now);
        assert_eq!(outgoing.again(now), [&[0_u8][..], &[2], &[3]]);
    }
}
