//! One sealed request, from the first frame to the audit record.
//!
//! 1. Ciphertext goes into the reader; what cannot be opened gets one fixed refusal, whatever the reason.
//! 2. The token is checked, before method, path and body.
//! 3. The route's handler answers, sealed: a document, an error object, or a stream of events.
//! 4. The host closing the connection, or the deadline, cancels what is running.
//! 5. The record is appended.

use std::{sync::Arc, time::Duration};

use exchange::{
    Completion, Request,
    receipt::{ReceiptFacts, SignedReceipt},
    server::Responder,
};
use futures_util::StreamExt;
use inference::{EmbeddingPlace, Usage};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};
use wire::{ProblemCode, frame::Frame, message::Media};

use crate::{
    api::{
        ApiError,
        access::Access,
        documents::{self, Answer, AnswerOptions, Shape},
        embeddings::{self, EmbeddingParameters},
        parameters::Parameters,
        route::Route,
    },
    audit_trail::{Answered, Outcome},
    clock::now,
    connection::{Connection, During, Step},
    embedding,
    engine::{self, Progress, Running},
    event_stream,
    serving::Serving,
    transport::{Frames, abort},
};

/// How long the host may take to hand over a whole request.
const REQUEST_SECONDS_MAX: Duration = Duration::from_secs(30);

const JSON: &str = "application/json";

/// How an answer ended, for the record.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) receipt: Option<SignedReceipt>,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            receipt: None,
        }
    }
}

/// Serves one stream.
pub(crate) async fn serve(mut frames: Frames, media: Media, serving: Arc<Serving>) {
    let opened = timeout(REQUEST_SECONDS_MAX, open(&mut frames, media, &serving)).await;
    let (request, responder) = match opened.unwrap_or(Err(Unopened::Cut)) {
        Ok(opened) => opened,
        Err(Unopened::Refused(code)) => return abort(&mut frames, code.outside()).await,
        Err(Unopened::Cut) => return,
    };
    serving.board.count_request();
    let _active = serving.board.active();
    let epoch = responder.epoch();
    let seconds = u64::from(serving.config.limits.request_seconds_max);
    let connection = Connection::new(frames, Instant::now() + Duration::from_secs(seconds));
    let mut exchange = Exchange {
        connection,
        serving: &serving,
        epoch,
    };
    let ended = match request {
        Ok(request) => exchange.answer(request, responder).await,
        Err(code) => exchange.refuse(responder, code.into()).await,
    };
    let statement_sha256 = exchange.statement_sha256();
    serving.trail.request(
        &serving.identity,
        &Answered {
            time: now().seconds(),
            epoch,
            outcome: ended.outcome,
            statement_sha256,
            model_digest: serving.model_digest,
            receipt_sha256: ended
                .receipt
                .map(|receipt| Sha256::digest(&receipt.payload).into()),
        },
    );
}

/// Why there is nothing to answer.
enum Unopened {
    /// The host is told this and no more.
    Refused(ProblemCode),
    /// The host cut the stream.
    Cut,
}

type Opened = (Result<Request, ProblemCode>, Responder);

async fn open(frames: &mut Frames, media: Media, serving: &Serving) -> Result<Opened, Unopened> {
    let mut reader = serving.requests.begin(media);
    loop {
        match frames.next().await {
            Some(Ok(Frame::Data(data))) => {
                reader
                    .push(&data, now())
                    .map_err(|error| Unopened::Refused(error.problem()))?;
            }
            Some(Ok(Frame::End)) => {
                return reader
                    .finish(now())
                    .map_err(|error| Unopened::Refused(error.problem()));
            }
            // The host counts too; the client is told the same either way.
            Some(Ok(Frame::Abort(ProblemCode::TooLarge))) => {
                return Err(Unopened::Refused(ProblemCode::TooLarge));
            }
            _ => return Err(Unopened::Cut),
        }
    }
}

