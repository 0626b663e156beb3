//! A model hub as the published API describes it: listings with lengths and digests, files behind a redirect to another
//! origin, ranges, tokens. It refuses what the real one refuses, and breaks off when told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt as _, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;

/// The commit of everything.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What a private repository asks for.
pub(crate) const TOKEN: &str = "hf_token";

/// What a hub holds and how it behaves.
#[derive(Default)]
pub(crate) struct Contents {
    /// By name; those over 1,000 bytes lie in the store of large files.
    pub(crate) files: BTreeMap<&'static str, Vec<u8>>,
    /// Asks for the token.
    pub(crate) private: bool,
    /// Breaks each answer of a large file off after so many bytes.
    pub(crate) breaks_after: Option<usize>,
    /// Sends this instead of the content of large files.
    pub(crate) sends_instead: Option<Vec<u8>>,
    /// Does not know ranges.
    pub(crate) without_ranges: bool,
}

/// A running hub.
pub(crate) struct FakeHub {
    pub(crate) url: String,
    /// Path, and the first byte asked for, of each request for content.
    pub(crate) asked: Arc<Mutex<Vec<(String, u64)>>>,
    /// How many answers may still be broken off.
    pub(crate) breaks_left: Arc<AtomicU64>,
}

struct State {
    contents: Contents,
    store: String,
    asked: Arc<Mutex<Vec<(String, u64)>>>,
    breaks_left: Arc<AtomicU64>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl FakeHub {
    pub(crate) fn start(contents: Contents) -> Self {
        let bind = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let origin = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
            (listener, origin)
        };
        let ((hub, url), (store, store_url)) = (bind(), bind());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let breaks_left = Arc::new(AtomicU64::new(u64::MAX));
        let state = Arc::new(State {
            contents,
            store: store_url,
            asked: asked.clone(),
            breaks_left: breaks_left.clone(),
        });
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let store = serve(store, state.clone(), true);
                tokio::join!(serve(hub, state, false), store);
            });
        });
        Self {
            url,
            asked,
            breaks_left,
        }
    }
}

async fn serve(listener: TcpListener, state: Arc<State>, is_store: bool) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(state.answer(&request, is_store)) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn plain(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let body = http_body_util::Full::new(body.into()).map_err(|never| match never {});
    response.body(body.boxed()).unwrap()
}

impl State {
    fn answer(&self, request: &Request<Incoming>, is_store: bool) -> Response<Body> {
        assert_eq!(request.method(), Method::GET);
        let path = request.uri().path();
        if is_store {
            // Signed addresses come with their own permission; a token has no business here.
            assert!(
                !request.headers().contains_key(header::AUTHORIZATION),
                "the token went to another origin"
            );
            let name = path
                .strip_prefix("/store/")
                .expect("an address that the hub gave");
            return self.content(name, request.headers(), true);
        }
        if self.contents.private {
            let expected = format!("Bearer {TOKEN}");
            if request
                .headers()
                .get(header::AUTHORIZATION)
                .is_none_or(|token| token != expected.as_str())
            {
                return plain(401, &[("x-error-code", "GatedRepo")], "{}");
            }
        }
        if let Some(revision) = path.strip_prefix("/api/models/acme/tiny/revision/") {
            assert_eq!(request.uri().query(), Some("blobs=true"));
            return match revision {
                "main" | "v1" | COMMIT => plain(200, &[], self.listing()),
                _ => plain(404, &[("x-error-code", "RevisionNotFound")], "{}"),
            };
        }
        match path.strip_prefix(&format!("/acme/tiny/resolve/{COMMIT}/")) {
            Some(name)
                if self
                    .contents
                    .files
                    .get(name)
                    .is_some_and(|content| content.len() > 1000) =>
            {
                plain(302, &[("location", &format!("{}/store/{name}", self.store))], "")
            }
            Some(name) if self.contents.files.contains_key(name) => {
                self.content(name, request.headers(), false)
            }
            _ => plain(404, &[("x-error-code", "RepoNotFound")], "{}"),
        }
    }

    fn listing(&self) -> String {
        let sibling = |(name, content): (&&str, &Vec<u8>)| {
            let mut blob = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
            blob.update(format!("blob {}\0", content.len()).as_bytes());
            blob.update(content);
            let mut sibling = json!({
                "rfilename": name, "size": content.len(), "blobId": hex::encode(blob.finish()),
            });
            if content.len() > 1000 {
                let sha256 = hex::encode(digest(&SHA256, content));
                sibling["lfs"] = json!({ "sha256": sha256, "size": content.len(), "pointerSize": 134 });
            }
            sibling
        };
        let siblings: Vec<_> = self.contents.files.iter().map(sibling).collect();
        json!({ "id": "acme/tiny", "sha": COMMIT, "private": self.contents.private, "siblings": siblings })
            .to_string()
    }

    fn content(&self, name: &str, headers: &HeaderMap, large: bool) -> Response<Body> {
        let content = match &self.contents.sends_instead {
            Some(other) if large => other,
            _ => &self.contents.files[name],
        };
        let range = headers
            .get(header::RANGE)
            .filter(|_| !self.contents.without_ranges);
        let from = range.map_or(0, |range| {
            let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
            range.strip_suffix('-').unwrap().parse::<usize>().unwrap()
        });
        self.asked.lock().unwrap().push((name.to_owned(), from as u64));
        if from >= content.len() && from > 0 {
            return plain(416, &[], "");
        }
        let mut frames = vec![Ok(Frame::data(Bytes::copy_from_slice(&content[from..])))];
        if large
            && let Some(after) = self.contents.breaks_after
            && content.len() - from > after
            && self
                .breaks_left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
        {
            frames = vec![
                Ok(Frame::data(Bytes::copy_from_slice(&content[from..from + after]))),
                Err(std::io::Error::other("cut")),
            ];
        }
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        let mut response = Response::builder().header(header::CONTENT_LENGTH, content.len() - from);
        if range.is_some() {
            let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
            response = response.status(206).header(header::CONTENT_RANGE, range);
        }
        response.body(body).unwrap()
    }
}
