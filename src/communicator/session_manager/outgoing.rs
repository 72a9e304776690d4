//! What was sent and is not acknowledged. It is sent again when an acknowledgement is overdue, the first of it or what was
//! overtaken; all of it when a websocket was replaced.
//!
//! An agent throws away what it has already and does not acknowledge it a second time, so an acknowledgement that was lost
//! never comes: not with the first websocket, not with the next. What proves that a message arrived is a message that was
//! first sent after it and is acknowledged. One such proof may be wrong, as the agent has a websocket of its own, which
//! breaks unseen from here; ten, each for one more repetition, are believed. All that lacks them is repeated together,
//! so that the acknowledgements of a whole window cost ten round trips and not ten for each message.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// Messages that may be under way. Of 1 kB each, they fill a fast connection across the world.
const WINDOW: usize = 512;
/// Beyond the window when nothing moves: only a new message can prove that the others have arrived.
const RESERVE: usize = 16;
const MOST_RESERVE: usize = WINDOW;
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
    /// Places in the order of all that was sent: of the first time, and of the last.
    first: u64,
    last: u64,
    repetitions: u32,
    /// One that was sent later, for the first time, has been acknowledged since this one was last sent.
    overtaken: bool,
}

impl Pending {
    fn again(&mut self, place: u64, now: Instant) -> Bytes {
        (self.sent, self.last, self.overtaken) = (now, place, false);
        self.repetitions += 1;
        self.bytes.clone()
    }
}

#[derive(Debug)]
pub(super) struct Outgoing {
    next: i64,
    pending: VecDeque<Pending>,
    /// How many were sent, repetitions included.
    sendings: u64,
    /// How many may be under way beyond the window.
    reserve: usize,
    /// The agent's connection to the port stands: it is ready to take what comes.
    established: bool,
    round_trip: Option<Duration>,
    variation: Duration,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self {
            next: 0,
            pending: VecDeque::new(),
            sendings: 0,
            reserve: 0,
            established: false,
            round_trip: None,
            variation: Duration::ZERO,
        }
    }
}

impl Outgoing {
    /// How many more may be sent.
    pub(super) fn room(&self) -> usize {
        (WINDOW + self.reserve).saturating_sub(self.pending.len())
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
        let (sequence, place) = (self.next, self.sendings);
        let pending =
            Pending { sequence, bytes, sent: now, first: place, last: place, repetitions: 0, overtaken: false };
        self.pending.push_back(pending);
        self.next = self.next.saturating_add(1);
        self.sendings += 1;
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
        // Which of its sendings was acknowledged isn't told: only the first is sure to have been before the answer.
        for earlier in self.pending.iter_mut().take(place).filter(|earlier| earlier.last < gone.first) {
            earlier.overtaken = true;
        }
        self.shrink();
    }

    /// The reserve ends with what it was for.
    fn shrink(&mut self) {
        if self.pending.len() + RESERVE <= WINDOW {
            self.reserve = 0;
        }
    }

    /// Room for something new, whatever is under way.
    fn extend(&mut self) {
        let wanted = (self.pending.len() + RESERVE).saturating_sub(WINDOW).min(MOST_RESERVE);
        self.reserve = self.reserve.max(wanted);
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

    /// When [`Outgoing::due`] has something to do.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let first = self.pending.front()?;
        // What came after it did arrive: no need to spare the network.
        let doublings = if self.established && first.overtaken { 0 } else { first.repetitions.min(4) };
        let backoff = self.timeout() * 2_u32.pow(doublings);
        Some(first.sent + backoff.min(LONGEST_TIMEOUT))
    }

