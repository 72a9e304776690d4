//! The binary form of messages. All numbers are big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | length of the header up to the payload's length: 116 |
//! | 4–35 | type, ASCII, padded with spaces |
//! | 36–39 | schema version: 1 |
//! | 40–47 | creation, milliseconds since 1970 |
//! | 48–55 | sequence number, signed |
//! | 56–63 | flags: 1 first message of a stream, 2 last one |
//! | 64–79 | id, a UUID with its two halves exchanged |
//! | 80–111 | SHA-256 of the payload |
//! | 112–115 | payload type |
//! | 116–119 | payload length |
//! | 120– | payload |

use bytes::Bytes;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Up to the payload's length.
const HEADER: usize = 116;
/// A header without payload type, as the service's own messages may have.
const SHORT_HEADER: usize = 112;
const TYPE: std::ops::Range<usize> = 4..36;
const SCHEMA_VERSION: u32 = 1;
/// The agent's are of 1 kB.
pub(super) const MOST_PAYLOAD: usize = 512 * 1024;

/// First message of a stream.
pub(super) const SYN: u64 = 1;
/// Last message of a stream.
pub(super) const FIN: u64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageType {
    /// To the machine.
    Input,
    /// From the machine.
    Output,
    Acknowledge,
    ChannelClosed,
    StartPublication,
    PausePublication,
    /// One that a later agent may send.
    Other,
}

const NAMES: [(MessageType, &str); 6] = [
    (MessageType::Input, "input_stream_data"),
    (MessageType::Output, "output_stream_data"),
    (MessageType::Acknowledge, "acknowledge"),
    (MessageType::ChannelClosed, "channel_closed"),
    (MessageType::StartPublication, "start_publication"),
    (MessageType::PausePublication, "pause_publication"),
];

impl MessageType {
    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    fn of(field: &[u8]) -> Self {
        let padding = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
        let end = field.iter().rposition(|byte| !padding(byte)).map_or(0, |last| last + 1);
        let known = NAMES.iter().find(|(_, name)| name.as_bytes() == &field[..end]);
        known.map_or(Self::Other, |(known, _)| *known)
    }
}

/// What the payload of stream data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadType {
    /// Not given.
    None = 0,
    /// Bytes of the stream.
    Output = 1,
    HandshakeRequest = 5,
    HandshakeResponse = 6,
    HandshakeComplete = 7,
    EncryptionChallenge = 8,
    Flag = 10,
    /// One that has no meaning here.
    Other = 255,
}

impl PayloadType {
    fn of(number: u32) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Output,
            5 => Self::HandshakeRequest,
            6 => Self::HandshakeResponse,
            7 => Self::HandshakeComplete,
            8 => Self::EncryptionChallenge,
            10 => Self::Flag,
            _ => Self::Other,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub kind: MessageType,
    /// Milliseconds since 1970.
    pub created: u64,
    pub sequence: i64,
    pub flags: u64,
    pub id: Uuid,
    pub payload_type: PayloadType,
    pub payload: Bytes,
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it is too short")]
    Short,
    #[error("its header has a length that no message has")]
    Header,
    #[error("its payload is not as long as it says")]
    Length,
    #[error("its payload is too long")]
    Long,
    #[error("its digest is not its payload's")]
    Digest,
}

impl Message {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER + 4 + self.payload.len());
        bytes.extend(u32_of(HEADER).to_be_bytes());
        bytes.extend(self.kind.name().bytes());
        bytes.resize(TYPE.end, b' ');
        bytes.extend(SCHEMA_VERSION.to_be_bytes());
        bytes.extend(self.created.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        let (most, least) = self.id.as_u64_pair();
        bytes.extend(least.to_be_bytes());
        bytes.extend(most.to_be_bytes());
        bytes.extend(Sha256::digest(&self.payload));
        bytes.extend((self.payload_type as u32).to_be_bytes());
        bytes.extend(u32_of(self.payload.len()).to_be_bytes());
        bytes.extend(&self.payload);
        bytes.into()
    }

    /// Reads one message. What is not there is not made up: a message without payload type has `None`. The digest of stream
    /// data is checked; the service's own messages are taken as they are.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let header = u32_at(bytes, 0).ok_or(Malformed::Short)? as usize;
        if bytes.len() < SHORT_HEADER {
            return Err(Malformed::Short);
        }
        let kind = MessageType::of(&bytes[TYPE]);
        let mut message = Self {
            kind,
            created: u64_at(bytes, 40).ok_or(Malformed::Short)?,
            sequence: u64_at(bytes, 48).ok_or(Malformed::Short)?.cast_signed(),
            flags: u64_at(bytes, 56).ok_or(Malformed::Short)?,
            id: Uuid::from_u64_pair(
                u64_at(bytes, 72).ok_or(Malformed::Short)?,
                u64_at(bytes, 64).ok_or(Malformed::Short)?,
            ),
            payload_type: PayloadType::None,
            payload: Bytes::new(),
        };
        // These two say all by their type.
        if matches!(kind, MessageType::StartPublication | MessageType::PausePublication) {
            return Ok(message);
        }
        if header != HEADER && header != SHORT_HEADER {
            return Err(Malformed::Header);
        }
        if header == HEADER {
            message.payload_type = PayloadType::of(u32_at(bytes, SHORT_HEADER).ok_or(Malformed::Short)?);
        }
        let length = u32_at(bytes, header).ok_or(Malformed::Short)? as usize;
        if length > MOST_PAYLOAD {
            return Err(Malformed::Long);
        }
        if bytes.len() - header - 4 != length {
            return Err(Malformed::Length);
        }
        message.payload = bytes.slice(header + 4..);
        let checked = matches!(kind, MessageType::Input | MessageType::Output) && length > 0;
        if checked && Sha256::digest(&message.payload)[..] != bytes[80..112] {
            return Err(Malformed::Digest);
        }
        Ok(message)
    }
}

