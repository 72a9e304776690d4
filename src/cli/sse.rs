//! Server-sent events, as the WHATWG HTML standard has them (section 9.2.6), read from chunks of bytes that may end
//! anywhere, also within a UTF-8 character.

use std::time::Duration;

/// How long a line may grow, in bytes: a server that never ends one must not fill our memory.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `message` when the server named none.
    pub name: String,
    pub data: String,
}

/// The stream can't be Ingot's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MAX_EVENT_BYTES} bytes came")]
pub struct TooLong;

/// Feeds on bytes, gives events. `last_id` and `retry` outlive events, as the standard says.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// A `\r` ended the last line: a `\n` that follows belongs to it.
    after_carriage_return: bool,
    started: bool,
    name: String,
    data: String,
    has_data: bool,
    pending_id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// Takes a chunk and returns the events that it completes.
    ///
    /// # Errors
    /// When an event grows beyond all bounds.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in chunk {
            let second_half = std::mem::take(&mut self.after_carriage_return);
            match byte {
                b'\n' if second_half => {}
                b'\n' | b'\r' => {
                    self.after_carriage_return = byte == b'\r';
                    events.extend(self.end_of_line());
                }
                byte => {
                    if self.line.len() + self.data.len() >= MAX_EVENT_BYTES {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(events)
    }

    /// The id of the last complete event: what `Last-Event-ID` says on the next connection.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants us to wait before we connect again.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn end_of_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = String::from_utf8_lossy(&bytes).into_owned();
        if !std::mem::replace(&mut self.started, true)
            && let Some(rest) = line.strip_prefix('\u{feff}')
        {
            line = rest.to_owned();
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = match line.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (line.as_str(), ""),
        };
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.pending_id = Some(value.to_owned()),
            "retry" => {
                if let Ok(milliseconds) = value.parse() {
                    self.retry = Some(Duration::from_millis(milliseconds));
                }
            }
            // A comment (empty field name: the heartbeat) or something of a later standard.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        if let Some(id) = self.pending_id.take() {
            self.last_id = Some(id).filter(|id| !id.is_empty());
        }
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        Some(Event { name: if name.is_empty() { "message".to_owned() } else { name }, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "\u{feff}: heartbeat\nretry: 250\n\nevent: log\nid: a=1\ndata: {\"text\":\"grün\"}\n\n\
        event: state\r\ndata: one\r\ndata:two\r\ndata:  three\r\n\r\ndata\n\nid: a=2\nevent: nothing\n\nevent: end\ndata: {}\n\n";

    fn expected() -> Vec<Event> {
        [("log", "{\"text\":\"grün\"}"), ("state", "one\ntwo\n three"), ("message", ""), ("end", "{}")]
            .map(|(name, data)| Event { name: name.into(), data: data.into() })
            .into()
    }

    #[test]
    fn events_comments_ids_and_retry() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(STREAM.as_bytes()).unwrap(), expected());
        assert_eq!(parser.last_id(), Some("a=2"));
        assert_eq!(parser.retry(), Some(Duration::from_millis(250)));
    }

    #[test]
    fn an_event_cut_off_is_no_event_and_its_id_does_not_count() {
        let mut parser = Parser::default();
        parser.feed(b"id: 7\ndata: whole\n\nid: 8\ndata: cut").unwrap();
        assert_eq!(parser.last_id(), Some("7"));
    }

    #[test]
    fn nothing_grows_without_bounds() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; MAX_EVENT_BYTES + 1]), Err(TooLong));
    }

    proptest! {
        #[test]
        fn chunks_may_end_anywhere(cuts in proptest::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            cuts.push(STREAM.len());
            let mut parser = Parser::default();
            let mut events = Vec::new();
            let mut start = 0;
            for end in cuts {
                events.extend(parser.feed(&STREAM.as_bytes()[start..end]).unwrap());
                start = end;
            }
            prop_assert_eq!(events, expected());
        }
    }
}
