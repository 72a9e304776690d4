//! The rules of a data channel, without any input or output: what to do about each message that comes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::SessionFailure;
use super::incoming::Incoming;
use super::message::{FIN, Message, MessageType, PayloadType, SYN};
use super::outgoing::Outgoing;
use super::payload::{self, Acknowledge, Flag};
use crate::domain::clock::Clock;

/// Bytes of the stream in one message, as AWS's own client and agent have it.
pub(super) const CHUNK: usize = 1024;
/// A pause ends by itself after this time, should the word that ends it be lost.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Send(Bytes),
    /// Bytes from the machine, in order.
    Data(Bytes),
    /// The handshake is done: the stream may begin.
    Opened,
    /// The session is over; nothing comes any more.
    Ended(SessionFailure),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Until the handshake is complete the agent throws data away, having acknowledged it.
    Greeting,
    /// The agent's request is answered; it has one.
    Answered,
    Open,
    Ended,
}

pub(super) struct Channel {
    clock: Arc<dyn Clock>,
    stage: Stage,
    outgoing: Outgoing,
    incoming: Incoming,
    paused: Option<Instant>,
}

impl Channel {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            stage: Stage::Greeting,
            outgoing: Outgoing::default(),
            incoming: Incoming::default(),
            paused: None,
        }
    }

    /// How many bytes of the stream may be sent now.
    pub(super) fn room(&self, now: Instant) -> usize {
        if self.stage == Stage::Open && !self.is_paused(now) { self.outgoing.room() * CHUNK } else { 0 }
    }

    pub(super) fn has_unacknowledged(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused.is_some_and(|since| now < since + LONGEST_PAUSE)
    }

    /// When [`Channel::overdue`] has something to do.
    pub(super) fn due_at(&self, now: Instant) -> Option<Instant> {
        match self.paused {
            Some(since) if self.is_paused(now) => Some(since + LONGEST_PAUSE),
            _ => self.outgoing.due_at(),
        }
    }

    /// What is to be sent again.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Bytes> {
        if self.is_paused(now) {
            return Vec::new();
        }
        self.outgoing.due(now)
    }

    /// All that a new websocket is to be sent.
    pub(super) fn resumed(&mut self, now: Instant) -> Vec<Bytes> {
        self.paused = None;
        self.outgoing.again(now)
    }

    /// Messages of the stream's bytes.
    pub(super) fn send(&mut self, bytes: &[u8], now: Instant) -> Vec<Bytes> {
        let chunks = bytes.chunks(CHUNK);
        chunks.map(|chunk| self.stream_data(PayloadType::Output, Bytes::copy_from_slice(chunk), now)).collect()
    }

    /// The last message: the agent is to close its connection.
    pub(super) fn terminate(&mut self, now: Instant) -> Bytes {
        self.stage = Stage::Ended;
        self.stream_data(PayloadType::Flag, Bytes::copy_from_slice(&Flag::TerminateSession.bytes()), now)
    }

    fn stream_data(&mut self, payload_type: PayloadType, payload: Bytes, now: Instant) -> Bytes {
        let sequence = self.outgoing.next();
        let message = self.message(MessageType::Input, sequence, 0, payload_type, payload);
        self.outgoing.sent(message.clone(), now);
        message
    }

    fn message(
        &self,
        kind: MessageType,
        sequence: i64,
        flags: u64,
        payload_type: PayloadType,
        payload: Bytes,
    ) -> Bytes {
        // The agent takes a zero for a message without time.
        let created = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or_default().max(1);
        Message { kind, created, sequence, flags, id: Uuid::new_v4(), payload_type, payload }.encode()
    }

    /// What to do about a message. One that can't be read is as one that did not come: stream data is sent again.
    pub(super) fn received(&mut self, bytes: &Bytes, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        if self.stage == Stage::Ended {
            return events;
        }
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(fault) => {
                tracing::debug!(%fault, length = bytes.len(), "a message of the session can't be read");
                return events;
            }
        };
        match message.kind {
            MessageType::Output => {
                self.paused = None;
                self.stream(message, now, &mut events);
            }
            MessageType::Acknowledge => {
                self.paused = None;
                if let Some(sequence) = Acknowledge::read(&message.payload) {
                    self.outgoing.acknowledged(sequence, now);
                }
            }
            MessageType::ChannelClosed => self.end(closed(&message.payload), &mut events),
            MessageType::PausePublication => self.paused = Some(now),
            MessageType::StartPublication => self.paused = None,
            MessageType::Input | MessageType::Other => {}
        }
        events
    }

    fn end(&mut self, why: SessionFailure, events: &mut Vec<Event>) {
        self.stage = Stage::Ended;
        events.push(Event::Ended(why));
    }

    fn stream(&mut self, message: Message, now: Instant, events: &mut Vec<Event>) {
        let acknowledge = Acknowledge::of(&message);
        if !self.incoming.offer(message) {
            return;
        }
        if let Ok(payload) = serde_json::to_vec(&acknowledge) {
            let flags = SYN | FIN;
            let message = self.message(MessageType::Acknowledge, 0, flags, PayloadType::None, payload.into());
            events.push(Event::Send(message));
        }
        while self.stage != Stage::Ended {
            let Some(message) = self.incoming.next() else { return };
            let last = message.flags & FIN != 0;
            self.take(message, now, events);
            if last && self.stage != Stage::Ended {
                self.end(SessionFailure::Failed("the agent ended it".to_owned()), events);
            }
        }
    }

    fn take(&mut self, message: Message, now: Instant, events: &mut Vec<Event>) {
        match (message.payload_type, self.stage) {
            (PayloadType::HandshakeRequest, Stage::Greeting) => {
                let Some(answer) = payload::answer(&message.payload) else {
                    let why = "the agent's handshake can't be read".to_owned();
                    return self.end(SessionFailure::Failed(why), events);
                };
                let response = self.stream_data(PayloadType::HandshakeResponse, answer.response.into(), now);
                events.push(Event::Send(response));
                self.stage = Stage::Answered;
                if let Some(why) = answer.refusal {
                    self.end(SessionFailure::Refused(why), events);
                }
            }
            (PayloadType::HandshakeComplete, Stage::Answered) => {
                // Our answer came, whether or not its acknowledgement does.
                self.outgoing.acknowledged(0, now);
                self.stage = Stage::Open;
                events.push(Event::Opened);
            }
            (PayloadType::Output, Stage::Open) if !message.payload.is_empty() => {
                self.outgoing.establish();
                events.push(Event::Data(message.payload));
            }
            (PayloadType::Output, Stage::Greeting | Stage::Answered) => {
                let why =
                    "the agent sends data without a handshake; SSH needs version 2.3.672 or later of it".to_owned();
                self.end(SessionFailure::Refused(why), events);
            }
            (PayloadType::Flag, _) if Flag::ConnectToPortError.is(&message.payload) => {
                let why = "the agent can't connect to the port (is sshd running, and on this port?)".to_owned();
                self.end(SessionFailure::Failed(why), events);
            }
            _ => {}
        }
    }
}

