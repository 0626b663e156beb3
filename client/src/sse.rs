//! Server-sent events, pushed in as they arrive: padding dropped, the end held back.
//!
//! WHATWG HTML section 9.2. A line that begins with a colon is a comment: the enclave pads with comments. The event
//! `data: [DONE]` tells a client that the answer is whole, so it is held back until that is known.

use zeroize::Zeroizing;

/// What OpenAI clients take for the end of a stream.
const DONE: &[u8] = b"[DONE]";
/// Longest line accepted (bytes).
const LINE_BYTES_MAX: usize = 1 << 20;

/// A line longer than anything that the enclave sends.
#[derive(Debug, PartialEq, Eq)]
pub struct LineTooLong;

/// Splits a stream of bytes into the data of its events. Everything in it is wiped when dropped.
#[derive(Default)]
pub struct Events {
    line: Zeroizing<Vec<u8>>,
    data: Zeroizing<Vec<u8>>,
    done: bool,
}

/// The data of one event, without its line ends.
pub type Data = Zeroizing<Vec<u8>>;

impl Events {
    /// Takes bytes and gives the data of the events that they complete, except the end marker.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Data>, LineTooLong> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            if self.line.len() + text.len() > LINE_BYTES_MAX {
                return Err(LineTooLong);
            }
            self.line.extend_from_slice(text);
            if ends {
                let line = std::mem::take(&mut self.line);
                self.end_of_line(line.strip_suffix(b"\r").unwrap_or(&line), &mut events);
            }
        }
        Ok(events)
    }

    /// Whether the end marker has come.
    pub fn done(&self) -> bool {
        self.done
    }

    fn end_of_line(&mut self, line: &[u8], events: &mut Vec<Data>) {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            match data.as_slice() {
                b"" => {}
                DONE => self.done = true,
                _ => events.push(data),
            }
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push(b'\n');
            }
            self.data
                .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        }
        // Comments are padding; `event`, `id` and `retry` are not used by this API.
    }
}

/// An event as it goes to a client.
pub fn event(data: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut event = Zeroizing::new(Vec::with_capacity(data.len() + 8));
    for line in data.split(|byte| *byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.push(b'\n');
    }
    event.push(b'\n');
    event
}

/// The end marker, for a client whose answer is whole.
pub fn end() -> Zeroizing<Vec<u8>> {
    event(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b": padding\n\ndata: {\"a\":1}\n\n: more\ndata: two\ndata: lines\r\n\r\n: x\n\ndata: [DONE]\n\n: adyton-receipt x\n\n";

    fn texts(events: Vec<Data>) -> Vec<String> {
        events
            .iter()
            .map(|data| String::from_utf8(data.to_vec()).expect("the test's own text"))
            .collect()
    }

    #[test]
    fn comments_vanish_and_the_end_is_held_back_wherever_the_stream_is_split() {
        for at in 0..=STREAM.len() {
            let mut events = Events::default();
            let mut found = texts(events.push(&STREAM[..at]).expect("short lines"));
            found.extend(texts(events.push(&STREAM[at..]).expect("short lines")));
            assert_eq!(found, ["{\"a\":1}", "two\nlines"], "split at {at}");
            assert!(events.done());
        }
    }

    #[test]
    fn an_unfinished_event_is_not_given() {
        let mut events = Events::default();
        assert!(events.push(b"data: half\n").expect("short").is_empty());
        assert!(!events.done());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut events = Events::default();
        assert_eq!(texts(events.push(&event(b"a\nb")).expect("short")), ["a\nb"]);
        assert!(events.push(&end()).expect("short").is_empty());
        assert!(events.done());
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut events = Events::default();
        assert!(events.push(&vec![b'x'; LINE_BYTES_MAX]).is_ok());
        assert_eq!(events.push(b"x").err(), Some(LineTooLong));
    }
}
