//! `headers: {remove, set, add}`, applied in this order. Values are known beforehand, or computed from each request; those for
//! the response are computed with the request, and kept for it.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::config::{HeaderName, OneOrMany, Template};
use witgate_plugin::{Error, HeaderEdits, Request, RequestText, Response, Setup, schemars};

/// Removed first, then set, then added.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "HeadersConfig")]
pub(crate) struct Config {
    /// In place of every value that is there.
    set: BTreeMap<HeaderName, OneOrMany<Template>>,
    /// Beside the values that are there.
    add: BTreeMap<HeaderName, OneOrMany<Template>>,
    /// Every value of these.
    remove: Vec<HeaderName>,
}

pub(crate) enum Rewrite {
    /// The usual case, made ready.
    Fixed(HeaderEdits),
    Computed {
        remove: Vec<HeaderName>,
        values: Vec<Value>,
    },
}

pub(crate) struct Value {
    name: HeaderName,
    replaces: bool,
    text: RequestText,
}

impl Config {
    pub(crate) fn check(self, at: &str, setup: &mut Setup) -> Result<Rewrite, Error> {
        let mut values = Vec::new();
        for (key, replaces, headers) in [("set", true, self.set), ("add", false, self.add)] {
            for (name, templates) in headers {
                for (number, template) in templates.iter().enumerate() {
                    let item = if templates.len() > 1 { format!("[{number}]") } else { String::new() };
                    let fault = |why| Error::at(format!("{at}.headers.{key}.{}{item}", &*name), why);
                    let text = RequestText::of(template, setup).map_err(fault)?;
                    check_field(template, text.fixed()).map_err(fault)?;
                    // The first value replaces, the others join it.
                    values.push(Value { name: name.clone(), replaces: replaces && number == 0, text });
                }
            }
        }
        if values.iter().any(|value| value.text.fixed().is_none()) {
            return Ok(Rewrite::Computed { remove: self.remove, values });
        }
        let mut edits = HeaderEdits::default();
        self.remove.iter().for_each(|name| edits.remove(name));
        for Value { name, replaces, text } in &values {
            let value = text.fixed().unwrap_or_default();
            if *replaces { edits.set(name, value) } else { edits.append(name, value) }
        }
        Ok(Rewrite::Fixed(edits))
    }
}

impl Rewrite {
    pub(crate) fn request(&self, request: &mut Request<'_>) {
        match self {
            Rewrite::Fixed(edits) => request.edit_headers(edits),
            Rewrite::Computed { remove, values } => {
                remove.iter().for_each(|name| request.remove_header(name));
                for Value { name, replaces, text } in values {
                    let value = text.for_header(request);
                    if *replaces { request.set_header(name, value) } else { request.append_header(name, value) }
                }
            }
        }
    }

    /// What the response needs of its request: a line for each value, which has no line break itself.
    pub(crate) fn keep(&self, request: &mut Request<'_>) {
        if let Rewrite::Computed { values, .. } = self {
            let lines: Vec<_> = values.iter().map(|value| value.text.for_header(request)).collect();
            request.keep(lines.join("\n"));
        }
    }

    pub(crate) fn response(&self, response: &mut Response<'_>) {
        match self {
            Rewrite::Fixed(edits) => response.edit_headers(edits),
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

/// No control characters but tabs, no space around it (RFC 9110 §5.5).
fn check_field(template: &Template, fixed: Option<&str>) -> Result<(), String> {
    let is_bad = |c: char| c.is_control() && c != '\t';
    let has_space = |text: &str| text.trim_matches([' ', '\t']) != text;
    let bad = template.texts().find(|text| text.contains(is_bad)).or(fixed.filter(|text| has_space(text)));
    bad.map_or(Ok(()), |text| Err(format!("{text:?} is no header value")))
}
