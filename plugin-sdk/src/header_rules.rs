//! `headers: {remove, set, add}`, as many configurations have it: edits that are made ready where they can be, and computed from each
//! request where they cannot.

use std::collections::BTreeMap;

use crate::config::{HeaderName, HeaderTemplate, OneOrMany};
use crate::{PreparedEdits, Request, RequestText, Response, Setup};

/// Which headers a plugin is to remove, set and add, in this order: a field of a configuration.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, export_plugin};
/// use witgate_plugin::{HeaderRewrite, config::HeaderRules};
///
/// # #[derive(serde::Deserialize)]
/// struct Config {
///     headers: HeaderRules,
/// }
///
/// struct Headers(HeaderRewrite);
///
/// impl Plugin for Headers {
///     type Config = Config;
///
///     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
///         Ok(Headers(config.headers.want(setup)))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         self.0.edit_request(request);
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Headers: request);
/// # use witgate_plugin::test::{Harness, TestRequest, json};
/// let config = json!({ "headers": { "remove": ["x-a"], "set": { "x-path": "${request.path}" }, "add": { "x-b": ["1", "2"] } } });
/// let outcome = Harness::<Headers>::new(config)?.request(TestRequest::get("/p").header("x-a", "0").header("x-b", "0"));
/// assert_eq!((outcome.passed().value("x-a"), outcome.passed().value("x-path")), (None, Some("/p")));
/// assert_eq!(outcome.passed().values("x-b"), ["0", "1", "2"]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(description = "Which headers are to be removed, set and added, in this order.")]
pub struct HeaderRules {
    /// In place of every value that is there.
    set: BTreeMap<HeaderName, OneOrMany<HeaderTemplate>>,
    /// Beside the values that are there.
    add: BTreeMap<HeaderName, OneOrMany<HeaderTemplate>>,
    /// Every value of these.
    remove: Vec<HeaderName>,
}

/// [`HeaderRules`](crate::config::HeaderRules) that are ready for requests or responses.
///
/// Values for the response are computed with the request: call [`keep`](Self::keep) in the request hook.
///
/// ```
/// # use witgate_plugin::{Error, HeaderRewrite, Plugin, Request, Response, Setup, Verdict, config::HeaderRules, export_plugin};
/// struct Told(HeaderRewrite);
///
/// impl Plugin for Told {
///     type Config = HeaderRules;
///
///     fn configure(config: HeaderRules, setup: &mut Setup) -> Result<Self, Error> {
///         Ok(Told(config.want(setup)))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         // The upstream gets the headers, too.
///         self.0.edit_request(request);
///         self.0.keep(request);
///         Verdict::Next
///     }
///
///     fn on_response(&self, response: &mut Response) -> Verdict {
///         self.0.edit_response(response);
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Told: request, response);
/// # use witgate_plugin::test::{Harness, TestRequest, TestResponse, json};
/// # let mut plugin = Harness::<Told>::new(json!({ "set": { "x-path": "${request.path}" } }))?;
/// # plugin.request(TestRequest::get("/p"));
/// # assert_eq!(plugin.response(TestResponse::new(200)).passed().value("x-path"), Some("/p"));
/// # Ok::<(), Error>(())
/// ```
///
/// Rules that change nothing, or make no value of the request, leave hooks with nothing to do:
///
/// ```
/// # use witgate_plugin::{HeaderRewrite, Setup};
/// fn skip(setup: &mut Setup, on_responses: &HeaderRewrite) {
///     if !on_responses.reads_requests() {
///         setup.skip_request();
///     }
///     if on_responses.is_empty() {
///         setup.skip_response();
///     }
/// }
/// ```
#[derive(Debug)]
pub struct HeaderRewrite(Rewrite);

#[derive(Debug)]
enum Rewrite {
    /// The usual case, made ready.
    Fixed(PreparedEdits),
    Computed {
        remove: Vec<HeaderName>,
        values: Vec<Value>,
    },
}

#[derive(Debug)]
struct Value {
    name: HeaderName,
    replaces: bool,
    text: RequestText,
}

impl HeaderRules {
    /// Ask for what the values need.
    pub fn want(self, setup: &mut Setup) -> HeaderRewrite {
        let mut values = Vec::new();
        for (is_set, headers) in [(true, self.set), (false, self.add)] {
            for (name, templates) in headers {
                for (number, template) in templates.iter().enumerate() {
                    // The first value replaces, the others join it.
                    let replaces = is_set && number == 0;
                    values.push(Value { name: name.clone(), replaces, text: template.want(setup) });
                }
            }
        }
        if values.iter().any(|value| value.text.fixed().is_none()) {
            return HeaderRewrite(Rewrite::Computed { remove: self.remove, values });
        }
        let mut edits = PreparedEdits::default();
        self.remove.iter().for_each(|name| edits.remove_header(name));
        for Value { name, replaces, text } in &values {
            let value = text.fixed().unwrap_or_default();
            if *replaces { edits.set_header(name, value) } else { edits.append_header(name, value) }
        }
        HeaderRewrite(Rewrite::Fixed(edits))
    }
}

impl HeaderRewrite {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Rewrite::Fixed(edits) => edits.is_empty(),
            Rewrite::Computed { .. } => false,
        }
    }

    /// Whether a value is made of the request: [`keep`](Self::keep) has something to do then.
    pub fn reads_requests(&self) -> bool {
        matches!(self.0, Rewrite::Computed { .. })
    }

    /// Edit the headers of a request.
    pub fn edit_request(&self, request: &mut Request<'_>) {
        match &self.0 {
            Rewrite::Fixed(edits) => request.apply(edits),
            Rewrite::Computed { remove, values } => {
                remove.iter().for_each(|name| request.remove_header(name));
                for Value { name, replaces, text } in values {
                    let value = text.for_header(request);
                    if *replaces { request.set_header(name, value) } else { request.append_header(name, value) }
                }
            }
        }
    }

    /// Compute what the response will need of its request, and [keep](Request::keep) it, in the place of what was kept so far: the gateway has
    /// 4 KiB for it. Where nothing is to be computed, nothing is kept.
    pub fn keep(&self, request: &mut Request<'_>) {
        if let Rewrite::Computed { values, .. } = &self.0 {
            // A line for each value, which has no line break itself.
            let lines: Vec<_> = values.iter().map(|value| value.text.for_header(request)).collect();
            request.keep(lines.join("\n"));
        }
    }

    /// Edit the headers of a response, with what [`keep`](Self::keep) kept. Of a response to a request that this attachment never saw,
    /// what had to be computed is empty.
    pub fn edit_response(&self, response: &mut Response<'_>) {
        match &self.0 {
            Rewrite::Fixed(edits) => response.apply(edits),
            Rewrite::Computed { remove, values } => {
                remove.iter().for_each(|name| response.remove_header(name));
                let lines = response.kept().unwrap_or_default().split(|byte| *byte == b'\n');
                for (Value { name, replaces, .. }, value) in values.iter().zip(lines) {
                    if *replaces { response.set_header(name, value) } else { response.append_header(name, value) }
                }
            }
        }
    }
}
