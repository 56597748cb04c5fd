//! What a document shows: fenced blocks, and in them `curl` commands with the answers they get.

use std::net::SocketAddr;

use crate::client::Client;

/// One `curl` and the answer that a document promises; `…` stands for fields that it leaves out, and in a body for what differs each time.
pub struct Transcript {
    request: Vec<String>,
    status: String,
    fields: Vec<(String, String)>,
    body: String,
}

impl Transcript {
    /// Ask the listener at this address, and see that it answers so.
    ///
    /// # Panics
    /// When it answers otherwise.
    pub async fn holds(&self, listener: SocketAddr) {
        let mut client = Client::connect(listener).await;
        let lines: Vec<&str> = self.request.iter().map(String::as_str).collect();
        let answer = client.ask(&lines, "").await;
        let told = &lines[0];
        assert_eq!(format!("{} {}", answer.version, answer.status), self.status, "{told}");
        for (name, value) in &self.fields {
            assert_eq!(answer.field(name), Some(value.as_str()), "{told}: {name}");
        }
        // A block ends with its line, whether the body does or not.
        let (body, promised) = (answer.text().trim_end().to_owned(), self.body.trim_end());
        assert!(is_like(&body, promised), "{told}: {body} instead of {promised}");
    }
}

/// Whether a text is the promised one with something for each `…`.
fn is_like(text: &str, promised: &str) -> bool {
    let Some((start, rest)) = promised.split_once('…') else { return text == promised };
    let Some(text) = text.strip_prefix(start) else { return false };
    text.char_indices().any(|(at, _)| is_like(&text[at..], rest)) || is_like("", rest)
}

/// The transcripts of a document: its `console` blocks that begin with a `curl`.
pub fn transcripts(document: &str) -> Vec<Transcript> {
    blocks(document, "console").filter(|block| block.starts_with("$ curl ")).map(transcript).collect()
}

fn transcript(block: &str) -> Transcript {
    let (command, answer) = block.split_once('\n').expect("an answer stands below the command");
    let (head, body) = answer.split_once("\n\n").expect("an empty line ends the head");
    let mut head = head.lines();
    let status = head.next().expect("a status line").rsplit_once(' ').expect("a reason").0.to_owned();
    let fields = head.filter(|line| *line != "…").map(|line| {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.to_owned(), value.to_owned())
    });
    Transcript { request: request(command), status, fields: fields.collect(), body: body.to_owned() }
}

/// The request that this `curl` would send: its URL's path, its host, its `-H` fields.
fn request(command: &str) -> Vec<String> {
    let url = command.rsplit_once("http://").expect("a URL ends the command").1;
    let (host, path) = url.split_once('/').expect("a path ends the URL");
    let mut lines = vec![format!("GET /{path} HTTP/1.1"), format!("Host: {host}")];
    lines.extend(command.split("-H '").skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())));
    lines
}

/// The fenced blocks of one language.
pub fn blocks<'d>(document: &'d str, language: &'d str) -> impl Iterator<Item = &'d str> {
    let fence = move |block: &&'d str| block.split_once('\n').is_some_and(|(first, _)| first == language);
    document.split("```").skip(1).step_by(2).filter(fence).filter_map(|block| Some(block.split_once('\n')?.1))
}
