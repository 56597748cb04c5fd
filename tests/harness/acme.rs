//! A certificate authority that speaks ACME (RFC 8555), as far as a gateway needs one: it looks at the challenge (RFC 8737) by itself, and signs
//! what was asked for if that was good. Signatures of requests are not verified.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::authority::Authority;
use crate::tls_client::shown_by;

/// The authority's server.
pub struct Acme {
    address: SocketAddr,
    desk: Arc<Desk>,
    accepting: JoinHandle<()>,
}

struct Desk {
    origin: String,
    authority: Authority,
    /// Where names lead.
    target: watch::Sender<Option<SocketAddr>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    thumbprint: String,
    accounts: usize,
    orders: Vec<Order>,
    nonces: usize,
}

struct Order {
    domains: Vec<String>,
    proven: Vec<Option<bool>>,
    certificate: Option<String>,
}

impl Acme {
    /// An authority by whose word `authority` signs.
    pub async fn new(authority: Authority) -> Acme {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (target, _) = watch::channel(None);
        let desk = Desk { origin: format!("http://{address}"), authority, target, state: Mutex::default() };
        let desk = Arc::new(desk);
        let accepting = tokio::spawn(accept(listener, desk.clone()));
        Acme { address, desk, accepting }
    }

    /// Where clients begin.
    pub fn directory(&self) -> String {
        format!("http://{}/directory", self.address)
    }

    /// Every name leads to this address from now on; until then nobody is looked at.
    pub fn names_lead_to(&self, address: SocketAddr) {
        self.desk.target.send_replace(Some(address));
    }

    pub fn authority(&self) -> &Authority {
        &self.desk.authority
    }

    /// Accounts and orders so far.
    pub fn counted(&self) -> (usize, usize) {
        let state = self.desk.state();
        (state.accounts, state.orders.len())
    }
}

