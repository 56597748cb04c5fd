//! What etcd and Consul have in common: how the command line names them, what they may be asked with, and what they may answer.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::SourceError;
use crate::config::{TEXTS_BYTES_MAX, Text};
use crate::outbound::{CallError, Caller, TlsError, TlsTerms, Trust};

/// Why a server has no configuration to give.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer cannot be understood: {0}")]
    Malformed(String),
    #[error("there is nothing below this prefix")]
    Empty,
    #[error("there are more than {KEYS_MAX} keys below this prefix")]
    TooManyKeys,
    #[error("what is below this prefix is larger than {} MiB", TEXTS_BYTES_MAX >> 20)]
    TooLarge,
    #[error("the value of `{0}` is not text in UTF-8")]
    NotText(String),
    #[error("{what} cannot be read: {why}")]
    Credential { what: String, why: String },
}

/// A server and a prefix of keys, with what it takes to be let in.
#[derive(Debug)]
pub(super) struct Address {
    /// For people, without any credentials.
    pub(super) name: String,
    /// `http://HOST:PORT`, or `https://`.
    pub(super) origin: String,
    /// With the slash that it begins with.
    pub(super) prefix: String,
    pub(super) user: Option<String>,
    /// The password of the user, or the token.
    pub(super) credential: Option<Credential>,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
}

/// Where a password or a token is: read each time it is needed, so that a new one takes effect by itself.
#[derive(Debug, Clone)]
pub(super) enum Credential {
    Env(String),
    File(PathBuf),
}

impl Address {
    /// Reads `SCHEME://HOST[:PORT]/PREFIX[?OPTION=VALUE&…]`; a scheme that ends in `s` means TLS.
    pub(super) fn parse(word: &str, port: u16) -> Result<Self, SourceError> {
        let wrong = |why: &str| SourceError::Word { word: Self::shown(word), why: why.to_owned(), help: HELP };
        let (scheme, rest) = word.split_once("://").unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("everybody on this machine can read what stands on a command line"));
        }
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong("its server is no HOST:PORT"))?;
        let host = parsed.host();
        let port = match (host, parsed.port_u16()) {
            ("", _) => return Err(wrong("it names no server")),
            (_, Some(port)) => port,
            (host, None) if host == authority => port,
            _ => return Err(wrong("its server is no HOST:PORT")),
        };
        let is_tls = matches!(scheme, "etcds" | "consuls");
        let http = if is_tls { "https" } else { "http" };
        let prefix = percent_decode_str(prefix).decode_utf8().map_err(|_| wrong("its prefix is not UTF-8"))?;
        if prefix.trim_matches('/').is_empty() {
            return Err(wrong("it names no prefix, and all keys of a server are no configuration"));
        }
        let mut address = Self {
            name: format!("{scheme}://{host}:{port}{prefix}"),
            origin: format!("{http}://{host}:{port}"),
            prefix: prefix.into_owned(),
            user: None,
            credential: None,
            ca: None,
            identity: None,
        };
        let (mut cert, mut key) = (None, None);
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = percent_decode_str(value).decode_utf8().map_err(|_| wrong("an option is not UTF-8"))?;
            match name {
                "user" => address.user = Some(value.into_owned()),
                "password" | "token" => {
                    let read = Credential::parse(&value);
                    address.credential = Some(read.ok_or_else(|| wrong("a secret is `env:VARIABLE` or `file:PATH`"))?);
                }
                "ca" if is_tls => address.ca = Some(PathBuf::from(&*value)),
                "cert" if is_tls => cert = Some(PathBuf::from(&*value)),
                "key" if is_tls => key = Some(PathBuf::from(&*value)),
                "ca" | "cert" | "key" => return Err(wrong("without TLS there are no certificates")),
                _ => return Err(wrong("it has an option that is not known")),
            }
        }
        address.identity = cert.zip(key);
        Ok(address)
    }

    /// The word as it may be shown: without its options, which name where secrets are, and without a password that does not belong there.
    pub(super) fn shown(word: &str) -> String {
        let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
        let rest = rest.split('?').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}{path}")
    }

    /// A client for this server, on its terms.
    pub(super) fn caller(&self, trust: &Trust) -> Result<Caller, SourceError> {
        let wrong = |path: &std::path::Path, why: String| SourceError::Word {
            word: self.name.clone(),
            why: format!("{}: {why}", path.display()),
            help: HELP,
        };
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| wrong(path, error.to_string()));
        let terms = TlsTerms {
            authorities: self.ca.as_ref().map(read).transpose()?,
            identity: self.identity.as_ref().map(|(cert, key)| Ok((read(cert)?, read(key)?))).transpose()?,
            verify: true,
        };
        let first = self.ca.as_ref().or(self.identity.as_ref().map(|(cert, _)| cert));
        let place = first.cloned().unwrap_or_default();
        trust.caller_on(&terms).map_err(|error: TlsError| wrong(&place, error.to_string()))
    }

    /// Whether a key is below the prefix: `/prod` is not below it what begins with `/production`.
    pub(super) fn has(&self, key: &str) -> bool {
        let prefix = self.prefix.trim_start_matches('/');
        let Some(rest) = key.trim_start_matches('/').strip_prefix(prefix) else { return false };
        rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')
    }

    /// The texts of keys below the prefix, as many and as large as may be.
    pub(super) fn texts(
        &self,
        entries: impl Iterator<Item = Result<(String, Vec<u8>), RemoteError>>,
    ) -> Result<Vec<Text>, RemoteError> {
        let (mut texts, mut bytes) = (Vec::new(), 0);
        for entry in entries {
            let (key, value) = entry?;
            // A key that ends in a slash is a folder's own.
            if !self.has(&key) || (key.ends_with('/') && value.is_empty()) {
                continue;
            }
            bytes += value.len();
            match (texts.len(), bytes) {
                (KEYS_MAX, _) => return Err(RemoteError::TooManyKeys),
                (_, bytes) if bytes > TEXTS_BYTES_MAX => return Err(RemoteError::TooLarge),
                _ => texts.push(self.text(&key, value)?),
            }
        }
        // Nothing at all is taken for a mistake: a prefix that is misspelt, or somebody who is about to write.
        if texts.is_empty() { Err(RemoteError::Empty) } else { Ok(texts) }
    }

    /// The text of a key. Relative paths in it are meant from where the gateway was started.
    fn text(&self, key: &str, value: Vec<u8>) -> Result<Text, RemoteError> {
        let (scheme, rest) = self.name.split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        let text = String::from_utf8(value).map_err(|_| RemoteError::NotText(key.to_owned()))?;
        let name = format!("{scheme}://{host}/{}", key.trim_start_matches('/'));
        Ok(Text { name, folder: PathBuf::new(), text, unread: None })
    }
}

