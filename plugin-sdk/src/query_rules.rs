//! `query: {remove, set}`, as many configurations have it, and names of parameters as clients may write them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::config::{ParameterName, QueryTemplate};
use crate::{Part, Request, RequestText, Setup};

/// Which parameters of the query a plugin is to remove and to set, in this order: a field of a configuration. The others stay as
/// they are, in their order; those that are set stand at the end.
///
/// Names are compared as upstreams will read them: `debug` is also `de%62ug`.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, export_plugin};
/// use witgate_plugin::{QueryRewrite, config::QueryRules};
///
/// # #[derive(serde::Deserialize)]
/// struct Config {
///     query: QueryRules,
/// }
///
/// struct Query(Option<QueryRewrite>);
///
/// impl Plugin for Query {
///     type Config = Config;
///
///     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
///         Ok(Query(config.query.want(setup)))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         self.0.iter().for_each(|query| query.edit(request));
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Query: request);
/// # use witgate_plugin::test::{Harness, TestRequest, json};
/// let config = json!({ "query": { "remove": ["debug"], "set": { "by": "${client.ip}" } } });
/// let outcome = Harness::<Query>::new(config)?.request(TestRequest::get("/?de%62ug=1&a=2&by=me"));
/// assert_eq!(outcome.passed().target(), "/?a=2&by=192.0.2.1");
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(description = "What is to become of the query's parameters.")]
pub struct QueryRules {
    /// In place of every value that is there.
    set: BTreeMap<ParameterName, QueryTemplate>,
    /// Every value of these.
    remove: Vec<String>,
}

/// [`QueryRules`](crate::config::QueryRules) that are ready for requests.
///
/// ```
/// use witgate_plugin::{QueryRewrite, Request, Setup, config::QueryRules};
///
/// /// `None` where there is nothing to do: then the query need not cross into the plugin.
/// fn configure(rules: QueryRules, setup: &mut Setup) -> Option<QueryRewrite> {
///     rules.want(setup)
/// }
///
/// fn apply(query: Option<&QueryRewrite>, request: &mut Request) {
///     query.into_iter().for_each(|query| query.edit(request));
/// }
/// ```
#[derive(Debug)]
pub struct QueryRewrite {
    key: Part,
    /// Decoded.
    gone: Vec<String>,
    /// With an equals sign.
    set: Vec<(String, RequestText)>,
}

impl QueryRules {
    /// Ask for the query and what the values need; `None` when there is nothing to rewrite.
    pub fn want(self, setup: &mut Setup) -> Option<QueryRewrite> {
        let names = self.remove.iter().map(String::as_str).chain(self.set.keys().map(|name| &**name));
        let gone: Vec<_> = names.map(|name| decode(name).into_owned()).collect();
        let set = self.set.iter().map(|(name, value)| (format!("{}=", &**name), value.want(setup))).collect();
        (!gone.is_empty()).then(|| QueryRewrite { key: setup.want_path(), gone, set })
    }
}

impl QueryRewrite {
    /// Replace the query of a request, if it becomes another one.
    pub fn edit(&self, request: &mut Request<'_>) {
        let old = request.query(self.key).unwrap_or_default();
        let stays = |pair: &&str| {
            let name = decode(pair.split('=').next().unwrap_or_default());
            !pair.is_empty() && !self.gone.iter().any(|gone| *gone == name)
        };
        let mut pairs: Vec<_> = old.split('&').filter(stays).map(str::to_owned).collect();
        pairs.extend(self.set.iter().map(|(name, value)| name.clone() + &value.for_uri(request)));
        let query = pairs.join("&");
        if query != old {
            request.set_query(query);
        }
    }
}

/// As forms encode it (WHATWG URL, `application/x-www-form-urlencoded`).
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        // A number may have a sign, which is no digit.
        let hex = after.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_as_forms_are() {
        for (text, expected) in [("a", "a"), ("a%2Bb+c", "a+b c"), ("%", "%"), ("%4", "%4"), ("%zz%41", "%zzA")] {
            assert_eq!(decode(text), expected, "{text}");
        }
        assert_eq!(decode("%ff"), "\u{fffd}");
        assert_eq!(decode("%+1"), "% 1");
    }
}
