//! A running gateway, as the command line reaches it: where its admin server is, and what token it is shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::load;
use crate::config::model::ListenAddress;
use crate::control::{LocalToken, LocalTokenError, StateDir, StateDirError};
use crate::gateway::GatewayError;

/// Which gateway is asked.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// The gateway's configuration: it tells the admin server's address, and where the local token is.
    #[arg(short, long, env = "WITGATE_CONFIG", value_name = "SOURCE", required_unless_present = "admin")]
    config: Vec<String>,
    /// The admin server's address, HOST:PORT or unix:PATH; the token is then in `WITGATE_ADMIN_TOKEN`.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

/// An admin server.
#[derive(Debug)]
pub(super) struct Remote {
    address: Address,
    token: Option<HeaderValue>,
    /// Where the token is from, for whoever has to look for another.
    token_from: String,
}

#[derive(Debug)]
enum Address {
    /// With its port; a name is looked up.
    Tcp(String),
    Unix(PathBuf),
}

/// Why a gateway was not asked, or did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteError {
    #[error(transparent)]
    Config(#[from] GatewayError),
    #[error(
        "{0} has no `admin`: its gateway has no admin server\nhelp: add `admin: {{ address: 127.0.0.1:9901 }}` and restart, or name another one with `--admin`"
    )]
    NoAdmin(String),
    #[error("{0} gives the admin server port 0: its log tells the port\nhelp: name it with `--admin HOST:PORT`")]
    NoPort(String),
    #[error("`--admin {0}` is no address\nhelp: write HOST:PORT or unix:PATH")]
    Address(String),
    #[error("the token {0} has characters that a header cannot carry")]
    Token(String),
    #[error(transparent)]
    LocalToken(#[from] LocalTokenError),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error("cannot reach the admin server at {address}: {error}\nhelp: is the gateway running, with this address?")]
    Unreachable { address: String, error: String },
    #[error("the answer of {address} cannot be understood: {error}\nhelp: is it Witgate's admin server?")]
    Answer { address: String, error: String },
    #[error("{file}: {why}\nhelp: is the gateway running, with this `pid_file`?")]
    Process { file: PathBuf, why: String },
    #[error("{}{}", problem["detail"].as_str().unwrap_or(status.as_str()), help(*status, token_from))]
    Refused { status: StatusCode, problem: Box<Value>, token_from: String },
}

impl Reach {
    /// The configuration, where nothing but that tells which gateway is meant.
    pub(super) fn config_alone(&self) -> Option<&[String]> {
        Some(self.config.as_slice()).filter(|_| self.admin.is_none())
    }

    /// The gateway at this address.
    pub(super) fn at(admin: &str) -> Self {
        Self { config: Vec::new(), admin: Some(admin.to_owned()) }
    }

    /// Finds out where the gateway is.
    pub(super) fn remote(&self) -> Result<Remote, RemoteError> {
        let given = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let (address, token) = match (&self.admin, self.config.as_slice()) {
            // The token of one gateway is not shown to another.
            (Some(admin), _) => (Address::parse(admin)?, given.map(from_variable)),
            (None, words @ [_, ..]) => {
                let config = load(words)?.config;
                let named = words.join(", ");
                let admin = config.admin.ok_or_else(|| RemoteError::NoAdmin(named.clone()))?;
                let address = Address::of(&admin.address).ok_or(RemoteError::NoPort(named))?;
                let token = match given {
                    Some(token) => from_variable(token),
                    None => local(config.state_dir.as_deref())?,
                };
                (address, Some(token))
            }
            // clap asks for one of the two.
            (None, []) => return Err(RemoteError::Address(String::new())),
        };
        let Some((secret, token_from)) = token else {
            return Ok(Remote { address, token: None, token_from: format!("none: {TOKEN_VARIABLE} is not set") });
        };
        let mut value =
            HeaderValue::try_from(format!("Bearer {secret}")).map_err(|_| RemoteError::Token(token_from.clone()))?;
        value.set_sensitive(true);
        Ok(Remote { address, token: Some(value), token_from })
    }
}

fn from_variable(secret: String) -> (String, String) {
    (secret, TOKEN_VARIABLE.to_owned())
}

/// The token that a gateway of this user made, and where it is.
fn local(state_dir: Option<&Path>) -> Result<(String, String), RemoteError> {
    let folder = StateDir::place(state_dir)?;
    let token = LocalToken::read(&folder)?;
    Ok((token.secret().to_owned(), format!("the local token in {}", folder.display())))
}