/// What a route comes to.
enum Handled {
    Document(Completion),
    Running {
        running: Running,
        asked: Asked,
    },
    /// Vectors are to be computed.
    Embedding {
        parameters: EmbeddingParameters,
        place: EmbeddingPlace,
    },
}

/// How the answer is to be written.
struct Asked {
    shape: Shape,
    choices: usize,
    timeout: Option<Duration>,
    stream: bool,
    include_usage: bool,
}

/// One opened request and the way back.
pub(crate) struct Exchange<'a> {
    pub(crate) connection: Connection,
    pub(crate) serving: &'a Serving,
    epoch: u64,
}

impl Exchange<'_> {
    async fn answer(&mut self, request: Request, responder: Responder) -> Ended {
        let (mut running, asked) = match self.handle(request).await {
            Ok(Handled::Document(body)) => return self.respond(responder, &body, Usage::default()).await,
            Ok(Handled::Embedding { parameters, place }) => {
                return self.embed(responder, parameters, place).await;
            }
            Ok(Handled::Running { running, asked }) => (running, asked),
            Err(error) => return self.refuse(responder, error).await,
        };
        if let Some(timeout) = asked.timeout {
            self.connection.shorten(timeout);
        }
        self.serving.board.count_prompt_tokens(running.prompt_tokens);
        let mut random = [0; 16];
        if getrandom::fill(&mut random).is_err() {
            return self.refuse(responder, ProblemCode::Internal.into()).await;
        }
        let fingerprint = self.serving.system_fingerprint();
        let answer = Answer::new(AnswerOptions {
            shape: asked.shape,
            random,
            created: now().seconds(),
            model: self.serving.config.model.id.as_str(),
            system_fingerprint: &fingerprint,
            choices: asked.choices,
            include_usage: asked.include_usage,
        });
        let ended = if asked.stream {
            event_stream::answer(self, responder, &mut running, &answer).await
        } else {
            self.whole(responder, &mut running, &answer).await
        };
        running.end().await;
        ended
    }

    /// Steps 2 and 3 up to the start of the computation.
    async fn handle(&self, request: Request) -> Result<Handled, ApiError> {
        let serving = self.serving;
        let access = Access::check(request.token.as_ref(), &serving.token_issuers()?, now())?;
        let shape = match Route::of(&request)? {
            Route::Models => {
                let id = serving.config.model.id.as_str();
                let ids: &[&str] = if access.allows(id) { &[id] } else { &[] };
                return Ok(Handled::Document(documents::models(ids, serving.created)));
            }
            Route::Model(id) => {
                serving.check_model(&access, &id)?;
                return Ok(Handled::Document(documents::model(&id, serving.created)));
            }
            Route::Embeddings => return self.embeddings(request, &access),
            Route::Chat => Shape::Chat,
            Route::Completions => Shape::Text,
        };
        let parameters = match shape {
            Shape::Chat => Parameters::chat(request.body.expose())?,
            Shape::Text => Parameters::text(request.body.expose())?,
        };
        drop(request); // the body is wiped: the parameters hold what is needed of it
        serving.check_model(&access, &parameters.model)?;
        let limits = &serving.config.limits;
        if parameters.input.bytes() > limits.prompt_bytes_max {
            return Err(ProblemCode::PromptTooLong.into());
        }
        if parameters.timeout > Some(Duration::from_secs(limits.request_seconds_max.into())) {
            return Err(ApiError::parameter("timeout_seconds"));
        }
        // More completions than there are places at all will never be served.
        if parameters.choices > limits.concurrent_requests_max {
            return Err(ApiError::parameter("n"));
        }
        let asked = Asked {
            shape,
            choices: parameters.choices,
            timeout: parameters.timeout,
            stream: parameters.stream,
            include_usage: parameters.include_usage,
        };
        let engine = serving.engine()?;
        let running = engine::start(engine, access.tenant(), parameters, limits.prompt_tokens_max).await?;
        Ok(Handled::Running { running, asked })
    }

    /// Step 2 of an embedding.
    fn embeddings(&self, request: Request, access: &Access) -> Result<Handled, ApiError> {
        let serving = self.serving;
        let parameters = EmbeddingParameters::read(request.body.expose())?;
        drop(request);
        serving.check_model(access, &parameters.model)?;
        parameters.check(serving.embedder()?.embedder().dimensions())?;
        if parameters.bytes() > serving.config.limits.prompt_bytes_max {
            return Err(ProblemCode::PromptTooLong.into());
        }
        let place = serving.embedder()?.enter(access.tenant());
        Ok(Handled::Embedding {
            place: place.map_err(|_| ProblemCode::Overloaded)?,
            parameters,
        })
    }

    async fn embed(
        &mut self,
        responder: Responder,
        parameters: EmbeddingParameters,
        place: EmbeddingPlace,
    ) -> Ended {
        let serving = self.serving;
        let EmbeddingParameters { inputs, encoding, .. } = parameters;
        let work = embedding::embed(place, inputs, serving.config.limits.prompt_tokens_max);
        let embedded = match self.connection.during(work).await {
            During::Done(Ok(embedded)) => embedded,
            During::Done(Err(error)) => return self.refuse(responder, error).await,
            During::Deadline => return self.refuse(responder, ProblemCode::DeadlineExceeded.into()).await,
            During::Gone => return Outcome::Cancelled.into(),
        };
        let usage = Usage {
            prompt_tokens: embedded.iter().map(inference::Embedding::tokens).sum(),
            ..Usage::default()
        };
        serving.board.count_prompt_tokens(usage.prompt_tokens);
        let body = embeddings::document(&embedded, encoding, &serving.config.model.id, usage);
        drop(embedded);
        self.respond(responder, &body, usage).await
    }

    async fn whole(&mut self, responder: Responder, running: &mut Running, answer: &Answer<'_>) -> Ended {
        let mut whole = answer.gather();
        loop {
            match self.connection.next(running, None).await {
                Step::Progress(Progress::Delta(delta)) => whole.push(delta),
                Step::Progress(Progress::End { usage }) => {
                    self.serving
                        .board
                        .count_completion_tokens(usage.completion_tokens);
                    let body = whole.document(answer, usage);
                    return self.respond(responder, &body, usage).await;
                }
                Step::Progress(Progress::Failed(error)) => return self.refuse(responder, error).await,
                Step::Deadline => return self.refuse(responder, ProblemCode::DeadlineExceeded.into()).await,
                Step::Gone => return Outcome::Cancelled.into(),
                Step::Tick => {}
            }
        }
    }

    async fn respond(&mut self, responder: Responder, body: &Completion, usage: Usage) -> Ended {
        let facts = self.facts(usage);
        let mut out = Vec::new();
        let receipt = responder.respond(
            200,
            JSON,
            body,
            Some((&self.serving.identity.receipts, facts)),
            &mut out,
        );
        match receipt {
            Ok(receipt) if self.connection.finish(out).await => Ended {
                outcome: Outcome::Answered,
                receipt,
            },
            Ok(_) => Outcome::Cancelled.into(),
            Err(error) => Outcome::Failed(error.problem()).into(),
        }
    }

    pub(crate) async fn refuse(&mut self, responder: Responder, error: ApiError) -> Ended {
        let mut out = Vec::new();
        if responder.refuse(error.code, error.param, &mut out).is_ok() {
            self.connection.finish(out).await;
        }
        Outcome::Failed(error.code).into()
    }

    /// What the receipt of this request says.
    pub(crate) fn facts(&self, usage: Usage) -> ReceiptFacts {
        ReceiptFacts {
            model_digest: self.serving.model_digest,
            statement_sha256: self.statement_sha256(),
            prompt_tokens: usage.prompt_tokens as u64,
            completion_tokens: usage.completion_tokens as u64,
            time: now(),
        }
    }

    /// The statement that the client sealed under. Remembered longer than its key is accepted.
    fn statement_sha256(&self) -> [u8; 32] {
        self.serving
            .evidence
            .statement_sha256(self.epoch)
            .unwrap_or_default()
    }
}
