//! The admin listener: TLS 1.3 with a client certificate under the admin CA, HTTP/1.1, JSON. The calls are listed in this
//! crate's README.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, Path, Query, Request, State,
        rejection::{BytesRejection, QueryRejection},
    },
    http::header::CONTENT_LENGTH,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use sealed_model::Wrap;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;
use wire::ids::ModelId;

use crate::{
    change::Change,
    error::BrokerError,
    log::{Event, Line},
    metrics::Listener,
    model_policy::POLICY_BYTES_MAX,
    owner::Owner,
    problem::Problem,
    registration::Registration,
    service::{Shared, now},
};

/// A registration: the policy's text in JSON, and a few kilobytes.
const BODY_BYTES_MAX: usize = 2 * POLICY_BYTES_MAX;
const HANDSHAKE_SECONDS_MAX: Duration = Duration::from_secs(10);
const HEADER_SECONDS_MAX: Duration = Duration::from_secs(10);
const REQUEST_SECONDS_MAX: Duration = Duration::from_secs(30);
const CONNECTION_SECONDS_MAX: Duration = Duration::from_secs(300);
/// Entries in one answer.
const ENTRIES_MAX: u32 = 1000;

/// Serves admin connections.
pub(crate) struct AdminService {
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    router: Router,
}

impl AdminService {
    pub(crate) fn new(shared: Arc<Shared>, tls: ServerConfig) -> Self {
        let router = Router::new()
            .route("/v1/registration-key", get(registration_key))
            .route("/v1/models", get(models))
            .route("/v1/models/{*model_id}", put(register).delete(disable))
            .route("/v1/tenant-kek/disable", post(disable_kek))
            .route("/v1/tenant-kek/enable", post(enable_kek))
            .route("/v1/tenant-kek/rotate", post(rotate_kek))
            .route("/v1/audit/entries", get(entries))
            .route("/v1/audit/checkpoint", get(checkpoint))
            .fallback(async || Problem::not_found())
            .method_not_allowed_fallback(async || Problem::method_not_allowed())
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn(within_bounds))
            .with_state(shared.clone());
        Self {
            shared,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            router,
        }
    }

    /// One connection from its beginning to its end.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream) {
        let _open = self.shared.metrics.connection(Listener::Admin);
        let Ok(Ok(stream)) = timeout(HANDSHAKE_SECONDS_MAX, self.acceptor.accept(stream)).await else {
            return self.failed("handshake");
        };
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(owner) = certificates.first().and_then(Owner::of_certificate) else {
            return self.refuse(stream).await;
        };
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(owner)));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_SECONDS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        // How a connection ends says nothing: every answer was either sent or not.
        let _ = timeout(CONNECTION_SECONDS_MAX, connection).await;
    }

    /// A certificate of the CA without the role: one answer to whatever is asked.
    async fn refuse(&self, stream: tokio_rustls::server::TlsStream<TcpStream>) {
        let router = Router::new().fallback(async || Problem::forbidden());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_SECONDS_MAX)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let _ = timeout(REQUEST_SECONDS_MAX, connection).await;
        self.failed("role");
    }

    fn failed(&self, step: &'static str) {
        self.shared.metrics.connection_failed(Listener::Admin);
        self.shared
            .log
            .write(Line::new(Event::ConnectionFailed).what(step));
    }
}

type Answer<T> = Result<Json<T>, Problem>;

/// Refuses a body by its announced length, and whatever takes too long.
async fn within_bounds(request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Problem::too_large().into_response();
    }
    match timeout(REQUEST_SECONDS_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timeout().into_response(),
    }
}

#[derive(Serialize)]
struct RegistrationKeyAnswer {
    key_config: String,
}

async fn registration_key(State(shared): State<Arc<Shared>>) -> Json<RegistrationKeyAnswer> {
    let key_config = BASE64_STANDARD.encode(shared.registration_key.key_config().encode());
    Json(RegistrationKeyAnswer { key_config })
}

#[derive(Serialize)]
struct ModelsAnswer {
    models: Vec<ModelAnswer>,
}

#[derive(Serialize)]
struct ModelAnswer {
    model_id: String,
    version: u64,
    manifest_digest: String,
    policy_digest: String,
    owner_key: String,
    disabled: bool,
    kek_id: String,
    kek_version: u32,
}

