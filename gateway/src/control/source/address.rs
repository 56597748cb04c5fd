//! How the command line names a prefix of keys in etcd or Consul, with what it takes to be let in.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::SourceError;
use super::remote::ANSWER_BYTES_MAX;
use crate::outbound::{Credential, Server, Standing, TlsFiles, Trust};

/// A server and a prefix of keys, with what it takes to be let in.
#[derive(Debug)]
pub(super) struct Address {
    /// For people, without any credentials.
    pub(super) name: String,
    /// `http://HOST:PORT`, or `https://`: of each server.
    pub(super) origins: Vec<String>,
    /// With the slash that it begins with.
    pub(super) prefix: String,
    pub(super) user: Option<String>,
    /// The password of the user, or the token.
    pub(super) credential: Option<Credential>,
    /// For an answer that is not meant to wait for a change.
    timeout: Duration,
    files: TlsFiles,
}

impl Address {
    /// Reads `SCHEME://HOST[:PORT][,HOST[:PORT]…]/PREFIX[?OPTION=VALUE&…]`; a scheme that ends in `s` means TLS.
    pub(super) fn parse(word: &str, port: u16) -> Result<Self, SourceError> {
        let wrong = |why: &str| SourceError::Word { word: Self::shown(word), why: why.to_owned(), help: HELP };
        let (scheme, rest) = word.split_once("://").unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("everybody on this machine can read what stands on a command line"));
        }
        let servers: Vec<String> =
            authority.split(',').map(|one| server(one, port)).collect::<Result<_, _>>().map_err(wrong)?;
        let is_tls = matches!(scheme, "etcds" | "consuls");
        let http = if is_tls { "https" } else { "http" };
        let prefix = percent_decode_str(prefix).decode_utf8().map_err(|_| wrong("its prefix is not UTF-8"))?;
        if prefix.trim_matches('/').is_empty() {
            return Err(wrong("it names no prefix, and all keys of a server are no configuration"));
        }
        let mut address = Self {
            name: format!("{scheme}://{}{prefix}", servers.join(",")),
            origins: servers.iter().map(|server| format!("{http}://{server}")).collect(),
            prefix: prefix.into_owned(),
            user: None,
            credential: None,
            timeout: TIMEOUT,
            files: TlsFiles::default(),
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
                "timeout" => {
                    let read = humantime::parse_duration(&value).ok().filter(|read| TIMEOUTS.contains(read));
                    address.timeout = read.ok_or_else(|| wrong("its `timeout` is not between 1s and 5m"))?;
                }
                "ca" if is_tls => address.files.ca = Some(PathBuf::from(&*value)),
                "cert" if is_tls => cert = Some(PathBuf::from(&*value)),
                "key" if is_tls => key = Some(PathBuf::from(&*value)),
                "ca" | "cert" | "key" => return Err(wrong("without TLS there are no certificates")),
                _ => return Err(wrong(&format!("it has an option `{name}` that is not known"))),
            }
        }
        if cert.is_some() != key.is_some() {
            return Err(wrong("a `cert` goes with a `key`"));
        }
        address.files.identity = cert.zip(key);
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

    /// The server, to be asked.
    pub(super) fn server(&self, trust: &Trust) -> Result<Server, SourceError> {
        let standing = Standing {
            origins: self.origins.clone(),
            files: self.files.clone(),
            patience: self.timeout,
            bytes_max: ANSWER_BYTES_MAX,
        };
        Server::new(standing, trust).map_err(|error| SourceError::Word {
            word: self.name.clone(),
            why: error.to_string(),
            help: HELP,
        })
    }

    /// Whether a key is below the prefix: `/prod` is not below it what begins with `/production`.
    pub(super) fn has(&self, key: &str) -> bool {
        let prefix = self.prefix.trim_start_matches('/');
        let Some(rest) = key.trim_start_matches('/').strip_prefix(prefix) else { return false };
        rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')
    }
}

/// `HOST:PORT`, with the port that is meant where there is none.
fn server(authority: &str, port: u16) -> Result<String, &'static str> {
    let parsed: http::uri::Authority = authority.parse().map_err(|_| "its server is no HOST:PORT")?;
    match (parsed.host(), parsed.port_u16()) {
        ("", _) => Err("it names no server"),
        (host, Some(port)) => Ok(format!("{host}:{port}")),
        (host, None) if host == authority => Ok(format!("{host}:{port}")),
        _ => Err("its server is no HOST:PORT"),
    }
}

const HELP: &str = "write it as in `etcd://HOST:2379/witgate/prod/?user=NAME&password=env:VARIABLE` or \
    `consul://HOST:8500/witgate/prod/?token=file:PATH`; `etcds` and `consuls` mean TLS, with `ca=PATH`, `cert=PATH` and `key=PATH`; `timeout=10s` is for an answer";

const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_source_on_a_server_is_named_by_a_url() {
        let address = Address::parse("etcds://h/witgate/prod/?user=me&password=env:PW&ca=ca.pem", 2379).unwrap();
        assert_eq!(
            (address.name.as_str(), address.origins[0].as_str()),
            ("etcds://h:2379/witgate/prod/", "https://h:2379")
        );
        assert_eq!((address.prefix.as_str(), address.user.as_deref()), ("/witgate/prod/", Some("me")));
        let address = Address::parse("consul://[::1]:1/a", 8500).unwrap();
        assert_eq!(address.origins, ["http://[::1]:1"]);
        let address = Address::parse("etcd://a,b:1,[::1]/x", 2379).unwrap();
        assert_eq!(address.name, "etcd://a:2379,b:1,[::1]:2379/x");
        assert_eq!(address.origins, ["http://a:2379", "http://b:1", "http://[::1]:2379"]);
        for wrong in [
            "etcd://",
            "etcd://h",
            "etcd://h/",
            "etcd://h:x/a",
            "etcd://h,/a",
            "etcd://me:secret@h/a",
            "etcd://h/a?password=secret",
            "etcd://h/a?ca=x",
            "etcd://h/a?what=x",
            "etcd://h/a?timeout=0s",
            "etcd://h/a?timeout=soon",
            "etcds://h/a?cert=x",
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
}
