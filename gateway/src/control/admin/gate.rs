//! The gate: who may ask for what. Everything passes here before anything looks at it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, FORWARDED, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use super::pace::{AdminRate, Pace, address};
use super::problem::Problem;
use super::socket::Peer;
use super::token::{Known, Tokens};
use super::{Access, AdminLimits, TokenError, dashboard, host};
use crate::config::model::Role;

/// What stands between a request and its answer.
pub(super) struct Gate {
    rules: RwLock<Arc<Rules>>,
    requests: Pace,
    failures: Pace,
    /// That a client was refused for its pace is told so often and no oftener.
    told: Pace,
}

struct Rules {
    tokens: Tokens,
    allowed_hosts: Vec<String>,
}

/// Who acts, and from where. Handlers of mutations ask for it, so that none works without a token.
#[derive(Debug, Clone)]
pub(super) struct Actor {
    /// The token's name.
    pub(super) name: Arc<str>,
    pub(super) client: Arc<str>,
}

/// What a request needs.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// To be on this machine, or any token.
    Reading,
    Role(Role),
}

impl Gate {
    pub(super) fn new(access: &Access, limits: &AdminLimits) -> Result<Self, TokenError> {
        Ok(Self {
            rules: RwLock::new(Arc::new(Rules::new(access)?)),
            requests: Pace::new(limits.request_rate),
            failures: Pace::new(limits.failure_rate),
            told: Pace::new(TOLD_RATE),
        })
    }

    pub(super) fn set_access(&self, access: &Access) -> Result<(), TokenError> {
        let rules = Arc::new(Rules::new(access)?);
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(())
    }

    /// Lets a request in, with its token's name where it has one.
    pub(super) fn admit(&self, head: &Parts, peer: &Peer) -> Result<Option<Actor>, Problem> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        host::check(head, peer, &rules.allowed_hosts)?;
        let need = need(&head.method, head.uri.path());
        if need == Need::Nothing {
            return Ok(None);
        }
        let known = self.known(&rules, head, peer)?;
        if head.uri.path() != METRICS {
            let client = known.map_or_else(|| address(peer), |known| format!("token {}", known.name));
            self.requests.take(&client, Instant::now()).map_err(|wait| hasty("too many requests", wait))?;
        }
        let allowed = match (&need, known) {
            (Need::Nothing, _) | (Need::Reading, Some(_)) => true,
            (Need::Reading, None) if is_local(head, peer) => true,
            (Need::Role(role), Some(known)) if known.role >= *role => true,
            (Need::Role(role), Some(Known { name, role: own, .. })) => {
                return Err(Problem::new(
                    StatusCode::FORBIDDEN,
                    format!("this needs the role `{}`; the token `{name}` has the role `{}`", word(*role), word(*own)),
                ));
            }
            (_, None) => false,
        };
        if !allowed {
            return Err(unauthorized("this needs a token: `Authorization: Bearer …`", "Bearer realm=\"witgate\""));
        }
        Ok(known.map(|known| Actor { name: known.name.clone(), client: peer.to_string().into() }))
    }
}

impl Gate {
    /// The token that the request shows. One that is wrong is an error even where none is needed: its sender should know. Who has shown too
    /// many of those is not told of any whether it is right.
    fn known<'r>(&self, rules: &'r Rules, head: &Parts, peer: &Peer) -> Result<Option<&'r Known>, Problem> {
        let Some(value) = head.headers.get(AUTHORIZATION) else { return Ok(None) };
        let (client, now) = (address(peer), Instant::now());
        self.failures.look(&client, now).map_err(|wait| hasty("too many wrong tokens came from this address", wait))?;
        let known = value.to_str().ok().and_then(bearer).and_then(|secret| rules.tokens.find(secret));
        known.map(Some).ok_or_else(|| {
            // Others may have taken the last one meanwhile, which is the same to this client.
            let _ = self.failures.take(&client, now);
            unauthorized("no token is known by this secret", "Bearer realm=\"witgate\", error=\"invalid_token\"")
        })
    }

    /// Whether a refusal belongs on record: of each mutation and of each wrong token; of what comes again and again by itself, now and then.
    pub(super) fn is_worth_recording(&self, head: &Parts, peer: &Peer, problem: &Problem) -> bool {
        let comes_again = match problem.status() {
            StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::MISDIRECTED_REQUEST | StatusCode::FORBIDDEN => reads(&head.method),
            _ => false,
        };
        if comes_again {
            let client = format!("{} {}", reason(problem), address(peer));
            return self.told.take(&client, Instant::now()).is_ok();
        }
        let is_guess = problem.status() == StatusCode::UNAUTHORIZED && head.headers.contains_key(AUTHORIZATION);
        is_guess || !reads(&head.method)
    }
}

