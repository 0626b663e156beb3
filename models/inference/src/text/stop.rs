//! Stop strings, found wherever token borders fall.

use crate::error::InferenceError;
use crate::limits::{STOP_STRING_BYTES_MAX, STOP_STRINGS_MAX};
use crate::secret::SecretText;

/// Holds back the end of the text as long as it may be the start of a stop string.
pub(crate) struct StopStrings {
    stops: Vec<SecretText>,
    held: SecretText,
}

/// What may be shown, and whether a stop string ended it.
pub(crate) struct Passed {
    pub(crate) text: SecretText,
    pub(crate) stopped: bool,
}

impl StopStrings {
    pub(crate) fn new(stops: &[&str]) -> Result<Self, InferenceError> {
        let in_bounds = |stop: &&str| (1..=STOP_STRING_BYTES_MAX).contains(&stop.len());
        if stops.len() > STOP_STRINGS_MAX || !stops.iter().all(in_bounds) {
            return Err(InferenceError::RequestInvalid {
                parameter: "stop",
                expected: "at most 16 strings of 1 to 1024 bytes",
            });
        }
        let stops = stops
            .iter()
            .map(|stop| SecretText::new((*stop).to_owned()))
            .collect();
        Ok(Self {
            stops,
            held: SecretText::new(String::new()),
        })
    }

    /// Adds text; returns what can no longer become part of a stop string.
    pub(crate) fn push(&mut self, text: &str) -> Passed {
        self.held.push_str(text);
        let held = self.held.expose_text();
        let first = self
            .stops
            .iter()
            .filter_map(|stop| held.find(stop.expose_text()))
            .min();
        if let Some(first) = first {
            let text = self.held.take_front(first);
            self.held = SecretText::new(String::new());
            return Passed { text, stopped: true };
        }
        let keep = self
            .stops
            .iter()
            .map(|stop| longest_overlap(held, stop.expose_text()))
            .max()
            .unwrap_or(0);
        let text = self.held.take_front(held.len() - keep);
        Passed { text, stopped: false }
    }

    /// What is still held back when the completion ends otherwise.
    pub(crate) fn finish(&mut self) -> SecretText {
        self.held.take_front(self.held.len())
    }
}

/// Length of the longest end of `text` that `stop` begins with. A common run of whole characters on both sides,
/// so it is a character border of `text`.
pub(crate) fn longest_overlap(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len().saturating_sub(1));
    (1..=longest)
        .rev()
        .filter(|length| stop.is_char_boundary(*length))
        .find(|length| text.as_bytes().ends_with(&stop.as_bytes()[..*length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in parts of `size` characters and returns what passed.
    fn run(stops: &[&str], text: &str, size: usize) -> (String, bool) {
        let mut matcher = StopStrings::new(stops).expect("they are in bounds");
        let mut shown = String::new();
        let characters: Vec<char> = text.chars().collect();
        for part in characters.chunks(size) {
            let passed = matcher.push(&part.iter().collect::<String>());
            shown.push_str(passed.text.expose_text());
            if passed.stopped {
                return (shown, true);
            }
        }
        shown.push_str(matcher.finish().expose_text());
        (shown, false)
    }

    #[test]
    fn a_stop_string_is_found_across_every_border() {
        for size in 1..12 {
            assert_eq!(
                run(&["\n\nUser:"], "Hello\n\nUser: again", size),
                ("Hello".to_owned(), true),
                "{size}"
            );
            assert_eq!(
                run(&["ab", "aab"], "xaaby", size),
                ("x".to_owned(), true),
                "{size}"
            );
            assert_eq!(
                run(&["é🙂"], "eé🙁é🙂!", size),
                ("eé🙁".to_owned(), true),
                "{size}"
            );
            assert_eq!(
                run(&["\n\nUser:"], "Hello\n\nUse", size),
                ("Hello\n\nUse".to_owned(), false),
                "{size}"
            );
            assert_eq!(
                run(&["aaab"], "aaaaaaab", size),
                ("aaaa".to_owned(), true),
                "{size}"
            );
        }
    }

    #[test]
    fn text_is_held_back_no_longer_than_needed() {
        let mut matcher = StopStrings::new(&["STOP"]).expect("in bounds");
        assert_eq!(matcher.push("one ST").text.expose_text(), "one ");
        assert_eq!(matcher.push("AR").text.expose_text(), "STAR");
    }

    #[test]
    fn out_of_bounds_is_refused() {
        let long = "x".repeat(STOP_STRING_BYTES_MAX + 1);
        for stops in [&[""][..], &[long.as_str()], &["x"; STOP_STRINGS_MAX + 1]] {
            assert!(StopStrings::new(stops).is_err());
        }
    }
}
