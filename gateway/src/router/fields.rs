//! What a route asks of the values of one header or one query parameter.

use super::FieldSpec;
use super::regex::FieldRegex;

/// A [`FieldSpec`] without faults.
pub(super) enum FieldTest {
    Equals(Box<[u8]>),
    Regex(FieldRegex),
    Present(bool),
}

impl FieldTest {
    pub(super) fn new(spec: FieldSpec) -> Result<Self, String> {
        Ok(match spec {
            FieldSpec::Equals(text) => Self::Equals(text.into_bytes().into()),
            FieldSpec::Regex(text) => Self::Regex(FieldRegex::parse(&text)?),
            FieldSpec::Present(present) => Self::Present(present),
        })
    }

    /// True when one of `values` holds; every one, so that a client cannot hide a value behind another.
    pub(super) fn admits(&self, values: impl IntoIterator<Item: AsRef<[u8]>>) -> bool {
        let mut values = values.into_iter();
        match self {
            Self::Equals(text) => values.any(|value| value.as_ref() == &**text),
            Self::Regex(regex) => values.any(|value| regex.is_match(value.as_ref())),
            Self::Present(present) => values.next().is_some() == *present,
        }
    }
}