    /// What is to be sent again now: the first, and all that was overtaken as well.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Bytes> {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if !is_due(self.due_at()) {
            return Vec::new();
        }
        // Until its connection to the port stands an agent takes nothing but keeps what comes after; from then on, a
        // successor's acknowledgement means that this one is there.
        let established = self.established;
        if established {
            self.pending.retain(|pending| !pending.overtaken || pending.repetitions < REPETITIONS);
            self.shrink();
            if !is_due(self.due_at()) {
                return Vec::new();
            }
        }
        let mut again = Vec::new();
        for (place, pending) in self.pending.iter_mut().enumerate() {
            if place == 0 || established && pending.overtaken {
                again.push(pending.again(self.sendings, now));
                self.sendings += 1;
            }
        }
        // The acknowledgements may also have been lost on the agent's websocket, with ours as it was.
        if self.pending.front().is_some_and(|first| first.repetitions % REPETITIONS == 0) {
            self.extend();
        }
        again
    }

    /// All that is not acknowledged, on a new websocket.
    pub(super) fn again(&mut self, now: Instant) -> Vec<Bytes> {
        let mut again = Vec::with_capacity(self.pending.len());
        for pending in &mut self.pending {
            again.push(pending.again(self.sendings, now));
            self.sendings += 1;
        }
        self.extend();
        again
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
        assert!(outgoing.due(now).is_empty());
        let mut times = Vec::new();
        for _ in 0..5 {
            let at = outgoing.due_at().unwrap();
            assert_eq!(outgoing.due(at), [&[0_u8][..]]);
            times.push(at.duration_since(now).as_millis());
        }
        assert_eq!(times, [200, 600, 1400, 2400, 3400]);
        outgoing.acknowledged(0, now);
        assert_eq!(outgoing.due(outgoing.due_at().unwrap()), [&[1_u8][..]]);
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
            assert_eq!(outgoing.due(after(f64::from(second) + 0.9)), [&[1_u8][..]], "{second}");
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

    #[test]
    fn a_window_whose_acknowledgements_were_all_lost_is_over_soon_after_the_next_websocket() {
        let start = Instant::now();
        let mut outgoing = filled(WINDOW, start);
        outgoing.establish();
        assert_eq!(outgoing.room(), 0);
        assert_eq!(outgoing.again(start).len(), WINDOW);
        assert_eq!(outgoing.room(), RESERVE, "for what proves that the others are there");
        let (mut now, mut new, mut acknowledgements) = (start, 0, VecDeque::new());
        while outgoing.room() < WINDOW - 2 * RESERVE {
            assert!(now < start + Duration::from_secs(4), "{} are left", outgoing.pending.len());
            for _ in 0..outgoing.room().min(2) {
                acknowledgements.push_back((now + Duration::from_millis(100), outgoing.next()));
                outgoing.sent(Bytes::from_static(b"new"), now);
                new += 1;
            }
            now += Duration::from_millis(20);
            while let Some((_, sequence)) = acknowledgements.pop_front_if(|(at, _)| *at <= now) {
                outgoing.acknowledged(sequence, now);
            }
            // The agent knows them all.
            assert!(outgoing.due(now).len() <= WINDOW);
        }
        assert!(new > REPETITIONS, "a proof for each repetition: {new}");
    }

    #[test]
    fn a_full_window_gets_its_reserve_without_a_new_websocket_too() {
        let start = Instant::now();
        let mut outgoing = filled(WINDOW, start);
        outgoing.establish();
        for second in 1..=u64::from(REPETITIONS) {
            assert_eq!(outgoing.room(), 0);
            assert_eq!(outgoing.due(start + Duration::from_secs(2 * second)).len(), 1);
        }
        assert_eq!(outgoing.room(), RESERVE);
        for second in 30..3000 {
            outgoing.due(start + Duration::from_secs(second));
            outgoing.again(start + Duration::from_secs(second));
            for _ in 0..outgoing.room() {
                outgoing.sent(Bytes::new(), start);
            }
        }
        assert_eq!(outgoing.pending.len(), WINDOW + MOST_RESERVE, "and no more than that");
    }

    #[test]
    fn what_was_really_lost_is_repeated_although_its_successors_arrived() {
        let start = Instant::now();
        let mut outgoing = filled(4, start);
        outgoing.establish();
        outgoing.again(start);
        // 1 and 2 never arrive; what comes after does.
        for sequence in [0, 3] {
            outgoing.acknowledged(sequence, start);
        }
        for second in 1..u64::from(REPETITIONS) {
            let now = start + Duration::from_secs(2 * second);
            let number = outgoing.next();
            outgoing.sent(Bytes::from_static(b"new"), now);
            outgoing.acknowledged(number, now);
            assert_eq!(outgoing.due(now), [&[1_u8][..], &[2]], "{second}");
        }
        outgoing.acknowledged(1, start);
        outgoing.acknowledged(2, start);
        assert!(outgoing.is_empty());
    }

    #[test]
    fn an_answer_to_an_earlier_sending_proves_nothing_about_a_later_one() {
        let start = Instant::now();
        let mut outgoing = filled(2, start);
        outgoing.establish();
        outgoing.again(start);
        outgoing.acknowledged(1, start);
        assert!(!outgoing.pending[0].overtaken, "it may be the acknowledgement of what was sent first");
    }
}
