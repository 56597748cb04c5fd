//! Templates whose variables are values of the request, for one place each: what cannot stand there is found when they are decoded.

use serde::de::{self, Deserialize, Deserializer};

use super::Template;
use super::part::check_uri;
use crate::text::Name;
use crate::{RequestText, Setup};

/// The value of a header, with the variables of [`RequestText`].
///
/// ```
/// use witgate_plugin::config::{HeaderTemplate, Template};
///
/// let check = |text: &str| Template::try_from(text).and_then(HeaderTemplate::try_from).map(drop);
/// assert_eq!(check("by ${attribute.user}"), Ok(()));
/// assert!(check("a\nb").is_err() && check("${attribute}").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderTemplate(Template);

/// A piece of a path, with the variables of [`RequestText`]. What their values have that is not unreserved is percent-encoded.
///
/// ```
/// use witgate_plugin::config::{PathTemplate, Template};
///
/// let check = |text: &str| Template::try_from(text).and_then(PathTemplate::try_from).map(drop);
/// assert_eq!(check("/tenants/${param.id}"), Ok(()));
/// assert!(check("/a?b").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate(Template);

/// The value of a parameter in a query, with the variables of [`RequestText`], of which the same holds.
///
/// ```
/// use witgate_plugin::config::{QueryTemplate, Template};
///
/// let check = |text: &str| Template::try_from(text).and_then(QueryTemplate::try_from).map(drop);
/// assert_eq!(check("${client.ip}"), Ok(()));
/// assert!(check("a&b=c").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryTemplate(Template);

macro_rules! checked_template {
    ($($name:ident: $check:expr;)+) => {$(
        impl $name {
            /// Ask for what its variables need.
            ///
            /// ```
            /// # use witgate_plugin::{RequestText, Setup, config::HeaderTemplate};
            /// fn configure(greeting: &HeaderTemplate, setup: &mut Setup) -> RequestText {
            ///     greeting.want(setup)
            /// }
            /// ```
            pub fn want(&self, setup: &mut Setup) -> RequestText {
                RequestText::of(&self.0, setup).expect("its variables were checked when it was made")
            }
        }

        impl TryFrom<Template> for $name {
            type Error = String;

            fn try_from(template: Template) -> Result<Self, String> {
                template.variables().try_for_each(|name| Name::of_variable(name).map(drop))?;
                let check: fn(&Template) -> Result<(), String> = $check;
                check(&template).map(|()| $name(template))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Template::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
            }
        }
    )+};
}

checked_template! {
    HeaderTemplate: check_field;
    PathTemplate: |template| template.texts().try_for_each(|text| check_uri(text, ""));
    QueryTemplate: |template| template.texts().try_for_each(|text| check_uri(text, "&"));
}

/// No control characters but tabs, no space around it (RFC 9110 §5.5). Space around what is computed goes when it is.
fn check_field(template: &Template) -> Result<(), String> {
    let is_bad = |c: char| c.is_control() && c != '\t';
    let has_space = |text: &str| text.trim_matches([' ', '\t']) != text;
    let is_fixed = template.variables().next().is_none();
    let bad = template.texts().find(|text| text.contains(is_bad) || (is_fixed && has_space(text)));
    bad.map_or(Ok(()), |text| Err(format!("{text:?} is no header value")))
}
