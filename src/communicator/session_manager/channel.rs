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
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Bytes> {
        if self.is_paused(now) {
            return None;
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
                if let Some(why) = answer.refusal {
                    self.end(SessionFailure::Refused(why), events);
                }
            }
            (PayloadType::HandshakeComplete, Stage::Greeting) => {
                self.stage = Stage::Open;
                events.push(Event::Opened);
            }
            (PayloadType::Output, Stage::Open) => {
                if !message.payload.is_empty() {
                    events.push(Event::Data(message.payload));
                }
            }
            (PayloadType::Output, Stage::Greeting) => {
                let why = "the agent sends data without a handshake; SSH needs version 2.3.672 or later of it".to_owned();
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