fn closed(payload: &[u8]) -> SessionFailure {
    let words = payload::closing_words(payload);
    let words = if words.is_empty() { "the service closed it without a reason".to_owned() } else { words };
    SessionFailure::Failed(words)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::test_support::{Fixed, message};
    use super::*;

    fn request() -> Bytes {
        let action = json!({ "ActionType": "SessionType", "ActionParameters": { "SessionType": "Port" } });
        Bytes::from(json!({ "AgentVersion": "3.3.0.0", "RequestedClientActions": [action] }).to_string())
    }

    fn stream(sequence: i64, payload_type: PayloadType, payload: impl Into<Bytes>) -> Bytes {
        message(MessageType::Output, sequence, payload_type, payload.into())
    }

    fn service(kind: MessageType, words: &Value) -> Bytes {
        message(kind, 0, PayloadType::None, words.to_string().into())
    }

    fn acknowledge(sequence: i64) -> Bytes {
        let words = json!({ "AcknowledgedMessageType": "input_stream_data", "AcknowledgedMessageId": "x",
            "AcknowledgedMessageSequenceNumber": sequence, "IsSequentialMessage": true });
        service(MessageType::Acknowledge, &words)
    }

    /// A channel whose handshake is done.
    fn opened(now: Instant) -> Channel {
        let mut channel = Channel::new(Arc::new(Fixed));
        assert_eq!(channel.room(now), 0, "the agent throws away what comes before");
        let events = channel.received(&stream(0, PayloadType::HandshakeRequest, request()), now);
        let [Event::Send(ack), Event::Send(response)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(Message::decode(ack).unwrap().kind, MessageType::Acknowledge);
        assert_eq!(Message::decode(response).unwrap().payload_type, PayloadType::HandshakeResponse);
        channel.received(&acknowledge(0), now);
        let events = channel.received(&stream(1, PayloadType::HandshakeComplete, "{}"), now);
        assert!(matches!(&events[..], [Event::Send(_), Event::Opened]), "{events:?}");
        assert!(channel.room(now) > 0);
        channel
    }

    /// Why a channel is over.
    fn ended(events: &[Event]) -> Option<&SessionFailure> {
        events.iter().find_map(|event| if let Event::Ended(why) = event { Some(why) } else { None })
    }

    #[test]
    fn data_is_acknowledged_once_it_is_kept_and_again_when_it_comes_again() {
        let now = Instant::now();
        let mut channel = opened(now);
        let second = stream(3, PayloadType::Output, "two");
        assert!(matches!(&channel.received(&second, now)[..], [Event::Send(_)]), "early");
        let events = channel.received(&stream(2, PayloadType::Output, "one"), now);
        let [Event::Send(ack), Event::Data(one), Event::Data(two)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&one[..], &two[..]), (&b"one"[..], &b"two"[..]));
        let ack = Message::decode(ack).unwrap();
        let words: Value = serde_json::from_slice(&ack.payload).unwrap();
        assert_eq!(words["AcknowledgedMessageSequenceNumber"], 2);
        assert!(matches!(&channel.received(&second, now)[..], [Event::Send(_)]), "late");
    }

    #[test]
    fn a_pause_stops_what_is_sent_until_it_ends() {
        let now = Instant::now();
        let enders =
            [service(MessageType::StartPublication, &json!({})), stream(2, PayloadType::Output, "x"), acknowledge(7)];
        for ender in enders {
            let mut channel = opened(now);
            channel.send(b"hello", now);
            let later = now + Duration::from_secs(5);
            channel.received(&service(MessageType::PausePublication, &json!({})), later);
            assert_eq!((channel.room(later), channel.overdue(later).len()), (0, 0));
            assert_eq!(channel.due_at(later), Some(later + LONGEST_PAUSE));
            channel.received(&ender, later);
            assert!(channel.room(later) > 0 && !channel.overdue(later).is_empty());
        }
        let mut lost = opened(now);
        lost.received(&service(MessageType::PausePublication, &json!({})), now);
        assert!(lost.room(now + LONGEST_PAUSE) > 0, "it ends by itself");
    }

    #[test]
    fn the_end_is_told_with_its_words() {
        let now = Instant::now();
        let failed = |words: &str| Some(SessionFailure::Failed(words.to_owned()));
        let closed = |output: &str| {
            let words = json!({ "MessageId": "x", "SessionId": "y", "Output": output });
            let events = opened(now).received(&service(MessageType::ChannelClosed, &words), now);
            ended(&events).cloned()
        };
        assert_eq!(closed("\nUnable to connect\n"), failed("Unable to connect"));
        assert_eq!(closed(""), failed("the service closed it without a reason"));
        let mut channel = opened(now);
        let last = Message { flags: FIN, ..Message::decode(&stream(2, PayloadType::Output, "bye")).unwrap() };
        let events = channel.received(&last.encode(), now);
        assert!(matches!(&events[..], [Event::Send(_), Event::Data(_), Event::Ended(_)]), "{events:?}");
        assert!(channel.received(&stream(3, PayloadType::Output, "more"), now).is_empty());
        let flag = stream(2, PayloadType::Flag, Bytes::copy_from_slice(&Flag::ConnectToPortError.bytes()));
        let events = opened(now).received(&flag, now);
        assert!(ended(&events).unwrap().to_string().contains("can't connect to the port"), "{events:?}");
    }

    #[test]
    fn an_agent_that_does_not_greet_or_wants_too_much_is_refused() {
        let now = Instant::now();
        let first = |payload_type, payload: &str| {
            let mut channel = Channel::new(Arc::new(Fixed));
            let events = channel.received(&stream(0, payload_type, payload.to_owned()), now);
            ended(&events).cloned()
        };
        assert!(matches!(first(PayloadType::Output, "$ "), Some(SessionFailure::Refused(_))));
        assert!(matches!(first(PayloadType::HandshakeRequest, "nonsense"), Some(SessionFailure::Failed(_))));
        let kms = r#"{"RequestedClientActions": [{"ActionType": "KMSEncryption"}]}"#;
        assert!(matches!(first(PayloadType::HandshakeRequest, kms), Some(SessionFailure::Refused(_))));
        assert_eq!(first(PayloadType::Other, ""), None);
        let mut twice = Channel::new(Arc::new(Fixed));
        for number in 0..1000 {
            twice.received(&stream(number, PayloadType::HandshakeRequest, request()), now);
        }
        assert_eq!(twice.resumed(now).len(), 1, "one answer is enough");
    }

    #[test]
    fn what_can_not_be_read_is_as_if_it_had_not_come() {
        let now = Instant::now();
        let mut channel = opened(now);
        let mut bent = stream(2, PayloadType::Output, "data").to_vec();
        *bent.last_mut().unwrap() ^= 1;
        for nonsense in [Bytes::new(), Bytes::from_static(b"hello"), bent.into()] {
            assert!(channel.received(&nonsense, now).is_empty());
        }
        let events = channel.received(&stream(2, PayloadType::Output, "data"), now);
        assert!(matches!(&events[..], [Event::Send(_), Event::Data(_)]), "{events:?}");
    }

    #[test]
    fn the_stream_is_cut_into_messages_and_all_that_is_not_acknowledged_goes_on_the_next_websocket() {
        let now = Instant::now();
        let mut channel = opened(now);
        let sent = channel.send(&vec![7; 2 * CHUNK + 1], now);
        let numbers = |sent: &[Bytes]| {
            let read = sent.iter().map(|bytes| Message::decode(bytes).unwrap());
            read.map(|message| (message.sequence, message.payload.len())).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&sent), [(1, CHUNK), (2, CHUNK), (3, 1)]);
        channel.received(&acknowledge(2), now);
        assert_eq!(numbers(&channel.resumed(now)), [(1, CHUNK), (3, 1)]);
        assert!(channel.has_unacknowledged());
    }
}
