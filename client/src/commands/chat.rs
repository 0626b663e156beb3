//! `adyton chat`: verify, seal one prompt, stream the answer.
//!
//! On a terminal the answer is shown as it comes. Anywhere else it is kept until it is whole, so that a file or a pipe
//! never holds a short answer.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Read, Write},
    sync::Arc,
};

use exchange::ApiToken;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    answer::{Answer, Receipt},
    cli::Chat,
    discovery,
    error::ClientError,
    output::{FAINT, GOOD, Output, STRONG, tolerate_closed_pipe},
    proxy::relay::read_token,
    session::{Question, Session},
    sse, verdict,
};

/// Prompts above this are refused (bytes).
const PROMPT_BYTES_MAX: u64 = 4 << 20;
/// An answer that is no stream: an error, a list of models (bytes).
const DOCUMENT_BYTES_MAX: usize = 4 << 20;

#[derive(Serialize)]
struct ChatRequest<'a> {
    model: &'a str,
    messages: [Message<'a>; 1],
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// What is known of an answer at its end.
#[derive(Default)]
struct Told {
    text: Zeroizing<String>,
    finish_reason: Option<String>,
    usage: Option<Usage>,
}

/// Verifies, asks, prints.
pub async fn run(chat: Chat, output: Output) -> Result<u8, ClientError> {
    let prompt = prompt(chat.prompt.as_deref())?;
    let token = chat.token_file.as_deref().map(read_token).transpose()?;
    let transport = discovery::transport(&chat.deployment, None)?;
    let url = transport.base().to_owned();
    let verifier = discovery::verifier(&chat.deployment)?;
    let session = Session::open(transport, verifier, chat.shape.padding.into()).await?;
    let attested = session.attested().await?;
    let accepted = attestation::Verdict::Accepted(attested.evidence().assurance());
    output.progress(verdict::headline(&accepted, &url).trim_end());

    let model = match &chat.model {
        Some(model) => model.clone(),
        None => only_model(&session, token.clone()).await?,
    };
    let request = ChatRequest {
        model: &model,
        messages: [Message {
            role: "user",
            content: &prompt,
        }],
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        max_tokens: chat.max_tokens,
        temperature: chat.temperature,
        seed: chat.seed,
    };
    // Longer than the escaped prompt can get, so that no part of it is left behind by a growing buffer.
    let mut body = Zeroizing::new(Vec::with_capacity(prompt.len() * 6 + 1024));
    serde_json::to_writer(&mut *body, &request).expect("text and numbers are always JSON");
    let mut answer = session
        .ask(&question("POST", "/v1/chat/completions", token, body))
        .await?;
    let live = !output.json && std::io::stdout().is_terminal();
    let told = read(&mut answer, live, output).await?;
    report(&chat, &answer, &told, &model, live, output)?;
    Ok(0)
}

fn question(method: &str, path: &str, token: Option<Arc<ApiToken>>, body: Zeroizing<Vec<u8>>) -> Question {
    let headers =
        [("content-type", "application/json")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Question {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: if method == "POST" {
            headers.to_vec()
        } else {
            Vec::new()
        },
        token,
        body,
    }
}

/// From the command line, or from standard input where nobody can list it.
fn prompt(named: Option<&str>) -> Result<Zeroizing<String>, ClientError> {
    match named {
        Some(text) if text != "-" => Ok(Zeroizing::new(text.to_owned())),
        None if std::io::stdin().is_terminal() => Err(ClientError::Usage(
            "name a prompt, or send one to standard input".to_owned(),
        )),
        _ => {
            let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
            let failed = |source| ClientError::Read {
                path: "standard input".into(),
                source,
            };
            std::io::stdin()
                .lock()
                .take(PROMPT_BYTES_MAX + 1)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            if bytes.len() as u64 > PROMPT_BYTES_MAX {
                return Err(ClientError::TooLarge {
                    path: "standard input".into(),
                    bytes_max: PROMPT_BYTES_MAX,
                });
            }
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| ClientError::Usage("the prompt is not UTF-8".to_owned()))?;
            Ok(Zeroizing::new(text.trim_end_matches('\n').to_owned()))
        }
    }
}

async fn only_model(session: &Session, token: Option<Arc<ApiToken>>) -> Result<String, ClientError> {
    let mut answer = session
        .ask(&question("GET", "/v1/models", token, Zeroizing::default()))
        .await?;
    let body = answer.collect(DOCUMENT_BYTES_MAX).await?;
    if answer.head().status != 200 {
        return Err(service_error(answer.head().status, body.expose()));
    }
    let list: Value = serde_json::from_slice(body.expose()).unwrap_or_default();
    match list["data"][0]["id"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => Err(ClientError::Protocol("the enclave lists no model".to_owned())),
    }
}

async fn read(answer: &mut Answer, live: bool, output: Output) -> Result<Told, ClientError> {
    if answer.content_type() != "text/event-stream" {
        let body = answer.collect(DOCUMENT_BYTES_MAX).await?;
        return Err(service_error(answer.head().status, body.expose()));
    }
    let (mut told, mut events) = (Told::default(), sse::Events::default());
    let ended = loop {
        match answer.next().await {
            Ok(Some(piece)) => {
                let complete = events.push(piece.expose());
                for data in complete.map_err(|_| ClientError::Protocol("an endless line".to_owned()))? {
                    take(&mut told, &data, live, output)?;
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if live {
        tolerate_closed_pipe(writeln!(output.stdout()))?;
    }
    ended.map(|()| told)
}

fn take(told: &mut Told, data: &[u8], live: bool, output: Output) -> Result<(), ClientError> {
    let chunk: Chunk = serde_json::from_slice(data)
        .map_err(|_| ClientError::Protocol("an event that is not JSON".to_owned()))?;
    if chunk.error.is_some() {
        return Err(service_error(500, data));
    }
    told.usage = chunk.usage.or(told.usage);
    for choice in chunk.choices {
        told.finish_reason = choice.finish_reason.or(told.finish_reason.take());
        let Some(text) = choice.delta.content.map(Zeroizing::new) else {
            continue;
        };
        if live {
            let mut stdout = output.stdout();
            let shown = stdout
                .write_all(presentable(&text).as_bytes())
                .and_then(|()| stdout.flush());
            tolerate_closed_pipe(shown)?;
        }
        told.text.push_str(&text);
    }
    Ok(())
}

/// Without what would command the terminal.
fn presentable(text: &str) -> Zeroizing<String> {
    Zeroizing::new(
        text.chars()
            .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
            .collect(),
    )
}

fn report(
    chat: &Chat,
    answer: &Answer,
    told: &Told,
    model: &str,
    live: bool,
    output: Output,
) -> Result<(), ClientError> {
    let evidence = answer.attested().evidence();
    if output.json {
        let document = json!({
            "answer": told.text.as_str(),
            "model": model,
            "finish_reason": told.finish_reason,
            "usage": told.usage,
            "assurance": verdict::assurance_word(evidence.assurance()),
            "receipt": answer.receipt().map(receipt_document),
        });
        return output.result("", &document);
    }
    if !live {
        tolerate_closed_pipe(writeln!(
            output.stdout(),
            "{}",
            presentable(&told.text).trim_end()
        ))?;
    }
    match answer.receipt() {
        Some(receipt) if chat.receipt => output.notice(receipt_text(receipt).trim_end()),
        _ => {}
    }
    Ok(())
}

fn receipt_text(receipt: &Receipt) -> String {
    let fields = &receipt.fields;
    let mut text = format!("\n{STRONG}Receipt{STRONG:#}  {GOOD}signed by the attested receipt key{GOOD:#}\n");
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:18}{value}");
    };
    line(
        "tokens",
        format!("{} in, {} out", fields.prompt_tokens, fields.completion_tokens),
    );
    line("time", fields.time.to_string());
    line("key epoch", fields.epoch.to_string());
    line("model digest", hex::encode(fields.model_digest));
    line("statement", hex::encode(fields.statement_sha256));
    line(
        "request",
        format!(
            "{} {FAINT}(salted commitment){FAINT:#}",
            hex::encode(fields.request_commitment)
        ),
    );
    line(
        "response",
        format!(
            "{} {FAINT}(salted commitment){FAINT:#}",
            hex::encode(fields.response_commitment)
        ),
    );
    text
}

fn receipt_document(receipt: &Receipt) -> Value {
    let fields = &receipt.fields;
    json!({
        "verified": true,
        "prompt_tokens": fields.prompt_tokens,
        "completion_tokens": fields.completion_tokens,
        "time": fields.time.to_string(),
        "epoch": fields.epoch,
        "model_digest": hex::encode(fields.model_digest),
        "statement_sha256": hex::encode(fields.statement_sha256),
        "request_commitment": hex::encode(fields.request_commitment),
        "response_commitment": hex::encode(fields.response_commitment),
        "signed": receipt.signed.to_text(),
    })
}

/// The enclave's own error, which names parameters and never quotes them.
fn service_error(status: u16, body: &[u8]) -> ClientError {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| document["error"][key].as_str().map(str::to_owned);
    ClientError::Service {
        code: text("code").unwrap_or_else(|| "service-error".to_owned()),
        message: text("message").unwrap_or_else(|| format!("status {status}")),
        status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cannot_command_the_terminal() {
        assert_eq!(presentable("a\u{1b}[2Jb\r\nc\td\u{7}").as_str(), "a[2Jb\nc\td");
    }

    #[test]
    fn a_service_error_keeps_its_code() {
        let error = service_error(401, br#"{"error":{"code":"expired-token","message":"expired"}}"#);
        assert_eq!(error.code(), "expired-token");
        assert_eq!(service_error(500, b"").code(), "service-error");
    }
}
