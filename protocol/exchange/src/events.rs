//! The lines of a server-sent-event stream: what is content and what is not.
//!
//! Comment lines and superfluous empty lines carry padding and the receipt. [`CommentFilter`] takes them out, on
//! the client before anything else sees them and on the server before the response is hashed, so that both commit
//! to the same bytes.

use zeroize::Zeroizing;

/// What a receipt line begins with.
pub(crate) const RECEIPT_PREFIX: &[u8] = b": adyton-receipt ";
/// Longest comment line that is kept to see whether it is a receipt.
const COMMENT_BYTES_MAX: usize = 4 * 1024;

/// Content type of a stream.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// Takes comment lines and superfluous empty lines out of a stream, in pieces of any size.
pub(crate) struct CommentFilter {
    line: Line,
    /// The last line that was kept was empty, or there was none.
    after_empty: bool,
    receipt: Option<Vec<u8>>,
    receipts: usize,
}

enum Line {
    Start,
    Content,
    Comment(Vec<u8>),
}

impl Default for CommentFilter {
    fn default() -> Self {
        Self {
            line: Line::Start,
            after_empty: true,
            receipt: None,
            receipts: 0,
        }
    }
}

impl CommentFilter {
    /// What of `bytes` is content.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
        for byte in bytes.iter().copied() {
            match (&mut self.line, byte) {
                (Line::Start, b'\n') => {
                    if !self.after_empty {
                        out.push(byte);
                    }
                    self.after_empty = true;
                }
                (Line::Start, b':') => self.line = Line::Comment(vec![byte]),
                (Line::Start, _) => {
                    out.push(byte);
                    self.after_empty = false;
                    self.line = Line::Content;
                }
                (Line::Content, _) => {
                    out.push(byte);
                    if byte == b'\n' {
                        self.line = Line::Start;
                    }
                }
                (Line::Comment(comment), b'\n') => {
                    if let Some(receipt) = comment.strip_prefix(RECEIPT_PREFIX) {
                        self.receipt = Some(receipt.to_vec());
                        self.receipts += 1;
                    }
                    self.line = Line::Start;
                }
                (Line::Comment(comment), _) => {
                    if comment.len() < COMMENT_BYTES_MAX {
                        comment.push(byte);
                    }
                }
            }
        }
        out
    }

    /// The receipt line, if there was exactly one; an error when there were more.
    pub(crate) fn receipt(&self) -> Result<Option<&[u8]>, crate::ExchangeError> {
        match self.receipts {
            0 | 1 => Ok(self.receipt.as_deref()),
            _ => Err(crate::ExchangeError::Receipt("more than one in a response")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::padding::write_event_padding;
    use proptest::prelude::*;

    fn filter(bytes: &[u8]) -> Vec<u8> {
        CommentFilter::default().push(bytes).to_vec()
    }

    #[test]
    fn comments_and_superfluous_empty_lines_go() {
        assert_eq!(
            filter(b"\n\ndata: a\n\n\n:~~\n\n:\ndata: b\n:x\ndata: c\n\n"),
            b"data: a\n\ndata: b\ndata: c\n\n"
        );
        assert_eq!(filter(b"data: with : colon\n\n"), b"data: with : colon\n\n");
    }

    #[test]
    fn the_receipt_is_found_and_counted() {
        let mut one = CommentFilter::default();
        assert_eq!(
            one.push(b"data: x\n\n: adyton-receipt abc\n").as_slice(),
            b"data: x\n\n"
        );
        assert_eq!(one.receipt(), Ok(Some(&b"abc"[..])));
        one.push(b": adyton-receipt abc\n");
        assert!(one.receipt().is_err());
        assert_eq!(CommentFilter::default().receipt(), Ok(None));
    }

    #[test]
    fn a_comment_without_end_is_bounded() {
        let mut filter = CommentFilter::default();
        filter.push(b":");
        filter.push(&[b'~'; 100_000]);
        assert!(matches!(&filter.line, Line::Comment(comment) if comment.len() <= COMMENT_BYTES_MAX));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(bytes in prop::collection::vec(prop::sample::select(b":\nab".to_vec()), 0..60),
                                cut in 0usize..60) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let mut pieces = CommentFilter::default();
            let mut out = pieces.push(head).to_vec();
            out.extend(pieces.push(tail).iter());
            prop_assert_eq!(out, filter(&bytes));
        }

        #[test]
        fn padding_between_events_leaves_no_trace(gaps in prop::collection::vec(0usize..40, 1..8)) {
            let mut padded = Vec::new();
            let mut plain: Vec<u8> = Vec::new();
            for gap in gaps {
                plain.extend(b"data: {}\n\n");
                padded.extend(b"data: {}\n\n");
                write_event_padding(gap, &mut padded);
            }
            prop_assert_eq!(filter(&padded), plain);
        }
    }
}