fn u32_of(length: usize) -> u32 {
    // Payloads that are sent are of a few kilobytes.
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(payload: &'static [u8]) -> Message {
        Message {
            kind: MessageType::Output,
            created: 0x0102_0304_0506_0708,
            sequence: 9,
            flags: SYN,
            id: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            payload_type: PayloadType::Output,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn fields_stand_where_the_agent_looks_for_them() {
        let bytes = sample(b"SSH-2.0").encode();
        assert_eq!(bytes.len(), 127);
        assert_eq!(bytes[..4], [0, 0, 0, 116]);
        assert_eq!(&bytes[4..36], b"output_stream_data              ");
        assert_eq!(bytes[36..40], [0, 0, 0, 1]);
        assert_eq!(bytes[40..48], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[48..56], [0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(bytes[56..64], [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(hex::encode(&bytes[64..80]), "8899aabbccddeeff0011223344556677", "the halves are exchanged");
        assert_eq!(bytes[80..112], Sha256::digest(b"SSH-2.0")[..]);
        assert_eq!(bytes[112..120], [0, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(&bytes[120..], b"SSH-2.0");
    }

    #[test]
    fn a_changed_payload_is_noticed() {
        let mut bytes = sample(b"SSH-2.0").encode().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(Message::decode(&bytes.into()), Err(Malformed::Digest));
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let good = sample(b"SSH-2.0").encode().to_vec();
        let with = |at: usize, value: u32| {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
            Message::decode(&bytes.into())
        };
        assert_eq!(with(116, 8), Err(Malformed::Length));
        assert_eq!(with(116, 6), Err(Malformed::Length));
        assert_eq!(with(116, u32::MAX), Err(Malformed::Long));
        for header in [0, 4, 111, 117, 120, 127, u32::MAX] {
            assert_eq!(with(0, header), Err(Malformed::Header), "{header}");
        }
        for length in 0..good.len() {
            assert!(Message::decode(&good[..length].to_vec().into()).is_err(), "{length}");
        }
    }

    #[test]
    fn a_header_without_payload_type_is_one_too() {
        let mut bytes = Message { kind: MessageType::ChannelClosed, ..sample(b"{}") }.encode().to_vec();
        bytes[..4].copy_from_slice(&112_u32.to_be_bytes());
        bytes.drain(112..116);
        let message = Message::decode(&bytes.into()).unwrap();
        assert_eq!((message.kind, message.payload_type), (MessageType::ChannelClosed, PayloadType::None));
        assert_eq!(&message.payload[..], b"{}");
    }

    #[test]
    fn types_may_be_padded_with_zeros_and_unknown_ones_are_told() {
        let mut bytes = sample(b"x").encode().to_vec();
        bytes[22..36].fill(0);
        assert_eq!(Message::decode(&bytes.clone().into()).unwrap().kind, MessageType::Output);
        bytes[4..8].copy_from_slice(b"what");
        assert_eq!(Message::decode(&bytes.into()).unwrap().kind, MessageType::Other);
    }

    fn any_kind() -> impl Strategy<Value = MessageType> {
        prop::sample::select(vec![
            MessageType::Input,
            MessageType::Output,
            MessageType::Acknowledge,
            MessageType::ChannelClosed,
        ])
    }

    fn any_payload_type() -> impl Strategy<Value = PayloadType> {
        prop::sample::select(vec![
            PayloadType::None,
            PayloadType::Output,
            PayloadType::HandshakeRequest,
            PayloadType::HandshakeResponse,
            PayloadType::HandshakeComplete,
            PayloadType::EncryptionChallenge,
            PayloadType::Flag,
        ])
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in any_kind(),
            numbers in any::<(u64, i64, u64, u128)>(),
            payload_type in any_payload_type(),
            payload in prop::collection::vec(any::<u8>(), 0..3000),
        ) {
            let (created, sequence, flags, id) = numbers;
            let payload = Bytes::from(payload);
            let message = Message { kind, created, sequence, flags, id: Uuid::from_u128(id), payload_type, payload };
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Message::decode(&bytes.into());
        }

        #[test]
        fn a_message_that_is_bent_is_refused_or_read(at in 0_usize..140, byte in any::<u8>()) {
            let mut bytes = sample(b"twenty bytes of data").encode().to_vec();
            bytes[at] = byte;
            if let Ok(message) = Message::decode(&bytes.into())
                && message.kind == MessageType::Output
            {
                prop_assert_eq!(&message.payload[..], b"twenty bytes of data");
            }
        }
    }
}
