//! Values with `${…}`: taken apart when a filter is made, put together for each request.

use http::HeaderName;

use crate::filter::Exchange;

/// A text, perhaps with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Header(HeaderName),
    Method,
    Scheme,
    Host,
    Path,
    Query,
    Client,
    Route,
    RequestId,
    Param(Box<str>),
    Attribute(Box<str>),
}

impl Template {
    /// Where a text has no `${` it is final; where it has one, `$$` is a dollar sign, as the configuration hands it on.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        if !text.contains("${") {
            push_text(&mut pieces, text);
            return Ok(Self(pieces));
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            push_text(&mut pieces, before);
            rest = if let Some(after) = after.strip_prefix('$') {
                push_text(&mut pieces, "$");
                after
            } else if let Some((name, after)) = after.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
                pieces.push(variable(name)?);
                after
            } else {
                push_text(&mut pieces, "$");
                after
            };
        }
        push_text(&mut pieces, rest);
        Ok(Self(pieces))
    }

    /// Its text, if it has no variable.
    pub(super) fn text(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What it is for this request; what the request does not have is empty.
    pub(super) fn fill(&self, exchange: &Exchange) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Client => out.push_str(&exchange.client.to_string()),
                piece => out.push_str(piece.text(exchange)),
            }
        }
        out
    }
}

impl Piece {
    fn text<'e>(&'e self, exchange: &'e Exchange) -> &'e str {
        match self {
            Self::Text(text) => text,
            Self::Header(name) => exchange.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default(),
            Self::Method => exchange.method.as_str(),
            Self::Scheme => exchange.connection.scheme,
            Self::Host => exchange.authority(),
            Self::Path => exchange.uri.path(),
            Self::Query => exchange.uri.query().unwrap_or_default(),
            Self::Route => &exchange.route,
            Self::RequestId => exchange.request_id.to_str().unwrap_or_default(),
            Self::Param(name) => {
                let param = exchange.params.iter().find(|(known, _)| **known == **name);
                param.map_or("", |(_, value)| value)
            }
            Self::Attribute(name) => exchange.attribute(name).unwrap_or_default(),
            // Has no text of its own; `fill` writes it.
            Self::Client => "",
        }
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => *last = format!("{last}{text}").into(),
        _ => pieces.push(Piece::Text(text.into())),
    }
}

fn variable(name: &str) -> Result<Piece, String> {
    let piece = match name.split_once('.') {
        None if name == "route" => Piece::Route,
        Some(("param", name)) => Piece::Param(name.into()),
        Some(("attribute", name)) => Piece::Attribute(name.into()),
        Some(("client", "ip")) => Piece::Client,
        Some(("request", part)) => match part {
            "method" => Piece::Method,
            "scheme" => Piece::Scheme,
            "host" => Piece::Host,
            "path" => Piece::Path,
            "query" => Piece::Query,
            "id" => Piece::RequestId,
            _ => match part.strip_prefix("header.").map(|name| HeaderName::from_bytes(name.as_bytes())) {
                Some(Ok(name)) => Piece::Header(name),
                _ => return Err(unknown(name)),
            },
        },
        _ => return Err(unknown(name)),
    };
    Ok(piece)
}

fn unknown(name: &str) -> String {
    format!(
        "`${{{name}}}` is not known; there are `${{request.method|scheme|host|path|query|id}}`, `${{request.header.NAME}}`, \
         `${{param.NAME}}`, `${{attribute.NAME}}`, `${{client.ip}}`, `${{route}}`"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::filter::native::tests::exchange;

    #[test]
    fn variables_are_filled_in_for_each_request() {
        let mut exchange = exchange("GET", "/a/b?c=d", &[("host", "a.example"), ("x-id", "7")]);
        exchange.set_attribute("user".into(), "ada".into());
        for (text, filled) in [
            ("plain $$ $", "plain $$ $"),
            ("https://${request.host}${request.path}?${request.query}", "https://a.example/a/b?c=d"),
            ("${request.header.x-id}-${request.header.none}-${attribute.user}", "7--ada"),
            ("$$${request.method} $5", "$GET $5"),
            ("${client.ip} ${request.scheme}", "127.0.0.1 http"),
        ] {
            assert_eq!(Template::parse(text).unwrap().fill(&exchange), filled, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["${}", "${request}", "${request.header.a b}", "${capture.1}", "${client.port}"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
