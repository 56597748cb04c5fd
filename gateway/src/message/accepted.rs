//! What a client takes, as fields of content negotiation say it (RFC 9110 §12.5).

use http::{HeaderMap, HeaderName};

/// One element of such a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted<'h> {
    /// A range of media types, a coding, or whatever the field is about.
    pub what: &'h str,
    /// In thousandths; 0 for what the client refuses (RFC 9110 §12.4.2).
    pub weight: u16,
    parameters: &'h str,
}

impl<'h> Accepted<'h> {
    fn read(element: &'h str) -> Option<Self> {
        let (what, parameters) = element.split_once(';').unwrap_or((element, ""));
        let mut accepted = Self { what: what.trim(), weight: WEIGHT_MAX, parameters };
        if let Some(weight) = accepted.parameter("q") {
            let weight = weight.parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight))?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
            let thousandths = (weight * f32::from(WEIGHT_MAX)) as u16;
            accepted.weight = thousandths;
        }
        Some(accepted)
    }

    /// The value of a parameter, such as `version`.
    pub fn parameter(&self, name: &str) -> Option<&'h str> {
        let mut parameters = self.parameters.split(';').filter_map(|parameter| parameter.split_once('='));
        parameters.find(|(known, _)| known.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// What all fields of this name say, without elements whose weight is none.
pub fn accepted<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Accepted<'h>> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(Accepted::read)
}

const WEIGHT_MAX: u16 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_weights_and_parameters() {
        let read = |element: &'static str| Accepted::read(element).map(|accepted| (accepted.what, accepted.weight));
        for (element, expected) in [
            (" gzip ", Some(("gzip", 1000))),
            ("gzip;q=0.5", Some(("gzip", 500))),
            ("text/plain ; Q=0.25; version=2", Some(("text/plain", 250))),
            ("br;q=0", Some(("br", 0))),
            ("br;q=1.001", None),
            ("br;q=-1", None),
            ("br;q=a", None),
        ] {
            assert_eq!(read(element), expected, "{element}");
        }
        let media = Accepted::read("text/plain; version=1.0.0 ;q=0.3").expect("it has a weight");
        assert_eq!((media.parameter("version"), media.parameter("charset")), (Some("1.0.0"), None));
    }
}
