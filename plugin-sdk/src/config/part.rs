//! Parts of a message other than its headers, as configurations give them: each checks itself.

use serde::de::{self, Deserialize, Deserializer};

use super::checked_string;

/// A method, such as `GET`: a token (RFC 9110 §9.1).
///
/// ```
/// use witgate_plugin::config::Method;
///
/// assert_eq!(Method::try_from("PROPFIND".to_owned()).as_deref(), Ok("PROPFIND"));
/// assert!(Method::try_from("GET /".to_owned()).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Method(String);

/// A host, or host and port, such as `users.internal:8080` or `[::1]` (RFC 9110 §7.2).
///
/// ```
/// use witgate_plugin::config::Authority;
///
/// assert!(Authority::try_from("users.internal:8080".to_owned()).is_ok());
/// assert!(Authority::try_from("ada@users".to_owned()).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority(String);

/// Whole segments at the beginning of a path. `/api` and `/api/` mean the same, and look the same: without a slash at the end, so `/` is
/// the empty one.
///
/// ```
/// use witgate_plugin::config::PathPrefix;
///
/// let prefix = PathPrefix::try_from("/api/".to_owned())?;
/// assert_eq!(prefix.strip("/api/users"), Some("/users"));
/// assert_eq!(prefix.strip("/apix"), None);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathPrefix(String);

/// The name of a parameter, as it stands in a query.
///
/// ```
/// use witgate_plugin::config::ParameterName;
///
/// assert!(ParameterName::try_from("a%20b".to_owned()).is_ok());
/// assert!(ParameterName::try_from("a=b".to_owned()).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterName(String);

/// The status of a response that ends an exchange: 200 to 599 (RFC 9110 §15).
///
/// ```
/// use witgate_plugin::config::Status;
///
/// let status: Status = serde_json::from_str("404")?;
/// assert_eq!(status.code(), 404);
/// assert!(serde_json::from_str::<Status>("100").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Status(u16);

impl PathPrefix {
    /// What stands behind it in a path that begins with it: empty, or with a slash first.
    pub fn strip<'p>(&self, path: &'p str) -> Option<&'p str> {
        // A prefix ends at a segment: `/api` is none of `/apix`.
        path.strip_prefix(&self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl Status {
    /// The number.
    pub fn code(self) -> u16 {
        self.0
    }
}

impl TryFrom<String> for Method {
    type Error = String;

    fn try_from(method: String) -> Result<Self, String> {
        check_word("method", &method, "!#$%&'*+-.^_`|~").map(|()| Method(method))
    }
}

impl TryFrom<String> for Authority {
    type Error = String;

    fn try_from(authority: String) -> Result<Self, String> {
        check_word("authority", &authority, ".-_:[]").map(|()| Authority(authority))
    }
}

impl TryFrom<String> for PathPrefix {
    type Error = String;

    fn try_from(prefix: String) -> Result<Self, String> {
        if !prefix.starts_with('/') {
            return Err(format!("{prefix:?} must begin with `/`"));
        }
        check_uri(&prefix, "")?;
        Ok(PathPrefix(prefix.trim_end_matches('/').to_owned()))
    }
}

impl TryFrom<String> for ParameterName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        check_uri(&name, "&=").map(|()| ParameterName(name))
    }
}

checked_string!(Method Authority PathPrefix ParameterName);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let status = u16::deserialize(deserializer)?;
        let is_final = (200..=599).contains(&status);
        is_final
            .then_some(Status(status))
            .ok_or_else(|| de::Error::custom(format_args!("{status} is no status from 200 to 599")))
    }
}

/// Letters, digits and these.
fn check_word(what: &str, word: &str, others: &str) -> Result<(), String> {
    let fits = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c));
    fits.then_some(()).ok_or_else(|| format!("{word:?} is no {what}"))
}

/// What may stand in a path or a parameter as it is, but for these; RFC 3986 §3.3 wants the rest percent-encoded.
pub(super) fn check_uri(text: &str, others: &str) -> Result<(), String> {
    let is_bad = |c: &char| !c.is_ascii_graphic() || "?#\\\"<>".contains(*c) || others.contains(*c);
    text.chars().find(is_bad).map_or(Ok(()), |c| Err(format!("{c:?} cannot stand there; percent-encode it")))
}