impl Address {
    fn parse(text: &str) -> Result<Self, RemoteError> {
        let wrong = || RemoteError::Address(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
        if parsed.port_u16().is_none() || authority.contains('@') {
            return Err(wrong());
        }
        Ok(Self::Tcp(authority.to_owned()))
    }

    /// Where this machine reaches a server that listens there; `None` while its port is unknown.
    fn of(configured: &ListenAddress) -> Option<Self> {
        match configured {
            ListenAddress::Unix(path) => Some(Self::Unix(path.clone())),
            ListenAddress::Tcp(address) if address.port() == 0 => None,
            ListenAddress::Tcp(address) => {
                let ip = match address.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    ip => ip,
                };
                Some(Self::Tcp(SocketAddr::new(ip, address.port()).to_string()))
            }
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Remote {
    pub(super) async fn get(&self, path: &str) -> Result<Value, RemoteError> {
        self.ask(Method::GET, path, "", Bytes::new()).await
    }

    pub(super) async fn post(&self, path: &str) -> Result<Value, RemoteError> {
        self.ask(Method::POST, path, "", Bytes::new()).await
    }

    pub(super) async fn put(&self, path: &str, media_type: &'static str, body: Bytes) -> Result<Value, RemoteError> {
        self.ask(Method::PUT, path, media_type, body).await
    }

    /// An answer that is no JSON.
    pub(super) async fn text(&self, path: &str) -> Result<String, RemoteError> {
        let (status, body) = self.answer(Method::GET, path, "", Bytes::new()).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<Value, RemoteError> {
        let (status, body) = self.answer(method, path, media_type, body).await?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| RemoteError::Answer {
            address: self.address.to_string(),
            error: format!("{status}, and {error}"),
        })
    }

    async fn answer(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), RemoteError> {
        let unreachable = |error: String| RemoteError::Unreachable { address: self.address.to_string(), error };
        let asking = async {
            match &self.address {
                Address::Tcp(address) => {
                    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address));
                    let stream =
                        connecting.await.map_err(|_| unreachable(format!("no answer in {CONNECT_TIMEOUT:?}")))?;
                    let stream = stream.map_err(|error| unreachable(error.to_string()))?;
                    self.exchange(stream, address, method, path, media_type, body).await
                }
                Address::Unix(file) => {
                    let stream = UnixStream::connect(file).await.map_err(|error| unreachable(error.to_string()))?;
                    self.exchange(stream, "localhost", method, path, media_type, body).await
                }
            }
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, asking).await;
        answered.unwrap_or_else(|_| Err(unreachable(format!("no answer in {ANSWER_TIMEOUT:?}"))))
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        host: &str,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), RemoteError> {
        let failed = |error: String| RemoteError::Answer { address: self.address.to_string(), error };
        let mut request =
            Request::builder().method(method).uri(path).header(HOST, host).header(ACCEPT, "application/json");
        if !media_type.is_empty() {
            request = request.header(CONTENT_TYPE, media_type);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(error.to_string()))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.to_string()))?;
        // It ends with the sender.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| failed(error.to_string()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| failed(error.to_string()))?;
        Ok((head.status, body.to_bytes()))
    }

    /// In the words of the problem that the answer holds (RFC 9457).
    fn refused(&self, status: StatusCode, body: &[u8]) -> RemoteError {
        let problem = serde_json::from_slice(body).unwrap_or_default();
        RemoteError::Refused { status, problem, token_from: self.token_from.clone() }
    }
}

/// What to do about a refusal, where that is not said already.
fn help(status: StatusCode, token_from: &str) -> String {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("\nhelp: the token that was shown is {token_from}"),
        StatusCode::MISDIRECTED_REQUEST => {
            "\nhelp: ask by the address, or add the name to `admin.allowed_hosts`".to_owned()
        }
        _ => String::new(),
    }
}

/// Where a token is that no file holds.
const TOKEN_VARIABLE: &str = "WITGATE_ADMIN_TOKEN";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than fetching, compiling and warming a component may take together.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
const ANSWER_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_path() {
        let shown = |text| Address::parse(text).unwrap().to_string();
        for same in ["127.0.0.1:9901", "[::1]:9901", "gate.example.com:80", "unix:/run/witgate.sock"] {
            assert_eq!(shown(same), same);
        }
        assert_eq!(shown("http://127.0.0.1:9901/"), "127.0.0.1:9901");
        for wrong in ["", "unix:", "127.0.0.1", "localhost", "me@localhost:1", "https://localhost:1", "localhost:x"] {
            assert!(matches!(Address::parse(wrong), Err(RemoteError::Address(_))), "{wrong}");
        }
    }

    #[test]
    fn a_server_on_every_address_is_reached_on_loopback() {
        let of =
            |text: &str| Address::of(&ListenAddress::Tcp(text.parse().unwrap())).map(|address| address.to_string());
        assert_eq!(of("0.0.0.0:9901").as_deref(), Some("127.0.0.1:9901"));
        assert_eq!(of("[::]:9901").as_deref(), Some("[::1]:9901"));
        assert_eq!(of("192.0.2.1:9901").as_deref(), Some("192.0.2.1:9901"));
        assert_eq!(of("127.0.0.1:0"), None);
    }
}
