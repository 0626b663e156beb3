//! A server on loopback that answers by a function, after the faults that a test orders.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(other, _)| other == name);
        header.map(|(_, value)| value.as_str())
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Parameters in order; `None` if one has no value or stands twice.
    pub(crate) fn parameters(&self) -> Option<Vec<(&str, &str)>> {
        let Some((_, query)) = self.target.split_once('?') else {
            return Some(Vec::new());
        };
        let all: Option<Vec<_>> = query.split('&').map(|pair| pair.split_once('=')).collect();
        all.filter(|all| {
            all.iter()
                .all(|(name, _)| all.iter().filter(|(other, _)| other == name).count() == 1)
        })
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: b"no".to_vec(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn bytes(&self, content_length: usize) -> Vec<u8> {
        let mut head = format!(
            "HTTP/1.1 {} x\r\ncontent-length: {content_length}\r\nconnection: close\r\n",
            self.status
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// What goes wrong once.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Another answer.
    Reply(Reply),
    /// The true answer, cut in the middle.
    Truncated,
    /// The true answer with this body.
    Body(Vec<u8>),
    /// No answer.
    Hang,
    /// The connection ends.
    Close,
    /// The true answer.
    Nothing,
}

type Handler = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A running server; it ends with the test's runtime.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    down: Arc<Mutex<bool>>,
}

impl Fake {
    pub(crate) async fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(handler, None).await
    }

    pub(crate) async fn serve(
        handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let fake = Self {
            url: format!("{scheme}://127.0.0.1:{port}"),
            asked: Arc::default(),
            faults: Arc::default(),
            down: Arc::default(),
        };
        let (asked, faults, down) = (fake.asked.clone(), fake.faults.clone(), fake.down.clone());
        let handler: Handler = Arc::new(handler);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if *down.lock().expect("not poisoned") {
                    continue;
                }
                let (handler, asked, faults) = (handler.clone(), asked.clone(), faults.clone());
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, &handler, &asked, &faults).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => answer(stream, &handler, &asked, &faults).await,
                            Err(_) => Some(()),
                        },
                    }
                });
            }
        });
        fake
    }

    /// Orders faults for the next requests.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().expect("not poisoned").extend(faults);
    }

    /// Ends every connection from now on, or not any more.
    pub(crate) fn down(&self, down: bool) {
        *self.down.lock().expect("not poisoned") = down;
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("not poisoned").clone()
    }

    /// The paths asked for so far, and forgets them.
    pub(crate) fn take_targets(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().expect("not poisoned"));
        asked.into_iter().map(|asked| asked.target).collect()
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    handler: &Handler,
    asked: &Mutex<Vec<Asked>>,
    faults: &Mutex<VecDeque<Fault>>,
) -> Option<()> {
    let request = read(&mut stream).await?;
    asked.lock().expect("not poisoned").push(request.clone());
    let fault = faults.lock().expect("not poisoned").pop_front();
    let reply = handler(&request);
    let bytes = match fault.unwrap_or(Fault::Nothing) {
        Fault::Nothing => reply.bytes(reply.body.len()),
        Fault::Reply(other) => other.bytes(other.body.len()),
        Fault::Body(body) => {
            let reply = Reply { body, ..reply };
            reply.bytes(reply.body.len())
        }
        Fault::Truncated => {
            let bytes = reply.bytes(reply.body.len());
            bytes[..bytes.len() - reply.body.len() / 2].to_vec()
        }
        Fault::Hang => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            return None;
        }
        Fault::Close => return None,
    };
    stream.write_all(&bytes).await.ok()?;
    stream.shutdown().await.ok()
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0usize);
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked {
        method,
        target,
        headers,
        body: bytes[head + 4..].to_vec(),
    })
}
