//! A deployment whose evidence was accepted, and questions to it.
//!
//! 1. [`Session::open`] appraises fresh evidence and binds the attested key; without that there is no session.
//! 2. Before each request the evidence's age is enforced; when it has run out, fresh evidence is appraised first.
//! 3. When the enclave cannot open a request (problem `key-config`: it has moved on to its next key), fresh evidence is
//!    appraised and the request sealed once more, exactly once.
//! 4. Evidence that is rejected ends the use of what was accepted before: nothing is sent until evidence is accepted.

use std::{
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::{Duration, Instant},
};

use attestation::{Role, UnixTime, VerifiedEvidence, Verifier};
use bytes::Bytes;
use exchange::{ApiToken, Padding, Prompt, Request, client::Exchange};
use sealing::{AttestedKey, Profile};
use tokio::sync::Mutex;
use wire::{ProblemCode, media, message::Media};
use zeroize::Zeroizing;

use crate::{answer::Answer, discovery, error::ClientError, transport::Transport};

/// After a rejection, evidence is asked for again at most this often.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Says what time it is.
pub type Clock = Box<dyn Fn() -> UnixTime + Send + Sync>;

/// Is told of each acceptance.
pub type Observer = Box<dyn Fn(&VerifiedEvidence) + Send + Sync>;

/// Evidence that was accepted, with the key that it vouches for.
pub struct Attested {
    evidence: VerifiedEvidence,
    key: AttestedKey,
}

impl Attested {
    /// What was accepted.
    pub fn evidence(&self) -> &VerifiedEvidence {
        &self.evidence
    }
}

/// What was found when evidence was last appraised.
enum Standing {
    Accepted(Arc<Attested>),
    Rejected { error: Arc<ClientError>, at: Instant },
}

/// One question, kept so that it can be sealed a second time. Its text is wiped when dropped.
pub struct Question {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Lower-case names; without `authorization`, `date` and `content-length`.
    pub headers: Vec<(String, String)>,
    /// The bearer token.
    pub token: Option<Arc<ApiToken>>,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

impl Question {
    fn request(&self) -> Request {
        Request {
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.headers.clone(),
            token: self
                .token
                .as_ref()
                .map(|token| ApiToken::new(token.expose().to_owned())),
            body: Prompt::from_zeroizing(self.body.clone()),
        }
    }

    /// Whether an answer without a receipt is wrong: every completion has one.
    fn earns_receipt(&self) -> bool {
        self.method == "POST"
    }
}

/// A verified deployment.
pub struct Session {
    transport: Transport,
    verifier: Verifier,
    padding: Padding,
    standing: StdMutex<Standing>,
    // Held while evidence is fetched, so that many requests wait for one appraisal.
    renewal: Mutex<()>,
    clock: Clock,
    observer: Option<Observer>,
}

impl Session {
    /// Appraises the deployment's evidence; an error is the reason why there is no session.
    pub async fn open(
        transport: Transport,
        verifier: Verifier,
        padding: Padding,
    ) -> Result<Self, ClientError> {
        Self::open_with_clock(transport, verifier, padding, Box::new(discovery::now)).await
    }

    /// The same with another clock, which tests drive.
    pub async fn open_with_clock(
        transport: Transport,
        verifier: Verifier,
        padding: Padding,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        let attested = appraise(&transport, &verifier, &clock).await?;
        let standing = StdMutex::new(Standing::Accepted(Arc::new(attested)));
        Ok(Self {
            transport,
            verifier,
            padding,
            standing,
            renewal: Mutex::new(()),
            clock,
            observer: None,
        })
    }

    /// Tells `observer` of what was accepted, and of each acceptance from now on.
    pub fn observed_by(mut self, observer: Observer) -> Self {
        if let Standing::Accepted(attested) = self.standing.get_mut().unwrap_or_else(PoisonError::into_inner)
        {
            observer(&attested.evidence);
        }
        self.observer = Some(observer);
        self
    }

    /// Accepted evidence that is fresh now: what there is, or newly appraised.
    pub async fn attested(&self) -> Result<Arc<Attested>, ClientError> {
        match self.usable() {
            Some(usable) => usable,
            None => self.renew_unless(|session| session.usable()).await,
        }
    }

    /// Accepted evidence other than `used`, which the enclave does not open any more.
    async fn attested_after(&self, used: &Arc<Attested>) -> Result<Arc<Attested>, ClientError> {
        self.renew_unless(|session| match session.usable() {
            Some(Ok(current)) if Arc::ptr_eq(&current, used) => None,
            other => other,
        })
        .await
    }