impl Rules {
    fn new(access: &Access) -> Result<Self, TokenError> {
        Ok(Self { tokens: Tokens::new(&access.tokens)?, allowed_hosts: access.allowed_hosts.clone() })
    }
}

/// Why a request was not let in, in the word of metrics.
pub(super) fn reason(problem: &Problem) -> &'static str {
    match problem.status() {
        StatusCode::UNAUTHORIZED => "token",
        // Of a role that does not do, or of another site's page.
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::TOO_MANY_REQUESTS => "pace",
        StatusCode::SERVICE_UNAVAILABLE => "busy",
        _ => "host",
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// What each request needs. What this does not know needs the most.
fn need(method: &Method, path: &str) -> Need {
    if reads(method) {
        // The page itself tells nothing; what it asks for then is read like anything else.
        let is_open = matches!(path, "/livez" | "/readyz") || dashboard::has(path);
        return if is_open { Need::Nothing } else { Need::Reading };
    }
    if *method == Method::POST && path == "/api/explain" {
        return Need::Reading;
    }
    let operates = *method == Method::POST
        && (matches!(path, "/api/reload" | "/api/drain" | "/api/upgrade")
            || ["/promote", "/rollback", "/reset"].iter().any(|end| path.ends_with(end)));
    Need::Role(if operates { Role::Operator } else { Role::Deployer })
}

/// A request that a proxy on this machine passed on came from elsewhere.
fn is_local(head: &Parts, peer: &Peer) -> bool {
    let forwarded = head.headers.contains_key(FORWARDED) || head.headers.contains_key("x-forwarded-for");
    peer.is_local() && !forwarded
}

/// The secret of a bearer token (RFC 6750 §2.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

/// As the configuration writes it.
fn word(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Deployer => "deployer",
    }
}

/// A client that is told when to come back (RFC 6585 §4).
fn hasty(detail: &str, wait: Duration) -> Problem {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Problem::new(StatusCode::TOO_MANY_REQUESTS, format!("{detail}: try again in {seconds} s"))
        .with(RETRY_AFTER, HeaderValue::from(seconds))
}

