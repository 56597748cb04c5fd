//! Text that is computed from each request: a template whose variables are known to name something that requests have.

use crate::config::{Piece, Template};
use crate::{Attribute, Param, Part, Request, RequestHeader, Setup};

/// A [`Template`] of which every variable names a value of the request.
///
/// | variable | value |
/// |---|---|
/// | `${request.method}`, `${request.scheme}`, `${request.host}`, `${request.id}` | as the client sent it, or the gateway made it |
/// | `${request.path}`, `${request.query}` | the one without the other |
/// | `${request.header.NAME}` | the first value of a header |
/// | `${param.NAME}` | what the route's path captured |
/// | `${attribute.NAME}` | what an earlier filter set |
/// | `${client.ip}` | the client's address, after trusted proxies |
/// | `${route}` | the name of the route |
///
/// What a request does not have is empty.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, export_plugin};
/// use witgate_plugin::{RequestText, config::Template};
///
/// # #[derive(serde::Deserialize)]
/// struct Config {
///     value: Template,
/// }
///
/// struct Stamp(RequestText);
///
/// impl Plugin for Stamp {
///     type Config = Config;
///
///     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
///         let value = RequestText::of(&config.value, setup).map_err(|why| Error::at("value", why))?;
///         Ok(Stamp(value))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         request.set_header("x-stamp", self.0.for_header(request));
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Stamp: request);
/// # use witgate_plugin::test::{Harness, TestRequest, json};
/// # let mut plugin = Harness::<Stamp>::new(json!({ "value": "${request.method} by ${attribute.user}" }))?;
/// # let outcome = plugin.request(TestRequest::get("/").attribute("user", "ada"));
/// # assert_eq!(outcome.passed().value("x-stamp"), Some("GET by ada"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct RequestText(Vec<Source>);

#[derive(Debug)]
enum Source {
    Text(String),
    Part(Part),
    Path(Part),
    Query(Part),
    Header(RequestHeader),
    Param(Param),
    Attribute(Attribute),
}

impl RequestText {
    /// Ask for what the variables of a template need.
    ///
    /// # Errors
    ///
    /// A variable that names nothing of a request.
    pub fn of(template: &Template, setup: &mut Setup) -> Result<Self, String> {
        template.pieces().iter().map(|piece| Source::of(piece, setup)).collect::<Result<_, _>>().map(RequestText)
    }

    /// The text itself, if it has no variable.
    pub fn fixed(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [Source::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// As the value of a header: control characters, which would end it, are left out, and so is space around it.
    pub fn for_header(&self, request: &Request<'_>) -> String {
        let mut whole = self.fill(request, |text, value| text.push_str(value));
        whole.retain(|c| !c.is_control() || c == '\t');
        whole.trim_matches([' ', '\t']).to_owned()
    }

    /// As a part of a path or query: what the template says stands as it is, and in values all that is not unreserved is
    /// percent-encoded (RFC 3986 §2.3), so that no value can end its segment or parameter.
    pub fn for_uri(&self, request: &Request<'_>) -> String {
        self.fill(request, percent_encode)
    }

    fn fill(&self, request: &Request<'_>, push: impl Fn(&mut String, &str)) -> String {
        let mut whole = String::new();
        for source in &self.0 {
            match source {
                Source::Text(text) => whole.push_str(text),
                Source::Part(key) => push(&mut whole, request.part(*key)),
                Source::Path(key) => push(&mut whole, request.path(*key)),
                Source::Query(key) => push(&mut whole, request.query(*key).unwrap_or_default()),
                Source::Header(key) => {
                    push(&mut whole, &String::from_utf8_lossy(request.header(*key).unwrap_or_default()));
                }
                Source::Param(key) => push(&mut whole, request.param(*key).unwrap_or_default()),
                Source::Attribute(key) => push(&mut whole, request.attribute(*key).unwrap_or_default()),
            }
        }
        whole
    }
}

impl Source {
    fn of(piece: &Piece, setup: &mut Setup) -> Result<Self, String> {
        let name = match piece {
            Piece::Text(text) => return Ok(Source::Text(text.clone())),
            Piece::Variable(name) => name,
        };
        let (kind, member) = name.split_once('.').unwrap_or((name, ""));
        Ok(match (kind, member) {
            ("request", "method") => Source::Part(setup.want_method()),
            ("request", "scheme") => Source::Part(setup.want_scheme()),
            ("request", "host") => Source::Part(setup.want_authority()),
            ("request", "id") => Source::Part(setup.want_request_id()),
            ("request", "path") => Source::Path(setup.want_path()),
            ("request", "query") => Source::Query(setup.want_path()),
            ("client", "ip") => Source::Part(setup.want_client()),
            ("route", "") => Source::Part(setup.want_route()),
            ("param", name) if !name.is_empty() => Source::Param(setup.want_param(name)),
            ("attribute", name) if !name.is_empty() => Source::Attribute(setup.want_attribute(name)),
            ("request", header) => match header.strip_prefix("header.") {
                Some(name) if is_token(name) => Source::Header(setup.want_request_header(name)),
                _ => return Err(format!("a request has no `${{{name}}}`")),
            },
            _ => return Err(format!("there is no `${{{name}}}`; for a plain `${{` write `$${{`")),
        })
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn percent_encode(whole: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => whole.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => whole.push(char::from(byte)),
            _ => whole.push_str(&format!("%{byte:02X}")),
        }
    }
}
