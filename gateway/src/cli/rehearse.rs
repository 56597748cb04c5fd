//! `witgate plugin run`: one request through a plugin, and what became of it.

use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::author::{fail, refuse_build};
use super::stage::{Cast, Scene, Script, Stage, StageError, read_all};
use super::{EXIT_FAILURE, EXIT_PLUGIN, EXIT_USAGE, Format, print, refuse};
use crate::author::Profile;
use crate::filter::{BrokenOff, Exchange, FilterError, Forwarding, Origin, Reply, RequestEnd};

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    cast: Cast,
    #[command(flatten)]
    script: Script,
}

/// What the plugin decided, and what it changed.
struct Outcome {
    /// `next`, `respond` or `fail`.
    verdict: &'static str,
    failure: Option<String>,
    edits: Vec<String>,
    /// The body that goes up, where it is another one.
    request_body: Option<Bytes>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

pub(super) fn run(wish: &Run, format: Format) -> ExitCode {
    let played = wish.script.read().and_then(|scene| Ok((Stage::set(&wish.cast, Profile::Dev)?, scene)));
    match played {
        Ok((stage, scene)) => {
            let outcome = stage.tokio.block_on(play(&stage, &scene));
            match format {
                Format::Text => print(outcome.text().trim_end()),
                Format::Json => print(&format!("{:#}", outcome.json())),
            }
            ExitCode::from(if outcome.failure.is_some() { EXIT_FAILURE } else { 0 })
        }
        Err(error) => refused(error, format),
    }
}

/// Says why nothing was played.
pub(super) fn refused(error: StageError, format: Format) -> ExitCode {
    match error {
        StageError::Gateway(error) => refuse(&error, format),
        StageError::Build(error) => refuse_build(&error, format),
        StageError::Nothing(error) => fail(&error, EXIT_PLUGIN, format),
        StageError::Usage(error) => fail(&error, EXIT_USAGE, format),
    }
}

/// The chain down, an upstream that answers at once, the chain up: the way of `proxy/serve`.
async fn play(stage: &Stage, scene: &Scene) -> Outcome {
    let mut exchange = stage.exchange(scene, &stage.lanes());
    let before = stage.exchange(scene, &stage.lanes());
    let mut failure = None;
    let mut verdict = "next";
    let mut request_body = None;
    let mut respond = |exchange: &mut Exchange, answer: Result<Box<Reply>, Box<FilterError>>| match answer {
        Ok(reply) => {
            verdict = "respond";
            reply.install(exchange, Origin::Filter);
        }
        Err(error) => {
            verdict = "fail";
            exchange.response.status = StatusCode::INTERNAL_SERVER_ERROR;
            failure = Some(error.to_string());
        }
    };
    let ran = match stage.chain().on_request(&mut exchange).await {
        RequestEnd::Passed { ran } => {
            let sent = read_all(std::mem::take(&mut exchange.request_body)).await;
            match (sent, exchange.take_broken_off()) {
                (_, Some(BrokenOff::Answered(reply))) => respond(&mut exchange, Ok(reply)),
                (_, Some(BrokenOff::Failed(error))) => respond(&mut exchange, Err(error)),
                (sent, None) => {
                    let answer =
                        Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: scene.answer.clone() };
                    answer.install(&mut exchange, Origin::Upstream);
                    request_body = sent.ok();
                }
            }
            ran
        }
        RequestEnd::Answered { reply, ran } => {
            respond(&mut exchange, Ok(reply));
            ran
        }
        RequestEnd::Failed { error, ran } => {
            respond(&mut exchange, Err(error));
            ran
        }
    };
    let edits = edits(&before, &exchange);
    stage.chain().on_response(&mut exchange, ran, &mut respond).await;
    let body = read_all(std::mem::take(&mut exchange.response_body)).await;
    if let Err(error) = &body {
        failure = failure.or_else(|| Some(format!("the response's body is not whole: {error}")));
    }
    let own_body = read_all(before.request_body).await.unwrap_or_default();
    Outcome {
        verdict,
        failure,
        edits,
        request_body: request_body.filter(|sent| *sent != own_body),
        status: exchange.response.status,
        headers: std::mem::take(&mut exchange.response.headers),
        body: body.unwrap_or_default(),
    }
}

/// What is another way now, one line each.
fn edits(before: &Exchange, after: &Exchange) -> Vec<String> {
    let mut edits = Vec::new();
    if before.method != after.method {
        edits.push(format!("method: {}", after.method));
    }
    if before.uri != after.uri {
        edits.push(format!("target: {}", after.uri));
    }
    for name in before.headers.keys().filter(|name| !after.headers.contains_key(*name)) {
        edits.push(format!("- {name}"));
    }
    for name in after.headers.keys() {
        let (old, new) = (before.headers.get_all(name), after.headers.get_all(name));
        if !old.iter().eq(new.iter()) {
            edits.extend(new.iter().map(|value| format!("+ {name}: {}", String::from_utf8_lossy(value.as_bytes()))));
        }
    }
    edits.extend(after.attributes.iter().map(|(name, value)| format!("attribute {name}: {value}")));
    if let Forwarding::Upstream(name) = &after.forwarding {
        edits.push(format!("upstream: {name}"));
    }
    edits
}

impl Outcome {
    fn text(&self) -> String {
        let mut lines = vec![format!("request   {}", self.verdict)];
        lines.extend(self.edits.iter().map(|edit| format!("          {edit}")));
        if let Some(body) = &self.request_body {
            lines.push(format!("          body: {}", shown(body)));
        }
        if let Some(failure) = &self.failure {
            lines.push(format!("failure   {failure}"));
        }
        lines.push(format!("response  {}", self.status.as_u16()));
        for (name, value) in &self.headers {
            lines.push(format!("          {name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
        if !self.body.is_empty() {
            lines.push(format!("          body: {}", shown(&self.body)));
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: Vec<_> =
            self.headers.iter().map(|(name, value)| [name.to_string(), text(value.as_bytes())]).collect();
        json!({
            "request": { "verdict": self.verdict, "edits": self.edits, "body": self.request_body.as_deref().map(text) },
            "failure": self.failure,
            "response": { "status": self.status.as_u16(), "headers": headers, "body": text(&self.body) },
        })
    }
}

/// As much of a body as a terminal bears.
fn shown(body: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(body).chars().take(BODY_SHOWN_CHARS).flat_map(char::escape_debug).collect();
    format!("{} bytes, {text}", body.len())
}

const BODY_SHOWN_CHARS: usize = 200;