fn unauthorized(detail: &str, challenge: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

/// A scraper has a pace of its own, and what it reads tells of a flood of other requests.
const METRICS: &str = "/metrics";
const TOLD_RATE: AdminRate = AdminRate { count: 1, period: Duration::from_secs(60), burst: 1 };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::AdminToken;

    const SECRETS: [(&str, Role); 3] = [
        ("viewer-secret-0123", Role::Viewer),
        ("operator-secret-01", Role::Operator),
        ("deployer-secret-01", Role::Deployer),
    ];

    fn gate() -> Gate {
        let token =
            |(secret, role): (&str, Role)| AdminToken { name: word(role).to_owned(), secret: secret.to_owned(), role };
        let access = Access { tokens: SECRETS.map(token).into(), allowed_hosts: Vec::new() };
        Gate::new(&access, &AdminLimits::new(0)).unwrap()
    }

    fn verdict(request: &str, client: &str, fields: &[(&str, &str)]) -> (u16, Option<String>) {
        let (method, path) = request.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(path).header("host", "127.0.0.1");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer::Tcp { client: client.parse().unwrap(), server: "127.0.0.1:9901".parse().unwrap() };
        match gate().admit(&head, &peer) {
            Ok(actor) => (200, actor.map(|actor| actor.name.to_string())),
            Err(problem) => (problem.status().as_u16(), None),
        }
    }

    const NEAR: &str = "127.0.0.1:5";
    const FAR: &str = "192.0.2.1:5";

    #[test]
    fn reading_needs_a_token_from_afar() {
        for path in ["/metrics", "/api/status", "/api/plugins/jwt", "/api/events", "/nothing"] {
            let request = format!("GET {path}");
            assert_eq!(verdict(&request, NEAR, &[]).0, 200, "{path}");
            assert_eq!(verdict(&request, "[::ffff:127.0.0.1]:5", &[]).0, 200, "{path}");
            assert_eq!(verdict(&request, FAR, &[]).0, 401, "{path}");
            let token = [("authorization", "Bearer viewer-secret-0123")];
            assert_eq!(verdict(&request, FAR, &token), (200, Some("viewer".to_owned())), "{path}");
        }
        for path in ["/livez", "/readyz", "/", "/app.js"] {
            assert_eq!(verdict(&format!("GET {path}"), FAR, &[]).0, 200, "{path}");
        }
    }

    #[test]
    fn what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine() {
        for field in ["forwarded", "x-forwarded-for"] {
            assert_eq!(verdict("GET /api/status", NEAR, &[(field, "192.0.2.1")]).0, 401, "{field}");
        }
    }

    #[test]
    fn a_mutation_needs_a_token_with_its_role() {
        let needed = [
            ("POST /api/reload", Role::Operator),
            ("POST /api/drain", Role::Operator),
            ("POST /api/plugins/jwt/promote", Role::Operator),
            ("POST /api/plugins/jwt/rollback", Role::Operator),
            ("POST /api/plugins/jwt/reset", Role::Operator),
            ("POST /api/config/rollback", Role::Operator),
            ("PUT /api/config", Role::Deployer),
            ("POST /api/config/validate", Role::Deployer),
            ("PUT /api/plugins/jwt", Role::Deployer),
            ("DELETE /api/plugins/jwt", Role::Deployer),
            ("PUT /api/plugins/reset", Role::Deployer),
            ("POST /api/what-comes-later", Role::Deployer),
        ];
        for (request, role) in needed {
            assert_eq!(verdict(request, NEAR, &[]).0, 401, "{request}");
            for (secret, own) in SECRETS {
                let wanted = if own >= role { (200, Some(word(own).to_owned())) } else { (403, None) };
                let token = format!("Bearer {secret}");
                assert_eq!(verdict(request, FAR, &[("authorization", &token)]), wanted, "{request} as {own:?}");
            }
        }
    }

    #[test]
    fn a_wrong_token_is_refused_even_where_none_is_needed() {
        for value in ["Bearer wrong", "Bearer ", "Bearer", "viewer-secret-0123", "Basic viewer-secret-0123", ""] {
            assert_eq!(verdict("GET /api/status", NEAR, &[("authorization", value)]).0, 401, "{value:?}");
        }
        assert_eq!(verdict("GET /api/status", NEAR, &[("authorization", "bearer viewer-secret-0123")]).0, 200);
    }

    #[test]
    fn a_role_that_is_missing_is_named() {
        let (head, ()) = http::Request::put("/api/plugins/jwt")
            .header("host", "localhost")
            .header("authorization", "Bearer operator-secret-01")
            .body(())
            .unwrap()
            .into_parts();
        let peer = Peer::Tcp { client: NEAR.parse().unwrap(), server: "127.0.0.1:9901".parse().unwrap() };
        let problem = gate().admit(&head, &peer).unwrap_err();
        let told = problem.to_string();
        assert!(told.contains("`deployer`") && told.contains("token `operator`"), "{told}");
    }

    #[test]
    fn access_may_change_while_it_is_used() {
        let gate = gate();
        let (head, ()) = http::Request::get("/api/status")
            .header("host", "localhost")
            .header("authorization", "Bearer viewer-secret-0123")
            .body(())
            .unwrap()
            .into_parts();
        let peer = Peer::Unix { uid: None };
        assert!(gate.admit(&head, &peer).is_ok());
        gate.set_access(&Access::default()).unwrap();
        assert_eq!(gate.admit(&head, &peer).unwrap_err().status(), 401);
        let short = AdminToken { name: "x".to_owned(), secret: "x".to_owned(), role: Role::Viewer };
        gate.set_access(&Access { tokens: vec![short], allowed_hosts: Vec::new() }).unwrap_err();
    }
}
