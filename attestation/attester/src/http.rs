//! The little of HTTP/1.1 (RFC 9112) that a cloud's metadata service takes.
//!
//! One request per connection to a literal address, without TLS, redirects or names to resolve: the
//! service is link-local, and nothing that it says is believed without a signature. Every part of an
//! answer has a bound, and so has the whole exchange in time.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const HEAD_BYTES_MAX: usize = 16 * 1024;
const BODY_BYTES_MAX: usize = 256 * 1024;
const PIECE_BYTES: usize = 4096;

/// An answer: status and body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Asks `server` for `path`: GET without a `body`, POST with one. `path` is ours, never another's.
pub(crate) fn request(
    server: SocketAddr,
    path: &str,
    body: Option<&[u8]>,
    time_max: Duration,
) -> io::Result<Response> {
    let deadline = Instant::now() + time_max;
    let mut stream = TcpStream::connect_timeout(&server, time_max)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let mut message = head(server, path, body);
    message.extend(body.unwrap_or_default());
    stream.write_all(&message)?;
    Reader {
        stream,
        deadline,
        buffer: Vec::new(),
    }
    .response()
}

fn head(server: SocketAddr, path: &str, body: Option<&[u8]>) -> Vec<u8> {
    let (method, of_body) = match body {
        None => ("GET", String::new()),
        Some(body) => (
            "POST",
            format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ),
        ),
    };
    // Metadata: true shows the service that the request is not one that somebody else had us make.
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {server}\r\nMetadata: true\r\nAccept: application/json\r\n\
         Connection: close\r\n{of_body}\r\n"
    )
    .into_bytes()
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(io::ErrorKind::TimedOut.into())
    } else {
        Ok(left)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// How long a body is (RFC 9112 section 6.3).
enum Length {
    Bytes(usize),
    Chunked,
    UntilClosed,
}

struct Reader {
    stream: TcpStream,
    deadline: Instant,
    buffer: Vec<u8>,
}

impl Reader {
    fn response(mut self) -> io::Result<Response> {
        let (status, length) = self.head()?;
        let body = match length {
            Length::Bytes(bytes) => self.take(bytes)?,
            Length::Chunked => self.chunks()?,
            Length::UntilClosed => {
                while self.more()? {
                    if self.buffer.len() > BODY_BYTES_MAX {
                        return Err(invalid("the body exceeds its bound"));
                    }
                }
                std::mem::take(&mut self.buffer)
            }
        };
        Ok(Response { status, body })
    }

    /// Reads on; false at the end of the stream.
    fn more(&mut self) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        let mut piece = [0; PIECE_BYTES];
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer.extend(piece.iter().take(read));
        Ok(read > 0)
    }

    fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        if bytes > BODY_BYTES_MAX {
            return Err(invalid("the body exceeds its bound"));
        }
        while self.buffer.len() < bytes {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let rest = self.buffer.split_off(bytes);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// A line without its CRLF, of at most the bytes of a head.
    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let mut line = self.take(end + 2)?;
                line.truncate(end);
                return String::from_utf8(line).map_err(|_| invalid("a line that is not text"));
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(invalid("a line exceeds its bound"));
            }
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn head(&mut self) -> io::Result<(u16, Length)> {
        let line = self.line()?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| invalid("not HTTP/1.1"))?;
        let mut length = None;
        let mut bytes = line.len();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, length.unwrap_or(Length::UntilClosed)));
            }
            bytes += line.len();
            if bytes > HEAD_BYTES_MAX {
                return Err(invalid("the head exceeds its bound"));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid("a field without a colon"))?;
            let found = if name.eq_ignore_ascii_case("content-length") {
                Length::Bytes(decimal(value.trim()).ok_or_else(|| invalid("not a length"))?)
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if !value.trim().eq_ignore_ascii_case("chunked") {
                    return Err(invalid("a transfer coding that is not known"));
                }
                Length::Chunked
            } else {
                continue;
            };
            if length.replace(found).is_some() {
                return Err(invalid("two lengths"));
            }
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let bytes = hexadecimal(digits).ok_or_else(|| invalid("not a chunk's length"))?;
            if body.len() + bytes > BODY_BYTES_MAX {
                return Err(invalid("the body exceeds its bound"));
            }
            if bytes == 0 {
                // Trailers mean nothing here; the connection ends with this answer.
                return Ok(body);
            }
            body.extend(self.take(bytes)?);
            if !self.line()?.is_empty() {
                return Err(invalid("a chunk longer than its length"));
            }
        }
    }
}