impl Drop for Acme {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a listening socket accepts");
        let desk = desk.clone();
        let service = service_fn(move |request| {
            let desk = desk.clone();
            async move { Ok::<_, Infallible>(desk.serve(request).await) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

impl Desk {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.expect("a request, whole").to_bytes();
        let (protected, payload) = opened(&body);
        let mut parts = path.trim_start_matches('/').split('/');
        let noun = parts.next().unwrap_or_default().to_owned();
        let numbers: Vec<usize> = parts.filter_map(|part| part.parse().ok()).collect();
        let (status, place, body) = match (&*noun, &numbers[..]) {
            ("directory", _) => (StatusCode::OK, None, self.links().to_string()),
            ("nonce", _) => (StatusCode::OK, None, String::new()),
            ("account", _) => self.account(&protected),
            ("order", []) => self.new_order(&payload),
            ("order", [order]) => (StatusCode::OK, None, self.told(*order).to_string()),
            ("proof", [order, name]) => (StatusCode::OK, None, self.authorization(*order, *name).to_string()),
            ("challenge", [order, name]) => {
                let is_proven = self.look(*order, *name).await;
                self.state().orders[*order].proven[*name] = Some(is_proven);
                (StatusCode::OK, None, self.challenge(*order, *name).to_string())
            }
            ("finalize", [order]) => {
                self.sign(*order, &payload);
                (StatusCode::OK, None, self.told(*order).to_string())
            }
            ("certificate", [order]) => {
                let certificate = self.state().orders[*order].certificate.clone();
                (StatusCode::OK, None, certificate.expect("it was signed"))
            }
            _ => (StatusCode::NOT_FOUND, None, String::new()),
        };
        let nonce = {
            let mut state = self.state();
            state.nonces += 1;
            format!("nonce-{}", state.nonces)
        };
        let mut response = Response::builder().status(status).header("replay-nonce", nonce);
        if let Some(place) = place {
            response = response.header("location", place);
        }
        response.body(Full::new(Bytes::from(body))).expect("a response")
    }

    fn links(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.origin);
        json!({ "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
                "revokeCert": at("revoke"), "keyChange": at("key") })
    }

    fn account(&self, protected: &Value) -> (StatusCode, Option<String>, String) {
        let part = |name: &str| protected["jwk"][name].as_str().expect("an account has a key").to_owned();
        // RFC 7638 §3: the members in their order, and nothing else.
        let key = json!({ "crv": part("crv"), "kty": part("kty"), "x": part("x"), "y": part("y") });
        let mut state = self.state();
        state.thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(key.to_string()));
        state.accounts += 1;
        (StatusCode::CREATED, Some(format!("{}/account/1", self.origin)), json!({ "status": "valid" }).to_string())
    }

    fn new_order(&self, payload: &Value) -> (StatusCode, Option<String>, String) {
        let names = payload["identifiers"].as_array().expect("an order has names");
        let domains: Vec<String> =
            names.iter().map(|name| name["value"].as_str().expect("a name").to_owned()).collect();
        let order = {
            let mut state = self.state();
            state.orders.push(Order { proven: vec![None; domains.len()], domains, certificate: None });
            state.orders.len() - 1
        };
        (StatusCode::CREATED, Some(format!("{}/order/{order}", self.origin)), self.told(order).to_string())
    }

    fn told(&self, order: usize) -> Value {
        let state = self.state();
        let Order { domains, proven, certificate } = &state.orders[order];
        let status = match certificate {
            Some(_) => "valid",
            None if proven.contains(&Some(false)) => "invalid",
            None if proven.contains(&None) => "pending",
            None => "ready",
        };
        let proofs: Vec<String> =
            (0..domains.len()).map(|name| format!("{}/proof/{order}/{name}", self.origin)).collect();
        let names: Vec<Value> = domains.iter().map(|name| json!({ "type": "dns", "value": name })).collect();
        let mut told = json!({
            "status": status, "identifiers": names, "authorizations": proofs,
            "finalize": format!("{}/finalize/{order}", self.origin),
        });
        if certificate.is_some() {
            told["certificate"] = format!("{}/certificate/{order}", self.origin).into();
        }
        told
    }

    fn authorization(&self, order: usize, name: usize) -> Value {
        let domain = self.state().orders[order].domains[name].clone();
        let challenge = self.challenge(order, name);
        json!({ "identifier": { "type": "dns", "value": domain }, "status": challenge["status"], "challenges": [challenge] })
    }

    fn challenge(&self, order: usize, name: usize) -> Value {
        let status = match self.state().orders[order].proven[name] {
            None => "pending",
            Some(true) => "valid",
            Some(false) => "invalid",
        };
        let url = format!("{}/challenge/{order}/{name}", self.origin);
        json!({ "type": "tls-alpn-01", "url": url, "token": token(order, name), "status": status })
    }

    /// Whether the name leads to a server that shows what only the account's holder can know (RFC 8737 §3).
    async fn look(&self, order: usize, name: usize) -> bool {
        let (domain, proof) = {
            let state = self.state();
            let authorization = format!("{}.{}", token(order, name), state.thumbprint);
            (state.orders[order].domains[name].clone(), Sha256::digest(authorization))
        };
        let mut target = self.target.subscribe();
        let target = target.wait_for(Option::is_some).await.expect("it is never dropped").expect("it is some");
        let Ok(stream) = TcpStream::connect(target).await else { return false };
        let Ok(shown) = shown_by(stream, &domain, "acme-tls/1").await else { return false };
        // The extension id-pe-acmeIdentifier, critical, with the digest in two octet strings.
        let extension = [&ACME_IDENTIFIER[..], &proof].concat();
        shown.windows(extension.len()).any(|part| part == extension)
    }

    fn sign(&self, order: usize, payload: &Value) {
        let request = URL_SAFE_NO_PAD.decode(payload["csr"].as_str().expect("a request")).expect("base64url");
        let domains = self.state().orders[order].domains.clone();
        let names: Vec<&str> = domains.iter().map(String::as_str).collect();
        let certificate = self.authority.sign(&names, &request);
        self.state().orders[order].certificate = Some(certificate);
    }
}

fn token(order: usize, name: usize) -> String {
    format!("token-of-{order}-and-{name}")
}

/// Head and payload of a signed request; null where there is none.
fn opened(body: &[u8]) -> (Value, Value) {
    let signed: Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(signed[name].as_str().unwrap_or_default()).unwrap_or_default();
        serde_json::from_slice(&decoded).unwrap_or_default()
    };
    (part("protected"), part("payload"))
}

const ACME_IDENTIFIER: [u8; 17] =
    [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f, 0x01, 0x01, 0xff, 0x04, 0x22, 0x04, 0x20];
