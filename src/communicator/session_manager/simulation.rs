//! A channel against an agent over a network that loses, doubles and delays messages, in virtual time: whatever it does,
//! each byte arrives once and in order. The agent has the habits of the real one: it acknowledges nothing twice and
//! repeats only its first unacknowledged message.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::time::Instant;

use super::channel::{CHUNK, Channel, Event};
use super::message::{Message, MessageType, PayloadType};
use super::payload::Acknowledge;
use super::test_support::{Fixed, message};

const STEP: Duration = Duration::from_millis(50);
/// An hour of virtual time.
const MOST_STEPS: usize = 72_000;

/// One direction of the network.
struct Line {
    under_way: VecDeque<(usize, Bytes)>,
    loss: f64,
    doubling: f64,
    most_delay: usize,
}

impl Line {
    fn send(&mut self, bytes: &Bytes, step: usize, dice: &mut StdRng) {
        let copies = usize::from(!dice.random_bool(self.loss)) + usize::from(dice.random_bool(self.doubling));
        for _ in 0..copies {
            self.under_way.push_back((step + dice.random_range(0..=self.most_delay), bytes.clone()));
        }
    }

    fn arrived(&mut self, step: usize) -> Vec<Bytes> {
        let (now, later) = self.under_way.drain(..).partition(|(at, _)| *at <= step);
        self.under_way = later;
        let now: VecDeque<(usize, Bytes)> = now;
        now.into_iter().map(|(_, bytes)| bytes).collect()
    }
}

#[derive(Default)]
struct Agent {
    next: i64,
    unacknowledged: BTreeMap<i64, Bytes>,
    expected: i64,
    early: BTreeMap<i64, Message>,
    got: Vec<u8>,
    greeted: bool,
}

impl Agent {
    fn stream(&mut self, payload_type: PayloadType, payload: Bytes) -> Bytes {
        let bytes = message(MessageType::Output, self.next, payload_type, payload);
        self.unacknowledged.insert(self.next, bytes.clone());
        self.next += 1;
        bytes
    }

    /// What it answers to a message.
    fn hear(&mut self, bytes: &Bytes) -> Vec<Bytes> {
        let message = Message::decode(bytes).unwrap();
        let mut answers = Vec::new();
        if message.kind == MessageType::Acknowledge {
            let words: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            self.unacknowledged.remove(&words["AcknowledgedMessageSequenceNumber"].as_i64().unwrap());
        } else if message.sequence >= self.expected {
            let words = serde_json::to_vec(&Acknowledge::of(&message)).unwrap();
            answers.push(self::message(MessageType::Acknowledge, 0, PayloadType::None, words.into()));
            self.early.insert(message.sequence, message);
            while let Some(message) = self.early.remove(&self.expected) {
                self.expected += 1;
                if message.payload_type == PayloadType::HandshakeResponse {
                    self.greeted = true;
                    answers.push(self.stream(PayloadType::HandshakeComplete, Bytes::from_static(b"{}")));
                } else {
                    self.got.extend(&message.payload);
                }
            }
        }
        answers
    }
}

/// Both directions at once, with a new websocket now and then; all is lost that was under way on the old one.
fn both_ways(seed: u64, loss: f64, doubling: f64, most_delay: usize, length: usize) -> Result<(), TestCaseError> {
    let mut dice = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let line = || Line { under_way: VecDeque::new(), loss, doubling, most_delay };
    let (mut up, mut down) = (line(), line());
    let mut channel = Channel::new(Arc::new(Fixed));
    let mut agent = Agent::default();
    let data: Vec<u8> = (0..length).map(|place| u8::try_from(place * 7 % 253).unwrap()).collect();
    let (mut sent, mut said) = (0, 0);
    let mut got: Vec<u8> = Vec::new();
    let port = json!({ "ActionType": "SessionType", "ActionParameters": { "SessionType": "Port" } });
    let request = json!({ "RequestedClientActions": [port] }).to_string();
    down.send(&agent.stream(PayloadType::HandshakeRequest, request.into()), 0, &mut dice);
    for step in 0..MOST_STEPS {
        let now = start + STEP * u32::try_from(step).unwrap();
        if got.len() == length && agent.got.len() == length {
            prop_assert!(got == data && agent.got == data, "the bytes are others");
            return Ok(());
        }
        if dice.random_bool(0.002) {
            (up, down) = (line(), line());
            for bytes in channel.resumed(now) {
                up.send(&bytes, step, &mut dice);
            }
        }
        for bytes in down.arrived(step) {
            for event in channel.received(&bytes, now) {
                match event {
                    Event::Send(bytes) => up.send(&bytes, step, &mut dice),
                    Event::Data(bytes) => got.extend(&bytes),
                    Event::Opened => {}
                    Event::Ended(why) => return Err(TestCaseError::fail(format!("it ended: {why}"))),
                }
            }
        }
        for bytes in up.arrived(step) {
            for answer in agent.hear(&bytes) {
                down.send(&answer, step, &mut dice);
            }
        }
        let room = channel.room(now).min(length - sent).min(4 * CHUNK);
        for bytes in channel.send(&data[sent..sent + room], now) {
            up.send(&bytes, step, &mut dice);
        }
        sent += room;
        if agent.greeted && said < length {
            let end = (said + CHUNK).min(length);
            let bytes = agent.stream(PayloadType::Output, Bytes::copy_from_slice(&data[said..end]));
            down.send(&bytes, step, &mut dice);
            said = end;
        }
        for bytes in channel.overdue(now) {
            up.send(&bytes, step, &mut dice);
        }
        if let Some((_, first)) = agent.unacknowledged.first_key_value().filter(|_| step % 2 == 0) {
            let first = first.clone();
            down.send(&first, step, &mut dice);
        }
    }
    let rest = (length - got.len(), length - agent.got.len());
    Err(TestCaseError::fail(format!("it never ends: {rest:?} bytes are missing")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn each_byte_arrives_once_and_in_order(
        seed in any::<u64>(),
        loss in 0.0..0.3_f64,
        doubling in 0.0..0.3_f64,
        most_delay in 0..6_usize,
    ) {
        both_ways(seed, loss, doubling, most_delay, 40 * CHUNK + 17)?;
    }

    #[test]
    fn whatever_comes_nothing_panics_and_little_is_kept(
        messages in prop::collection::vec(
            (0..5_u8, any::<i64>(), -3..6_i64, any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)),
            0..60,
        ),
    ) {
        let now = Instant::now();
        let mut channel = Channel::new(Arc::new(Fixed));
        let payload_types = [
            PayloadType::Output,
            PayloadType::HandshakeRequest,
            PayloadType::HandshakeComplete,
            PayloadType::EncryptionChallenge,
            PayloadType::Flag,
            PayloadType::Other,
        ];
        for (kind, far, near, which, payload) in messages {
            let kinds = [
                MessageType::Output,
                MessageType::Acknowledge,
                MessageType::Input,
                MessageType::PausePublication,
                MessageType::Other,
            ];
            let sequence = if which % 4 == 0 { far } else { near };
            let payload_type = payload_types[which as usize % payload_types.len()];
            channel.received(&message(kinds[usize::from(kind)], sequence, payload_type, payload.into()), now);
            channel.overdue(now + Duration::from_secs(1));
        }
        prop_assert!(channel.resumed(now).len() <= 1, "nothing but an answer to the handshake is sent by itself");
    }
}