    /// Appraises fresh evidence although the present one may be good: at a key epoch's end, before requests have to
    /// wait for it.
    pub async fn renew(&self) -> Result<Arc<Attested>, ClientError> {
        self.renew_unless(|_| None).await
    }

    /// The last moment of what is accepted now, if anything is.
    pub fn fresh_until(&self) -> Option<UnixTime> {
        match &*self.standing.lock().unwrap_or_else(PoisonError::into_inner) {
            Standing::Accepted(attested) => Some(attested.evidence.fresh_until()),
            Standing::Rejected { .. } => None,
        }
    }

    /// Seals `question` to a fresh attested key and begins its answer.
    pub async fn ask(&self, question: &Question) -> Result<Answer, ClientError> {
        let attested = self.attested().await?;
        match self.ask_once(question, &attested).await {
            Err(ClientError::Host { code, .. }) if code == ProblemCode::KeyConfig.as_str() => {
                let fresh = self.attested_after(&attested).await?;
                self.ask_once(question, &fresh).await
            }
            answered => answered,
        }
    }

    async fn ask_once(&self, question: &Question, attested: &Arc<Attested>) -> Result<Answer, ClientError> {
        let sealed = Exchange::seal(
            &attested.key,
            Media::Chunked,
            question.request(),
            self.padding,
            (self.clock)(),
        );
        let (pieces, reader) = sealed.map_err(|error| exchange_failed(&error))?;
        let pieces: Vec<Bytes> = pieces.map(Bytes::from).collect();
        let chunks = futures_util::stream::iter(pieces);
        let response = self
            .transport
            .post(
                media::OHTTP_CHUNKED_REQUEST,
                media::OHTTP_CHUNKED_RESPONSE,
                chunks,
            )
            .await?;
        Answer::begin(
            response.into_body(),
            reader,
            Arc::clone(attested),
            question.earns_receipt(),
        )
        .await
    }

    /// `None` when evidence has to be appraised first.
    fn usable(&self) -> Option<Result<Arc<Attested>, ClientError>> {
        match &*self.standing.lock().unwrap_or_else(PoisonError::into_inner) {
            Standing::Accepted(attested) if attested.evidence.is_fresh((self.clock)()) => {
                Some(Ok(Arc::clone(attested)))
            }
            Standing::Rejected { error, at } if at.elapsed() < RETRY_PAUSE => {
                Some(Err(Arc::clone(error).into()))
            }
            _ => None,
        }
    }

    async fn renew_unless(
        &self,
        done: impl Fn(&Self) -> Option<Result<Arc<Attested>, ClientError>>,
    ) -> Result<Arc<Attested>, ClientError> {
        let _one_at_a_time = self.renewal.lock().await;
        if let Some(done) = done(self) {
            return done;
        }
        let (standing, result) = match appraise(&self.transport, &self.verifier, &self.clock).await {
            Ok(attested) => {
                if let Some(observer) = &self.observer {
                    observer(&attested.evidence);
                }
                let attested = Arc::new(attested);
                (Standing::Accepted(Arc::clone(&attested)), Ok(attested))
            }
            // A host that is away says nothing about the enclave: what is accepted stays so until its own end.
            Err(error) if error.is_about_reachability() => return Err(error),
            Err(error) => {
                let error = Arc::new(error);
                (
                    Standing::Rejected {
                        error: Arc::clone(&error),
                        at: Instant::now(),
                    },
                    Err(error.into()),
                )
            }
        };
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
        result
    }
}

async fn appraise(
    transport: &Transport,
    verifier: &Verifier,
    clock: &Clock,
) -> Result<Attested, ClientError> {
    let fetched = discovery::fetch(transport).await?;
    let evidence = verifier.appraise(&fetched.bundle, &fetched.nonce, clock())?;
    // Evidence of a broker is as genuine as that of an enclave, and no place for a prompt.
    if evidence.statement().role != Role::Inference {
        return Err(ClientError::Key(
            "the statement's role is not inference".to_owned(),
        ));
    }
    let key = [Profile::Default, Profile::Fips]
        .into_iter()
        .find_map(|profile| AttestedKey::choose(profile, &evidence).ok());
    let key = key.ok_or_else(|| {
        ClientError::Key("no suite of the attested key configurations is permitted".to_owned())
    })?;
    Ok(Attested { evidence, key })
}

/// A fault of sealing, before anything was sent.
fn exchange_failed(error: &exchange::ExchangeError) -> ClientError {
    let code = error.problem();
    ClientError::Service {
        code: code.as_str().to_owned(),
        message: code.title().to_owned(),
        status: code.status(),
    }
}
