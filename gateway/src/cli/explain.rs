//! `witgate explain`: which route takes a request and why no other one does, what filters it passes, where it goes.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{Configured, EXIT_USAGE, Format, complain, load, print, refuse};
use crate::config::Loaded;
use crate::outbound::Trust;
use crate::snapshot::{Explanation, Placed, Question, QuestionError, explain};

/// A request, and the configuration that it is asked of.
#[derive(Debug, Args)]
pub(super) struct Asked {
    #[command(flatten)]
    config: Configured,
    /// The method, such as GET.
    method: String,
    /// Where it goes: http://HOST/PATH, or a path.
    url: String,
    /// A field of the request, `NAME: VALUE`; may be repeated.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The listener that it comes by. Default: the one of the URL's port, or else the first.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

pub(super) fn run(asked: &Asked, format: Format) -> ExitCode {
    let Loaded { config, document, .. } = match load(&asked.config.config) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error, format),
    };
    let question = Question::parse(&asked.method, &asked.url, &asked.headers);
    let question = question.map(|question| Question { listener: asked.listener.clone(), ..question });
    let explained = question.and_then(|question| explain(&config, None, &Trust::default(), &question));
    let mut explanation = match explained {
        Ok(explanation) => explanation,
        Err(error) => return wrong(&error, format),
    };
    let paths: Vec<String> = explanation.placed().map(|placed| placed.at.clone()).collect();
    let lines = document.lines(paths.iter().map(String::as_str));
    for (placed, line) in explanation.placed().zip(lines) {
        placed.place = Some(line);
    }
    match format {
        Format::Text => print(text(&explanation).trim_end()),
        Format::Json => print(&serde_json::to_string(&explanation).unwrap_or_default()),
    }
    ExitCode::SUCCESS
}

fn wrong(error: &QuestionError, format: Format) -> ExitCode {
    match format {
        Format::Text => complain(&format!("error: {error}")),
        Format::Json => complain(&serde_json::json!({ "error": error.to_string() }).to_string()),
    }
    ExitCode::from(EXIT_USAGE)
}

/// In words.
fn text(told: &Explanation) -> String {
    let mut out = format!("{} {}{} by the listener `{}`\n", told.method, told.host, told.path, told.listener);
    if let Some(refused) = &told.refused {
        let _ = writeln!(out, "is refused: {refused}");
        return out;
    }
    match &told.route {
        Some(route) => {
            let _ = writeln!(out, "takes the route `{}`{}", route.name, place(route));
        }
        None => out.push_str("takes no route: it is answered with 404\n"),
    }
    for (name, value) in &told.params {
        let _ = writeln!(out, "  {name} = {value}");
    }
    if !told.filters.is_empty() {
        out.push_str("passes\n");
    }
    for (number, passed) in (1..).zip(&told.filters) {
        let _ = writeln!(out, "  {number}. {} from {}{}", passed.filter.name, passed.from, place(&passed.filter));
    }
    target(&told.target, &mut out);
    if let Some(timeout_s) = told.timeout_s {
        let _ = writeln!(out, "within {timeout_s}s");
    }
    if !told.others.is_empty() {
        out.push_str("other routes\n");
    }
    for other in told.others.iter().take(OTHERS_SHOWN) {
        let matches = if other.matches { "matches, but " } else { "" };
        let _ = writeln!(out, "  {}: {matches}{}", other.name, other.why);
    }
    let hidden = told.others_count.saturating_sub(OTHERS_SHOWN.min(told.others.len()));
    if hidden > 0 {
        let _ = writeln!(out, "  and {hidden} more");
    }
    out
}

fn place(placed: &Placed) -> String {
    placed.place.as_ref().map_or_else(String::new, |place| format!(" ({place})"))
}

fn target(target: &Value, out: &mut String) {
    if let Some(status) = target["respond"]["status"].as_u64() {
        let _ = writeln!(out, "is answered by the gateway itself, with {status}");
    }
    for upstream in target["upstreams"].as_array().into_iter().flatten() {
        let name = upstream["name"].as_str().unwrap_or_default();
        let share = upstream["share"].as_f64().unwrap_or_default() * 100.0;
        let share = if share < 100.0 { format!(" ({share:.0} %)") } else { String::new() };
        let balance = upstream["balance"].as_str().unwrap_or_default();
        let endpoints: Vec<&str> = upstream["endpoints"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|endpoint| endpoint["address"].as_str())
            .collect();
        let endpoints =
            if endpoints.is_empty() { "endpoints that are discovered".to_owned() } else { endpoints.join(", ") };
        let _ = write!(out, "goes to the upstream `{name}`{share}: {balance} over {endpoints}");
        if let Some(key) = upstream["hash_on"].as_str() {
            let _ = match upstream["pick"].as_str() {
                Some(pick) => write!(out, "; by {key} to {pick}"),
                None => write!(out, "; it has no {key}"),
            };
        }
        out.push('\n');
    }
    if let Some(key) = target["sticky"].as_str() {
        let _ = writeln!(out, "stays with one of them by {key}");
    }
}

/// Other routes that people are shown.
const OTHERS_SHOWN: usize = 10;
