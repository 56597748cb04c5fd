//! `witgate plugin bench`: what a plugin costs here, by the clock. The figures are for reading: a busy machine moves them.

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Args;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::author::fail;
use super::rehearse::refused;
use super::stage::{Cast, Scene, Script, Stage, read_all};
use super::{EXIT_FAILURE, Format, print};
use crate::author::Profile;
use crate::filter::{BrokenOff, Exchange, FilterError, Origin, Reply, RequestEnd};
use crate::plugin::{Failure, Lane};

#[derive(Debug, Args)]
pub(super) struct Bench {
    #[command(flatten)]
    cast: Cast,
    #[command(flatten)]
    script: Script,
}

/// How long something took, over many times.
struct Times {
    median: Duration,
    p99: Duration,
    count: usize,
}

struct Figures {
    instance: Times,
    request: Times,
    response: Times,
    memory_bytes: u64,
}

pub(super) fn bench(wish: &Bench, format: Format) -> ExitCode {
    // What is measured is what would be deployed.
    let set = wish.script.read().and_then(|scene| Ok((Stage::set(&wish.cast, Profile::Release)?, scene)));
    let (stage, scene) = match set {
        Ok(set) => set,
        Err(error) => return refused(error, format),
    };
    match stage.tokio.block_on(measure(&stage, &scene)) {
        Ok(figures) => {
            match format {
                Format::Text => print(figures.text().trim_end()),
                Format::Json => print(&format!("{:#}", figures.json())),
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, EXIT_FAILURE, format),
    }
}

async fn measure(stage: &Stage, scene: &Scene) -> Result<Figures, String> {
    let mut instances = Vec::new();
    let began = Instant::now();
    while instances.len() < INSTANCES_MAX && (began.elapsed() < PATIENCE || instances.is_empty()) {
        let lanes = stage.lanes();
        instances.push(timed(instantiate(&lanes)).await.map_err(|failure| format!("the plugin {failure}"))?);
    }
    let lanes = stage.lanes();
    let (mut requests, mut responses) = (Vec::new(), Vec::new());
    for _ in 0..WARM_UP {
        pass(stage, scene, &lanes).await?;
    }
    let began = Instant::now();
    while requests.len() < CALLS_MAX && (began.elapsed() < PATIENCE || requests.is_empty()) {
        let (request, response) = pass(stage, scene, &lanes).await?;
        requests.push(request);
        responses.push(response);
    }
    let totals = stage.runtime().registry().totals();
    let memory_bytes = totals.values().map(|totals| totals.memory_bytes).max().unwrap_or(0);
    Ok(Figures {
        instance: Times::of(instances),
        request: Times::of(requests),
        response: Times::of(responses),
        memory_bytes,
    })
}

/// A first instance of a pool, with the plugin's config learned.
async fn instantiate(lanes: &Rc<[Lane]>) -> Result<(), Failure> {
    let side = &lanes[0].stable;
    side.pool.warm(Some(side.attachment(0))).await
}

async fn timed(what: impl Future<Output = Result<(), Failure>>) -> Result<Duration, Failure> {
    let began = Instant::now();
    what.await?;
    Ok(began.elapsed())
}

/// One request down and its response up; how long the hooks of each took. Bodies are read to their ends, because a hook that streams
/// runs while its body is read.
async fn pass(stage: &Stage, scene: &Scene, lanes: &Rc<[Lane]>) -> Result<(Duration, Duration), String> {
    let mut exchange = stage.exchange(scene, lanes);
    let began = Instant::now();
    let ran = match stage.chain().on_request(&mut exchange).await {
        RequestEnd::Passed { ran } => {
            let sent = read_all(std::mem::take(&mut exchange.request_body)).await;
            match (sent, exchange.take_broken_off()) {
                (Ok(_), None) => upstream(scene).install(&mut exchange, Origin::Upstream),
                (_, Some(BrokenOff::Answered(reply))) => reply.install(&mut exchange, Origin::Filter),
                (_, Some(BrokenOff::Failed(error))) => return Err(error.to_string()),
                (Err(error), None) => return Err(error),
            }
            ran
        }
        RequestEnd::Answered { reply, ran } => {
            reply.install(&mut exchange, Origin::Filter);
            ran
        }
        RequestEnd::Failed { error, .. } => return Err(error.to_string()),
    };
    let request = began.elapsed();
    let mut failure = None;
    let began = Instant::now();
    let note = |_: &mut Exchange, answer: Result<Box<Reply>, Box<FilterError>>| failure = answer.err();
    stage.chain().on_response(&mut exchange, ran, note).await;
    let received = read_all(std::mem::take(&mut exchange.response_body)).await;
    let response = began.elapsed();
    match failure {
        Some(error) => Err(error.to_string()),
        None => received.map(|_| (request, response)),
    }
}

fn upstream(scene: &Scene) -> Reply {
    Reply { status: StatusCode::OK, headers: HeaderMap::new(), body: scene.answer.clone() }
}

impl Times {
    /// Of at least one.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let count = times.len();
        Self { median: times[count / 2], p99: times[count * 99 / 100], count }
    }

    fn text(&self) -> String {
        let ns = |time: Duration| format!("{} ns", time.as_nanos());
        format!("{:>12}   p99 {:>12}   ({} times)", ns(self.median), ns(self.p99), self.count)
    }

    fn json(&self) -> Value {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        json!({ "median_ns": ns(self.median), "p99_ns": ns(self.p99), "count": self.count })
    }
}

impl Figures {
    fn text(&self) -> String {
        format!(
            "instance  {}\nrequest   {}\nresponse  {}\nmemory    {} bytes an instance\n",
            self.instance.text(),
            self.request.text(),
            self.response.text(),
            self.memory_bytes
        )
    }

    fn json(&self) -> Value {
        json!({
            "instance": self.instance.json(),
            "request": self.request.json(),
            "response": self.response.json(),
            "memory_bytes": self.memory_bytes,
        })
    }
}

const INSTANCES_MAX: usize = 500;
const CALLS_MAX: usize = 20_000;
const WARM_UP: usize = 200;
/// For each of the two loops, however slow the plugin is.
const PATIENCE: Duration = Duration::from_secs(1);
