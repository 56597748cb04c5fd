//! Values of a request by the names that configurations give them, and text that is computed from them.

use std::borrow::Cow;

use crate::config::{Piece, Template};
use crate::{Attribute, Param, Part, Request, RequestHeader, Setup};

/// A value of a request, by its name.
///
/// | name | value |
/// |---|---|
/// | `request.method`, `request.scheme`, `request.host`, `request.id` | as the client sent it, or the gateway made it |
/// | `request.path`, `request.query` | the one without the other |
/// | `request.header.NAME` | the values of a header, joined by `, ` (RFC 9110 §5.3) |
/// | `param.NAME` | what the route's path captured |
/// | `attribute.NAME` | what an earlier filter set |
/// | `client.ip` | the client's address, after trusted proxies |
/// | `route` | the name of the route |
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, export_plugin};
/// use witgate_plugin::RequestValue;
///
/// # #[derive(serde::Deserialize)]
/// struct Config {
///     key: String,
/// }
///
/// struct ByKey(RequestValue);
///
/// impl Plugin for ByKey {
///     type Config = Config;
///
///     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
///         let key = RequestValue::of(&config.key, setup).map_err(|why| Error::at("key", why))?;
///         Ok(ByKey(key))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         if let Some(key) = self.0.read(request) {
///             request.set_attribute("key", key);
///         }
///         Verdict::Next
///     }
/// }
/// # export_plugin!(ByKey: request);
/// # use witgate_plugin::test::{Harness, TestRequest, json};
/// # let mut plugin = Harness::<ByKey>::new(json!({ "key": "client.ip" }))?;
/// # plugin.request(TestRequest::get("/").client("192.0.2.1"));
/// # assert_eq!(plugin.attribute("key"), Some("192.0.2.1"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct RequestValue(Source);

#[derive(Debug)]
enum Source {
    Part(Part),
    Path(Part),
    Query(Part),
    Header(RequestHeader),
    Param(Param),
    Attribute(Attribute),
}

/// A [`Template`] of which every variable is a [`RequestValue`]. What a request does not have is empty.
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
pub struct RequestText(Vec<TextPart>);

#[derive(Debug)]
enum TextPart {
    Text(String),
    Value(RequestValue),
}

/// The checked name of a value, before anybody asks the gateway for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Method,
    Scheme,
    Host,
    Id,
    Path,
    Query,
    Client,
    Route,
    Header(String),
    Param(String),
    Attribute(String),
}

impl Name {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let (kind, member) = name.split_once('.').unwrap_or((name, ""));
        Ok(match (kind, member) {
            ("request", "method") => Name::Method,
            ("request", "scheme") => Name::Scheme,
            ("request", "host") => Name::Host,
            ("request", "id") => Name::Id,
            ("request", "path") => Name::Path,
            ("request", "query") => Name::Query,
            ("client", "ip") => Name::Client,
            ("route", "") => Name::Route,
            ("param", name) if !name.is_empty() => Name::Param(name.to_owned()),
            ("attribute", name) if !name.is_empty() => Name::Attribute(name.to_owned()),
            ("request", header) => match header.strip_prefix("header.") {
                Some(name) if is_token(name) => Name::Header(name.to_owned()),
                _ => return Err(format!("a request has no `{name}`")),
            },
            _ => return Err(format!("there is no `{name}`")),
        })
    }

    /// As the variable of a template.
    pub(crate) fn of_variable(name: &str) -> Result<Self, String> {
        Name::parse(name).map_err(|why| format!("{why}; for a plain `${{` write `$${{`"))
    }

    pub(crate) fn want(&self, setup: &mut Setup) -> RequestValue {
        RequestValue(match self {
            Name::Method => Source::Part(setup.want_method()),
            Name::Scheme => Source::Part(setup.want_scheme()),
            Name::Host => Source::Part(setup.want_authority()),
            Name::Id => Source::Part(setup.want_request_id()),
            Name::Path => Source::Path(setup.want_path()),
            Name::Query => Source::Query(setup.want_path()),
            Name::Client => Source::Part(setup.want_client()),
            Name::Route => Source::Part(setup.want_route()),
            Name::Header(name) => Source::Header(setup.want_request_header(name)),
            Name::Param(name) => Source::Param(setup.want_param(name)),
            Name::Attribute(name) => Source::Attribute(setup.want_attribute(name)),
        })
    }
}

impl RequestValue {
    /// Ask for the value of this name.
    ///
    /// # Errors
    ///
    /// The name is none of a request.
    pub fn of(name: &str, setup: &mut Setup) -> Result<Self, String> {
        Name::parse(name).map(|name| name.want(setup))
    }

    /// What this request has of it.
    pub fn read<'a>(&self, request: &Request<'a>) -> Option<Cow<'a, str>> {
        match &self.0 {
            Source::Part(key) => Some(request.part(*key).into()),
            Source::Path(key) => Some(request.path(*key).into()),
            Source::Query(key) => Some(request.query(*key).unwrap_or_default().into()),
            Source::Header(key) => {
                let mut values = request.headers(*key).map(String::from_utf8_lossy);
                let first = values.next()?;
                Some(values.fold(first, |joined, value| format!("{joined}, {value}").into()))
            }
            Source::Param(key) => request.param(*key).map(Cow::Borrowed),
            Source::Attribute(key) => request.attribute(*key).map(Cow::Borrowed),
        }
    }
}

impl RequestText {
    /// Ask for what the variables of a template need.
    ///
    /// # Errors
    ///
    /// A variable that names nothing of a request.
    pub fn of(template: &Template, setup: &mut Setup) -> Result<Self, String> {
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => Ok(TextPart::Text(text.clone())),
            Piece::Variable(name) => Name::of_variable(name).map(|name| TextPart::Value(name.want(setup))),
        };
        template.pieces().iter().map(part).collect::<Result<_, _>>().map(RequestText)
    }

    /// The text itself, if it has no variable: then an edit can be made ready when the attachment is configured.
    ///
    /// ```
    /// # use witgate_plugin::{PreparedEdits, RequestText};
    /// # fn prepare(text: &RequestText, edits: &mut PreparedEdits) {
    /// if let Some(value) = text.fixed() {
    ///     edits.set_header("x-a", value);
    /// }
    /// # }
    /// ```
    pub fn fixed(&self) -> Option<&str> {
        match &self.0[..] {
            [] => Some(""),
            [TextPart::Text(text)] => Some(text),
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
    ///
    /// ```
    /// # use witgate_plugin::{Request, RequestText};
    /// # fn rewrite(text: &RequestText, request: &mut Request) {
    /// let path = format!("/tenants/{}", text.for_uri(request));
    /// request.set_path(path);
    /// # }
    /// ```
    pub fn for_uri(&self, request: &Request<'_>) -> String {
        self.fill(request, percent_encode)
    }

    fn fill(&self, request: &Request<'_>, push: impl Fn(&mut String, &str)) -> String {
        let mut whole = String::new();
        for part in &self.0 {
            match part {
                TextPart::Text(text) => whole.push_str(text),
                TextPart::Value(value) => push(&mut whole, &value.read(request).unwrap_or_default()),
            }
        }
        whole
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