async fn models(State(shared): State<Arc<Shared>>) -> Json<ModelsAnswer> {
    let registered = shared.directory.models();
    let models = registered.iter().map(|model| ModelAnswer {
        model_id: model.model_id().as_str().to_owned(),
        version: model.version,
        manifest_digest: hex::encode(model.manifest_digest),
        policy_digest: hex::encode(model.policy.digest()),
        owner_key: model.owner_key.clone(),
        disabled: model.disabled,
        kek_id: model.wrap.kek_id.clone(),
        kek_version: model.wrap.version,
    });
    Json(ModelsAnswer {
        models: models.collect(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterBody {
    manifest_digest: String,
    version: u64,
    owner_key: String,
    policy: String,
    sealed_model_key: String,
}

#[derive(Serialize)]
struct RegisterAnswer {
    model_id: String,
    version: u64,
    wrap: Wrap,
    audit_index: u64,
}

async fn register(
    State(shared): State<Arc<Shared>>,
    Extension(owner): Extension<Owner>,
    Path(model_id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<RegisterAnswer> {
    let body = body.map_err(|_| Problem::too_large())?;
    let model_id =
        ModelId::new(&model_id).map_err(|_| Problem::malformed("the model id has other characters"))?;
    let body: RegisterBody = serde_json::from_slice(&body)
        .map_err(|_| Problem::malformed("the body is not the documented JSON object"))?;
    let mut manifest_digest = [0; 32];
    hex::decode_to_slice(&body.manifest_digest, &mut manifest_digest)
        .map_err(|_| Problem::malformed("manifest_digest is not 64 hexadecimal digits"))?;
    let sealed_model_key = BASE64_STANDARD
        .decode(&body.sealed_model_key)
        .map_err(|_| Problem::malformed("sealed_model_key is not base64"))?;
    let registration = Registration {
        model_id: &model_id,
        manifest_digest,
        version: body.version,
        owner_key: &body.owner_key,
        policy: &body.policy,
        sealed_model_key: &sealed_model_key,
    };
    let model = registration.accept(&shared.registration_key, &shared.keys())?;
    let wrap = model.wrap.clone();
    let change = Change::Register {
        model: Box::new(model),
        registrar_spki_sha256: owner.spki_sha256,
    };
    let audit_index = changed(&shared, change, "register-model", Some(&model_id)).await?;
    Ok(Json(RegisterAnswer {
        model_id: model_id.to_string(),
        version: body.version,
        wrap,
        audit_index,
    }))
}

#[derive(Serialize)]
struct ChangedAnswer {
    audit_index: u64,
}

async fn disable(State(shared): State<Arc<Shared>>, Path(model_id): Path<String>) -> Answer<ChangedAnswer> {
    let model = shared
        .directory
        .model(&model_id)
        .ok_or(BrokerError::UnknownModel)?;
    let change = Change::Disable { model_id };
    let audit_index = changed(&shared, change, "disable-model", Some(model.model_id())).await?;
    Ok(Json(ChangedAnswer { audit_index }))
}

async fn disable_kek(State(shared): State<Arc<Shared>>) -> Answer<ChangedAnswer> {
    let change = Change::SwitchKek { disabled: true };
    let audit_index = changed(&shared, change, "disable-tenant-kek", None).await?;
    Ok(Json(ChangedAnswer { audit_index }))
}

async fn enable_kek(State(shared): State<Arc<Shared>>) -> Answer<ChangedAnswer> {
    let change = Change::SwitchKek { disabled: false };
    let audit_index = changed(&shared, change, "enable-tenant-kek", None).await?;
    Ok(Json(ChangedAnswer { audit_index }))
}

async fn rotate_kek(State(shared): State<Arc<Shared>>) -> Answer<ChangedAnswer> {
    let audit_index = changed(&shared, Change::RotateKek, "rotate-tenant-kek", None).await?;
    Ok(Json(ChangedAnswer { audit_index }))
}

/// Makes a change on a task of its own: an owner who hangs up does not cut it in half.
async fn changed(
    shared: &Arc<Shared>,
    change: Change,
    what: &'static str,
    model: Option<&ModelId>,
) -> Result<u64, BrokerError> {
    let audit = shared.audit.clone();
    let index = tokio::spawn(async move { audit.change(change, now()).await })
        .await
        .map_err(|_| BrokerError::AuditUnavailable)
        .and_then(|changed| changed);
    let line = Line::new(if index.is_ok() {
        Event::Changed
    } else {
        Event::Refused
    })
    .what(what);
    let line = match model {
        Some(model) => line.model(model),
        None => line,
    };
    shared.log.write(match &index {
        Ok(index) => line.audit_index(*index),
        Err(error) => line.code(error.code()),
    });
    index
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntriesQuery {
    #[serde(default)]
    from: u64,
    #[serde(default = "entries_max")]
    limit: u32,
}

fn entries_max() -> u32 {
    ENTRIES_MAX
}

#[derive(Serialize)]
struct EntriesAnswer {
    first: u64,
    entries: Vec<String>,
    checkpoint: String,
}

async fn entries(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<EntriesQuery>, QueryRejection>,
) -> Answer<EntriesAnswer> {
    let Query(query) = query.map_err(|_| Problem::malformed("the query takes from and limit"))?;
    let held = shared
        .reader
        .entries(query.from, query.limit.min(ENTRIES_MAX))
        .await?;
    let texts = held
        .entries
        .into_iter()
        .map(String::from_utf8)
        .collect::<Result<Vec<_>, _>>();
    let entries = texts.map_err(|_| BrokerError::LogDamaged("an entry is not text"))?;
    // Before the first entry the store holds no checkpoint; the head in memory is that of the empty log.
    let checkpoint = if held.signed_checkpoint.is_empty() {
        shared.audit.head().signed_checkpoint
    } else {
        held.signed_checkpoint
    };
    Ok(Json(EntriesAnswer {
        first: query.from,
        entries,
        checkpoint,
    }))
}

#[derive(Serialize)]
struct CheckpointAnswer {
    entries: u64,
    checkpoint: String,
    public_key: String,
}

async fn checkpoint(State(shared): State<Arc<Shared>>) -> Json<CheckpointAnswer> {
    let head = shared.audit.head();
    let public_key = shared.log_verifier.to_vkey();
    Json(CheckpointAnswer {
        entries: head.entries,
        checkpoint: head.signed_checkpoint,
        public_key,
    })
}