fn decimal(text: &str) -> Option<usize> {
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn hexadecimal(text: &str) -> Option<usize> {
    let digits = (1..=7).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.then(|| usize::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
pub(crate) mod fake {
    //! A server for tests: checks each request to the letter, then answers by a script.

    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::thread::{self, JoinHandle};

    /// Answers one request per entry of a script, then stops.
    pub(crate) struct Server {
        pub(crate) address: SocketAddr,
        thread: JoinHandle<Vec<String>>,
    }

    impl Server {
        /// Each answer is sent in its pieces, and the connection closed.
        pub(crate) fn answering(answers: Vec<Vec<Vec<u8>>>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let thread = thread::spawn(move || {
                let serve = |answer: Vec<Vec<u8>>| {
                    let (mut stream, _) = listener.accept().expect("a connection");
                    let mut request = Vec::new();
                    while !whole(&request) {
                        let mut piece = [0; 1000];
                        let read = stream.read(&mut piece).expect("a request");
                        assert!(read > 0, "the request ended early");
                        request.extend(&piece[..read]);
                    }
                    for piece in answer {
                        // A client that refuses an answer hangs up on it.
                        let _ = stream.write_all(&piece);
                    }
                    String::from_utf8(request).expect("text")
                };
                answers.into_iter().map(serve).collect()
            });
            Self { address, thread }
        }

        /// The requests that came.
        pub(crate) fn requests(self) -> Vec<String> {
            self.thread.join().expect("the server ran to its end")
        }
    }

    /// Whether a request has its head and all of its body, and not more.
    fn whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |length| length.parse().expect("a length"));
        assert!(body.len() <= length, "more than the length says");
        body.len() == length
    }

    /// An answer of JSON.
    pub(crate) fn json(status: &str, body: &str) -> Vec<Vec<u8>> {
        vec![
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::fake::Server;
    use super::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Response, request};

    const SECONDS: Duration = Duration::from_secs(10);

    fn answered(pieces: &[&[u8]]) -> io::Result<Response> {
        let server = Server::answering(vec![pieces.iter().map(|piece| piece.to_vec()).collect()]);
        let outcome = request(server.address, "/path", None, SECONDS);
        server.requests();
        outcome
    }

    #[test]
    fn requests_are_what_the_service_expects() {
        let ok = || vec![b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()];
        let server = Server::answering(vec![ok(), ok()]);
        let address = server.address;
        request(address, "/a?b=c", None, SECONDS).expect("an answer");
        request(address, "/d", Some(b"{}"), SECONDS).expect("an answer");
        let common =
            format!("Host: {address}\r\nMetadata: true\r\nAccept: application/json\r\nConnection: close\r\n");
        assert_eq!(
            server.requests(),
            [
                format!("GET /a?b=c HTTP/1.1\r\n{common}\r\n"),
                format!(
                    "POST /d HTTP/1.1\r\n{common}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
                ),
            ]
        );
    }

    #[test]
    fn bodies_come_by_length_by_chunks_and_until_the_end() {
        let cases: [&[&[u8]]; 5] = [
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more"],
            &[b"HTTP/1.1 200 OK\r", b"\ncontent-LENGTH:5\r\n\r\nhe", b"llo"],
            &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"],
            &[
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                b"lo\r\n",
                b"0\r\n\r\n",
            ],
            &[b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"],
        ];
        for pieces in cases {
            let response = answered(pieces).expect("an answer");
            assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
        }
        assert_eq!(
            answered(&[b"HTTP/1.1 503 \r\n\r\n"]).expect("an answer").status,
            503
        );
    }

    #[test]
    fn what_is_not_http_or_beyond_a_bound_is_refused() {
        let long_field = [b"HTTP/1.1 200 OK\r\nX: ", &vec![b'x'; HEAD_BYTES_MAX + 2][..]].concat();
        let many_fields = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(HEAD_BYTES_MAX)].concat();
        let long_body = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; BODY_BYTES_MAX + 1]].concat();
        let cut: [&[u8]; 3] = [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
        ];
        let wrong: [&[u8]; 14] = [
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
            &long_field,
            &many_fields,
            &long_body,
        ];
        let cut = cut.map(|bytes| (bytes, io::ErrorKind::UnexpectedEof));
        let wrong = wrong.map(|bytes| (bytes, io::ErrorKind::InvalidData));
        for (bytes, kind) in cut.into_iter().chain(wrong) {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            let error = answered(&[bytes]).expect_err(&shown);
            assert_eq!(error.kind(), kind, "{shown}");
        }
    }

    #[test]
    fn a_server_that_says_nothing_does_not_hold_us() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let started = Instant::now();
        let outcome = request(
            listener.local_addr().expect("an address"),
            "/",
            None,
            Duration::from_millis(200),
        );
        assert!(outcome.is_err());
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
