//! The admin server of a gateway under test, and the commands that ask it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, Response};
use crate::wire::http;
use crate::within;

/// The admin server, asked with the local token.
#[derive(Clone)]
pub struct Admin {
    pub address: SocketAddr,
    pub token: String,
}

impl Admin {
    pub async fn get(&self, path: &str) -> Response {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    pub async fn post(&self, path: &str) -> Response {
        self.ask(&format!("POST {path}"), &[], "").await
    }

    /// Uploads a component: `PUT /api/plugins/{rest}`.
    pub async fn upload(&self, rest: &str, component: &[u8]) -> Response {
        self.ask(&format!("PUT /api/plugins/{rest}"), &["Content-Type: application/wasm"], component).await
    }

    /// Sends a request with the token.
    pub async fn ask(&self, request: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Response {
        let token = format!("Authorization: Bearer {}", self.token);
        self.ask_as(&token, request, fields, body).await
    }

    /// Sends a request with a line of one's own in the place of the token.
    pub async fn ask_as(&self, token: &str, request: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Response {
        let start = format!("{request} HTTP/1.1");
        let host = format!("Host: {}", self.address);
        let length = format!("Content-Length: {}", body.as_ref().len());
        let lines = [&[start.as_str(), &host, &length][..], fields, &[token][..token.len().min(1)]].concat();
        Client::connect(self.address).await.ask(&lines, body).await
    }

    /// What the admin server tells of one plugin.
    pub async fn plugin(&self, name: &str) -> Value {
        self.get(&format!("/api/plugins/{name}")).await.json()
    }

    /// Waits until what it tells of a plugin is as wanted.
    pub async fn plugin_until(&self, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        within(what, async {
            loop {
                let plugin = self.plugin(name).await;
                if wanted(&plugin) {
                    return plugin;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        })
        .await
    }

    /// One metric, by its name and labels as the text format writes them; 0 while it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.text();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a metric has a number"))
    }

    /// A stream of events that has begun: everything from now on is told.
    pub async fn events(&self) -> Events {
        let mut client = Client::connect(self.address).await;
        let (host, token) = (format!("Host: {}", self.address), format!("Authorization: Bearer {}", self.token));
        client.send(http(&["GET /api/events HTTP/1.1", &host, &token], "")).await;
        let head = client.head().await;
        assert_eq!(head.status(), 200, "{head:?}");
        Events { client, text: String::new() }
    }
}

/// Within the pace that the admin server lets a client have.
const LOOK_INTERVAL: Duration = Duration::from_millis(15);

/// Events as they come.
pub struct Events {
    client: Client,
    text: String,
}

impl Events {
    /// The next event of a kind; those before it are passed over.
    ///
    /// # Panics
    /// When the stream ends first.
    pub async fn next(&mut self, kind: &str) -> Value {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.lines().next() == Some(&format!("event: {kind}")) {
                    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event has data");
                    return serde_json::from_str(data).expect("an event is JSON");
                }
            }
            let piece = self.client.chunk().await.expect("the stream is whole");
            let piece = piece.unwrap_or_else(|| panic!("the stream ended before `{kind}`"));
            self.text.push_str(&String::from_utf8_lossy(&piece));
        }
    }
}
