//! `adyton up`: a whole deployment on one machine, SIMULATED.
//!
//! 1. The state directory is taken; certificates are issued, the simulated platform manufactured, keys made once.
//! 2. The broker starts on its embedded store.
//! 3. The enclave's configuration is written and measured; the model is sealed and its key registered, unless the sealed
//!    model of an earlier start still fits ([`model`]).
//! 4. The host launches the SIMULATED enclave, which attests, gets the model key and serves.
//! 5. Its evidence is appraised as any client does, and the proxy starts in this process.
//! 6. Everything runs until a signal, or until a process ends that should not; then all are stopped, last started first.

pub mod configs;
pub mod machine;
pub mod model;
pub mod pki;
pub mod policies;
pub mod process;
pub mod releases;
pub mod start;
pub mod state;
pub mod steps;
pub mod tools;

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    cli::Up,
    commands::proxy::signalled,
    error::ClientError,
    output::{FAINT, NOTICE, Output, STRONG},
    private_file::{self, SECRET_MODE},
    proxy::{self, relay::Relay},
    verdict,
};
use process::Process;
use releases::AdminAddress;
use start::Deployment;
use state::StateDir;

/// Runs until a signal. The exit code is 0 when everything was stopped in order.
pub async fn run(up: Up, output: Output) -> Result<u8, ClientError> {
    let state = StateDir::acquire(&state::directory(up.dir.as_deref())?)?;
    let (mut running, mut admin) = (Vec::new(), None);
    let outcome = tokio::select! {
        outcome = start_and_serve(&up, &state, &mut running, &mut admin, output) => outcome,
        signalled = signalled() => signalled,
    };
    if !running.is_empty() {
        output.progress(&format!("{FAINT}stopping{FAINT:#}"));
    }
    if let Some(admin) = &admin {
        // What was released since the start; the broker keeps its log whether or not this works.
        let _ = releases::export(&state, admin).await;
    }
    for process in running.iter_mut().rev() {
        process.stop().await;
    }
    let _ = std::fs::remove_file(state.path("run.json"));
    outcome.map(|()| 0)
}

async fn start_and_serve(
    up: &Up,
    state: &StateDir,
    running: &mut Vec<Process>,
    admin: &mut Option<AdminAddress>,
    output: Output,
) -> Result<(), ClientError> {
    // The port is taken first: a port that is not free must not cost a start.
    let listener = proxy::bind(([127, 0, 0, 1], up.port).into(), false).await?;
    let address = listener.local_addr().map_err(|source| ClientError::Listen {
        address: String::new(),
        source,
    })?;
    output.progress(&format!(
        "{NOTICE}SIMULATED{NOTICE:#} deployment in {}; nothing protects prompts from this machine\n",
        state.root().display()
    ));
    let deployment = start::start(up, state, running, output).await?;
    releases::export(state, &deployment.broker_admin).await?;
    *admin = Some(deployment.broker_admin.clone());

    let document = run_document(&deployment, state, running, &format!("http://{address}/v1"));
    let text = serde_json::to_string_pretty(&document).expect("a JSON value has text keys only") + "\n";
    private_file::write(&state.path("run.json"), text.as_bytes(), SECRET_MODE)?;
    let relay = Arc::new(Relay {
        session: Arc::clone(&deployment.session),
        token_file: Some(deployment.token_file.clone()),
    });
    let (_stop, stopped) = watch::channel(false);
    let serving = proxy::serve(listener, relay, output, stopped);
    output.result(
        &instructions(&document, state.root(), deployment.embeds),
        &document,
    )?;
    // Last: whoever waits for this file finds everything that was printed.
    if let Some(path) = &up.ready_file {
        private_file::write(path, text.as_bytes(), SECRET_MODE)?;
    }
    tokio::select! {
        served = serving => served,
        ended = first_to_end(running) => Err(ended),
    }
}

async fn first_to_end(running: &mut [Process]) -> ClientError {
    let ends = running.iter_mut().map(|process| Box::pin(process.ended()));
    futures_util::future::select_all(ends).await.0
}

fn run_document(deployment: &Deployment, state: &StateDir, running: &[Process], base_url: &str) -> Value {
    let pids: serde_json::Map<String, Value> = running
        .iter()
        .map(|process| (process.name().to_owned(), process.pid().into()))
        .collect();
    json!({
        "assurance": verdict::assurance_word(deployment.assurance),
        "base_url": base_url,
        "model": deployment.model_id,
        "token_file": deployment.token_file,
        "host_url": deployment.host_url,
        "host_ops_url": deployment.host_ops_url,
        "broker_admin_url": deployment.broker_admin.url,
        "broker_ops_url": deployment.broker_ops_url,
        "client_config": state.path("config/client.toml"),
        "policy": state.path("policy/client.toml"),
        "dir": state.root(),
        "pid": std::process::id(),
        "pids": pids,
    })
}

fn instructions(document: &Value, root: &Path, embeds: bool) -> String {
    let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let (base, model, token) = (text("base_url"), text("model"), text("token_file"));
    let config = root.join("config/client.toml").display().to_string();
    let question = "What does remote attestation prove?";
    let (route, body, python, chat) = match embeds {
        true => (
            "embeddings",
            format!("{{\"model\": \"{model}\", \"input\": [\"{question}\"]}}"),
            format!(
                "print(client.embeddings.create(model=\"{model}\", input=[\"{question}\"]).data[0].embedding)"
            ),
            String::new(),
        ),
        false => (
            "chat/completions",
            format!(
                "{{\"model\": \"{model}\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"{question}\"}}]}}"
            ),
            format!(
                "messages = [{{\"role\": \"user\", \"content\": \"{question}\"}}]
print(client.chat.completions.create(model=\"{model}\", messages=messages).choices[0].message.content)"
            ),
            format!("adyton --config {config} chat \"{question}\"\n"),
        ),
    };
    format!(
        "
  {STRONG}Base URL{STRONG:#}   {base}   {NOTICE}SIMULATED{NOTICE:#}
  {STRONG}API token{STRONG:#}  {token}
  {STRONG}Model{STRONG:#}      {model}
  {STRONG}Stop{STRONG:#}       Ctrl-C, or kill {pid}

{FAINT}# curl{FAINT:#}
curl -N {base}/{route} -H 'content-type: application/json' \\
  -d '{body}'

{FAINT}# Python: pip install openai{FAINT:#}
from openai import OpenAI
client = OpenAI(base_url=\"{base}\", api_key=open(\"{token}\").read().strip())
{python}

{FAINT}# this command{FAINT:#}
adyton --config {config} verify --explain
{chat}",
        pid = std::process::id(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_ask_for_what_the_model_answers_with() {
        let document = json!({
            "base_url": "http://127.0.0.1:8080/v1", "model": "m", "token_file": "/state/token",
        });
        let shown = |embeds| instructions(&document, Path::new("/state"), embeds);
        let (chat, embeddings) = (shown(false), shown(true));
        assert!(chat.contains("/v1/chat/completions -H") && chat.contains("client.toml chat \""));
        assert!(embeddings.contains("/v1/embeddings -H") && embeddings.contains("client.embeddings.create("));
        assert!(!embeddings.contains("chat") && !chat.contains("embeddings"));
        for body in [&chat, &embeddings] {
            let line = body.lines().find_map(|line| line.trim().strip_prefix("-d '"));
            let json = line.and_then(|line| line.strip_suffix('\''));
            serde_json::from_str::<Value>(json.expect("a body")).expect("JSON");
        }
    }
}
