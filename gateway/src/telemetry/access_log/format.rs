//! How a line looks: a JSON object, or a text with places for fields.

use http::HeaderName;

use super::field::{Field, Plain, names};

/// The format of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(pub(super) Shape);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// The keys with all that stands before their values, and the fields.
    Json(Vec<(Box<str>, Place)>),
    Text(Vec<Piece>),
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    Field(Place),
}

/// Where a field's value is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Plain(Plain),
    /// Among the headers that were noted of the request.
    RequestHeader(usize),
    ResponseHeader(usize),
    Attribute(Box<str>),
}

/// The header fields that a format wants noted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) request: Vec<HeaderName>,
    pub(super) response: Vec<HeaderName>,
}

/// Why a text is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("`{0}` is no field of the access log")]
    Unknown(String),
    #[error("a place for a field has no end")]
    Open,
    #[error("`{0}` is neither a format nor a text with places for fields")]
    Neither(String),
}

impl Format {
    /// A JSON line with these fields; `None` is the usual ones. `more` come after them.
    pub(super) fn json(
        fields: Option<&[String]>,
        more: &[String],
        headers: &mut Headers,
    ) -> Result<Self, Vec<FormatError>> {
        let usual = || Plain::ALL_OF_JSON.map(Field::Plain).into_iter().map(Ok).collect();
        let named = |name: &String| Field::named(name).ok_or_else(|| FormatError::Unknown(name.clone()));
        let mut all: Vec<Result<Field, FormatError>> =
            fields.map_or_else(usual, |fields| fields.iter().map(named).collect());
        all.extend(more.iter().map(named));
        let mut errors = Vec::new();
        let mut places = Vec::with_capacity(all.len());
        for (at, field) in all.into_iter().enumerate() {
            match field {
                Ok(field) => {
                    let comma = if at == 0 { '{' } else { ',' };
                    let key = serde_json::Value::from(field.name());
                    places.push((format!("{comma}{key}:").into(), headers.place(field)));
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self(Shape::Json(places))) } else { Err(errors) }
    }

    /// A text with `${…}` where fields stand, and `$$` for a dollar.
    pub(super) fn text(text: &str, headers: &mut Headers) -> Result<Self, FormatError> {
        let text = match text {
            "common" => COMMON,
            "combined" => COMBINED,
            text if text.contains("${") => text,
            text => return Err(FormatError::Neither(text.to_owned())),
        };
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            plain.push_str(&rest[..dollar]);
            let from = &rest[dollar..];
            if let Some(inside) = from.strip_prefix("${") {
                let (name, after) = inside.split_once('}').ok_or(FormatError::Open)?;
                let field = Field::named(name).ok_or_else(|| FormatError::Unknown(name.to_owned()))?;
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
                pieces.push(Piece::Field(headers.place(field)));
                rest = after;
            } else {
                plain.push('$');
                rest = from.strip_prefix("$$").unwrap_or(&from[1..]);
            }
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain.into()));
        pieces.retain(|piece| *piece != Piece::Text("".into()));
        Ok(Self(Shape::Text(pieces)))
    }

    fn places(&self) -> Vec<&Place> {
        match &self.0 {
            Shape::Json(places) => places.iter().map(|(_, place)| place).collect(),
            Shape::Text(pieces) => pieces
                .iter()
                .filter_map(|piece| if let Piece::Field(place) = piece { Some(place) } else { None })
                .collect(),
        }
    }

    /// Whether lines tell the filters' times.
    pub(super) fn tells_filters(&self) -> bool {
        self.places().contains(&&Place::Plain(Plain::Filters))
    }

    /// Bytes of a line that are there whatever is in its fields, and more than enough for the numbers.
    pub(super) fn fixed_bytes(&self) -> usize {
        let text: usize = match &self.0 {
            Shape::Json(places) => places.iter().map(|(key, _)| key.len()).sum(),
            Shape::Text(pieces) => {
                pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum()
            }
        };
        text + self.places().len() * VALUE_BYTES_LEAST + 2
    }
}

impl FormatError {
    /// What would do instead.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown(name) => {
                let near = names().find(|known| strsim::damerau_levenshtein(known, name) <= NEAR_MAX);
                near.map_or_else(
                    || {
                        let names: Vec<&str> = names().collect();
                        let named = "`request.header.NAME`, `response.header.NAME` and `attribute.NAME`";
                        format!("there is {}, {named}", names.join(", "))
                    },
                    |near| format!("did you mean `{near}`?"),
                )
            }
            Self::Open => "close it with `}`".to_owned(),
            Self::Neither(_) => {
                "write `json`, `common`, `combined`, or a text such as `${ts} ${client} ${path} ${status}`".to_owned()
            }
        }
    }
}

impl Headers {
    fn place(&mut self, field: Field) -> Place {
        match field {
            Field::Plain(plain) => Place::Plain(plain),
            Field::Attribute(name) => Place::Attribute(name),
            Field::RequestHeader(name) => Place::RequestHeader(place_of(&mut self.request, name)),
            Field::ResponseHeader(name) => Place::ResponseHeader(place_of(&mut self.response, name)),
        }
    }
}

fn place_of(names: &mut Vec<HeaderName>, name: HeaderName) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// Edits that are taken for a slip.
const NEAR_MAX: usize = 2;

/// A name of the configuration, a number, or quotes and the mark of what was cut.
const VALUE_BYTES_LEAST: usize = 80;

/// The Common Log Format of the NCSA's server.
const COMMON: &str = r#"${client} - ${user} [${time}] "${method} ${path} ${protocol}" ${status} ${bytes_out}"#;
/// The same with two fields more, as Apache has it.
const COMBINED: &str = r#"${client} - ${user} [${time}] "${method} ${path} ${protocol}" ${status} ${bytes_out} "${request.header.referer}" "${request.header.user-agent}""#;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Result<Vec<Piece>, FormatError> {
        let Format(shape) = Format::text(text, &mut Headers::default())?;
        let Shape::Text(pieces) = shape else { panic!("a text") };
        Ok(pieces)
    }

    #[test]
    fn a_text_has_places_for_fields() {
        let status = Piece::Field(Place::Plain(Plain::Status));
        assert_eq!(
            text("a $$5 ${status}$ b"),
            Ok(vec![Piece::Text("a $5 ".into()), status, Piece::Text("$ b".into())])
        );
        assert_eq!(text("${stat}"), Err(FormatError::Unknown("stat".to_owned())));
        assert_eq!(text("${request.header.a b}"), Err(FormatError::Unknown("request.header.a b".to_owned())));
        assert_eq!(text("${attribute.}"), Err(FormatError::Unknown("attribute.".to_owned())));
        assert_eq!(text("${status"), Err(FormatError::Open));
        assert_eq!(text("clf"), Err(FormatError::Neither("clf".to_owned())));
        assert!(text("common").is_ok() && text("combined").is_ok());
    }

    #[test]
    fn a_header_is_noted_once() {
        let mut headers = Headers::default();
        let more = ["request.header.X-A", "request.header.x-a", "response.header.x-a"].map(str::to_owned);
        let format = Format::json(None, &more, &mut headers).expect("they are fields");
        assert_eq!((headers.request.len(), headers.response.len()), (1, 1));
        assert!(format.tells_filters());
        let errors = Format::json(Some(&["a".to_owned()]), &["b".to_owned()], &mut headers);
        assert_eq!(errors.map_err(|errors| errors.len()), Err(2));
    }
}
