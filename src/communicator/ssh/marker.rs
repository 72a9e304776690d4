//! Learning a remote command's process id. SSH does not tell it, so each command is preceded by a `printf` of the shell's
//! own id on standard error, which is taken out of the output again here. Nothing is written to the machine's disk, and
//! the command sees the same shell, environment, input and line numbers as without it.

use crate::communicator::OutputStream;

/// If the line has not come within this many bytes of other output (a noisy `.bashrc`), it is not looked for any more.
const LOOK_WITHIN_BYTES: usize = 64 * 1024;

/// Finds one marker line in a command's output and passes on all else unchanged.
#[derive(Debug)]
pub(super) struct PidMarker {
    prefix: String,
    stream: OutputStream,
    /// Bytes held back because they may be the beginning of the line.
    held: Vec<u8>,
    passed: usize,
    searching: bool,
    pid: Option<u32>,
}

impl PidMarker {
    pub(super) fn new(number: u64, pty: bool) -> Self {
        Self {
            prefix: format!("ingot-command-{number}:"),
            // A terminal has one stream.
            stream: if pty { OutputStream::Stdout } else { OutputStream::Stderr },
            held: Vec::new(),
            passed: 0,
            searching: true,
            pid: None,
        }
    }

    /// The command line to send for `text`.
    pub(super) fn wrap(&self, text: &str) -> String {
        format!("printf '{}%s\\n' \"$$\" >&2; {text}", self.prefix)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Takes a chunk and returns what of it (and of held-back bytes) is the command's own output.
    pub(super) fn filter<'a>(&mut self, stream: OutputStream, bytes: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        use std::borrow::Cow;
        if !self.searching || stream != self.stream {
            return Cow::Borrowed(bytes);
        }
        self.held.extend_from_slice(bytes);
        if let Some(start) = find(&self.held, self.prefix.as_bytes()) {
            let Some(end) = self.held[start..].iter().position(|byte| *byte == b'\n') else {
                return Cow::Owned(self.pass(start));
            };
            let line = &self.held[start + self.prefix.len()..start + end];
            self.pid = std::str::from_utf8(line).ok().and_then(|text| text.trim_end().parse().ok());
            self.held.drain(start..=start + end);
            return Cow::Owned(self.finish());
        }
        // Keep only what may be the beginning of the prefix.
        let keep = (1..self.prefix.len().min(self.held.len() + 1))
            .rev()
            .find(|length| self.held.ends_with(&self.prefix.as_bytes()[..*length]))
            .unwrap_or(0);
        let ready = self.held.len() - keep;
        Cow::Owned(self.pass(ready))
    }

    /// What was held back, once the output has ended.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.searching = false;
        std::mem::take(&mut self.held)
    }

    pub(super) fn stream(&self) -> OutputStream {
        self.stream
    }

    fn pass(&mut self, length: usize) -> Vec<u8> {
        self.passed += length;
        if self.passed > LOOK_WITHIN_BYTES || self.held.len() - length > LOOK_WITHIN_BYTES {
            return self.finish();
        }
        self.held.drain(..length).collect()
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(marker: &mut PidMarker, chunks: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(&marker.filter(OutputStream::Stderr, chunk));
        }
        out.extend(marker.finish());
        out
    }

    proptest! {
        #[test]
        fn the_line_is_found_however_the_stream_is_cut(cut in 0usize..60, second in 0usize..60) {
            let text = b"from ingot-comm bashrc\ningot-command-7:4321\nhello ingot-command-7:1\n";
            let (a, b) = (cut.min(second).min(text.len()), cut.max(second).min(text.len()));
            let mut marker = PidMarker::new(7, false);
            let out = feed(&mut marker, &[&text[..a], &text[a..b], &text[b..]]);
            prop_assert_eq!(marker.pid(), Some(4321));
            prop_assert_eq!(out, b"from ingot-comm bashrc\nhello ingot-command-7:1\n".to_vec());
        }
    }

    #[test]
    fn output_without_the_line_passes_whole_and_in_time() {
        let mut marker = PidMarker::new(1, false);
        assert_eq!(&*marker.filter(OutputStream::Stderr, b"error: ingot"), b"error: ");
        assert_eq!(&*marker.filter(OutputStream::Stderr, b"s\n"), b"ingots\n");
        assert_eq!(&*marker.filter(OutputStream::Stdout, b"ingot-"), b"ingot-");
        let flood = vec![b'x'; LOOK_WITHIN_BYTES + 1];
        assert_eq!(marker.filter(OutputStream::Stderr, &flood).len(), flood.len());
        assert_eq!(&*marker.filter(OutputStream::Stderr, b"ingot-command-1:5\n"), b"ingot-command-1:5\n");
        assert_eq!(marker.pid(), None);
    }

    #[test]
    fn a_terminal_writes_carriage_returns() {
        let mut marker = PidMarker::new(2, true);
        assert_eq!(&*marker.filter(OutputStream::Stdout, b"ingot-command-2:77\r\nhi"), b"hi");
        assert_eq!(marker.pid(), Some(77));
    }

    #[test]
    fn the_text_stays_on_its_first_line() {
        insta::assert_snapshot!(PidMarker::new(3, false).wrap("echo 'a'\nb"), @r#"
        printf 'ingot-command-3:%s\n' "$$" >&2; echo 'a'
        b
        "#);
    }
}