impl Credential {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() => Some(Self::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(Self::File(path.into())),
            _ => None,
        }
    }

    pub(super) fn read(&self) -> Result<String, RemoteError> {
        match self {
            Self::Env(name) => std::env::var(name).map_err(|error| RemoteError::Credential {
                what: format!("the environment variable `{name}`"),
                why: error.to_string(),
            }),
            Self::File(path) => {
                let read = std::fs::read_to_string(path);
                let read = read.map_err(|error| RemoteError::Credential {
                    what: path.display().to_string(),
                    why: error.to_string(),
                })?;
                Ok(read.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

/// Asks, for a limited time.
pub(super) async fn in_time<T>(
    patience: Duration,
    asking: impl Future<Output = Result<T, CallError>>,
) -> Result<T, RemoteError> {
    let answer = tokio::time::timeout(patience, asking).await;
    Ok(answer.map_err(|_| RemoteError::Timeout(patience))??)
}

/// How long to wait after so many failures in a row: longer each time, and not the same for every gateway.
pub(super) fn pause(failures: u32) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1)).min(PAUSE_MAX);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// For an answer that is not meant to wait for a change.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys below one prefix.
pub(super) const KEYS_MAX: usize = 1024;
/// Values come in base64, with their keys.
pub(super) const ANSWER_BYTES_MAX: usize = TEXTS_BYTES_MAX / 3 * 4 + (1 << 20);

const HELP: &str = "write it as in `etcd://HOST:2379/witgate/prod/?user=NAME&password=env:VARIABLE` or \
    `consul://HOST:8500/witgate/prod/?token=file:PATH`; `etcds` and `consuls` mean TLS, with `ca=PATH`, `cert=PATH` and `key=PATH`";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_source_on_a_server_is_named_by_a_url() {
        let address = Address::parse("etcds://h/witgate/prod/?user=me&password=env:PW&ca=ca.pem", 2379).unwrap();
        assert_eq!(
            (address.name.as_str(), address.origin.as_str()),
            ("etcds://h:2379/witgate/prod/", "https://h:2379")
        );
        assert_eq!((address.prefix.as_str(), address.user.as_deref()), ("/witgate/prod/", Some("me")));
        let address = Address::parse("consul://[::1]:1/a", 8500).unwrap();
        assert_eq!(address.origin, "http://[::1]:1");
        for wrong in [
            "etcd://",
            "etcd://h",
            "etcd://h/",
            "etcd://h:x/a",
            "etcd://me:secret@h/a",
            "etcd://h/a?password=secret",
            "etcd://h/a?ca=x",
            "etcd://h/a?what=x",
        ] {
            let error = Address::parse(wrong, 2379).unwrap_err().to_string();
            assert!(
                error.contains("is no source") && !error.contains("secret@") && !error.contains("=secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_prefix_is_a_folder_or_a_key() {
        let address = |word| Address::parse(word, 1).unwrap();
        assert!(address("etcd://h/prod").has("/prod") && address("etcd://h/prod").has("/prod/a"));
        assert!(!address("etcd://h/prod").has("/production/a"));
        assert!(address("consul://h/prod/").has("prod/a") && !address("consul://h/prod/").has("prod"));
    }

    #[test]
    fn a_prefix_holds_so_much_and_no_more() {
        let address = Address::parse("etcd://h/a/", 1).unwrap();
        let texts = |keys: usize, value: usize| {
            let entry = |number| Ok((format!("/a/{number}"), vec![b'x'; value]));
            address.texts((0..keys).map(entry)).map(|texts| texts.len()).map_err(|error| error.to_string())
        };
        assert_eq!(texts(KEYS_MAX, 1), Ok(KEYS_MAX));
        assert!(texts(KEYS_MAX + 1, 1).unwrap_err().contains("more than 1024 keys"));
        assert_eq!(texts(4, TEXTS_BYTES_MAX / 4), Ok(4));
        assert!(texts(5, TEXTS_BYTES_MAX / 4).unwrap_err().contains("larger than 64 MiB"));
        assert!(texts(0, 1).unwrap_err().contains("nothing below"));
        let binary = [Ok(("/a/x".to_owned(), vec![0xff])), Ok(("/b".to_owned(), vec![0xff]))];
        assert!(address.texts(binary.into_iter()).unwrap_err().to_string().contains("`/a/x` is not text"));
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        for (failures, most) in [(1, 250), (2, 500), (3, 1000), (60, 30_000)] {
            let paused = pause(failures).as_millis();
            assert!(paused <= most && paused >= most / 2, "{failures}: {paused}");
        }
    }
}
