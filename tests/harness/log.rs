//! The gateway's log, as lines that a test can wait for.
//!
//! The gateway writes JSON lines on stderr once it runs, and plain text when it refuses to; both are kept.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::watch;

use crate::within;

/// What a process wrote to its stderr so far.
#[derive(Clone)]
pub struct Log(watch::Receiver<Vec<Line>>);

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    pub text: String,
    json: Value,
}

impl Log {
    /// Collect lines until the stream ends.
    pub(crate) fn follow(stream: impl AsyncRead + Send + Unpin + 'static) -> Log {
        let (sender, receiver) = watch::channel(Vec::new());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(text)) = lines.next_line().await {
                let json = serde_json::from_str(&text).unwrap_or_default();
                sender.send_modify(|log: &mut Vec<Line>| log.push(Line { text, json }));
            }
        });
        Log(receiver)
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Line> {
        self.0.borrow().clone()
    }

    /// Everything so far, as text.
    pub fn text(&self) -> String {
        self.0.borrow().iter().map(|line| format!("{}\n", line.text)).collect()
    }

    /// How many lines there are: a place from which [`Log::wait_from`] looks on.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Wait for a line that `wanted` accepts, also among those that are there.
    ///
    /// # Panics
    /// When the process ends first; the message holds its log.
    pub async fn wait(&mut self, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        self.wait_from(0, what, wanted).await
    }

    /// Wait for a line at or after `from` that `wanted` accepts.
    ///
    /// # Panics
    /// As [`Log::wait`].
    pub async fn wait_from(&mut self, from: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        let found = self.find_from(from, what, wanted).await;
        found.unwrap_or_else(|| panic!("the log ended before it said {what}:\n{}", self.text()))
    }

    /// The first line at or after `from` that `wanted` accepts, as soon as it is there; `None` when the log ends without it.
    pub(crate) async fn find_from(&mut self, from: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let found = |log: &Vec<Line>| log.iter().skip(from).any(&wanted);
        // An end of the log is seen as a closed channel; the last lines may have come with it.
        let _ = within(&format!("the log to say {what}"), self.0.wait_for(found)).await;
        self.0.borrow().iter().skip(from).find(|line| wanted(line)).cloned()
    }

    /// Wait until the process has closed its stderr.
    pub(crate) async fn ended(&mut self) {
        let _ = within("the log to end", self.0.wait_for(|_| false)).await;
    }
}

impl Line {
    /// The message of a JSON line; empty when the line is none.
    pub fn message(&self) -> &str {
        self.field("message").unwrap_or_default()
    }

    /// A field that is text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.json["fields"][name].as_str()
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.json["fields"][name].as_u64()
    }

    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub fn level(&self) -> &str {
        self.json["level"].as_str().unwrap_or_default()
    }
}
