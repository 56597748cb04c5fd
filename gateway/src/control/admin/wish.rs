//! How a new version shall take over, read from a query and, for a version that has a source, from a JSON body.

use http::StatusCode;
use serde::Deserialize;

use super::problem::Problem;
use crate::control::{SwapMode, SwapSource};

/// The query of a swap, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SwapQuery {
    /// Percent of the requests: `5` or `5%`.
    canary: Option<String>,
    sticky: Option<String>,
    /// `true`, `false`, or nothing, which is `true`.
    shadow: Option<String>,
    sha256: Option<String>,
    reason: Option<String>,
}

/// The JSON body of a swap, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceBody {
    source: String,
    sha256: Option<String>,
    reason: Option<String>,
}

/// Everything about a swap but the component.
#[derive(Debug, PartialEq)]
pub(super) struct Wish {
    pub(super) mode: SwapMode,
    pub(super) sha256: Option<[u8; 32]>,
    pub(super) reason: Option<String>,
}

impl Wish {
    pub(super) fn read(query: SwapQuery) -> Result<Self, Problem> {
        let SwapQuery { canary, sticky, shadow, sha256, reason } = query;
        let shadow = match shadow.as_deref() {
            None | Some("false") => false,
            Some("true" | "") => true,
            Some(other) => return Err(bad(format!("`shadow` is `true` or `false`, not `{other}`"))),
        };
        let mode = match (canary, sticky, shadow) {
            (None, None, false) => SwapMode::Now,
            (None, None, true) => SwapMode::Shadow,
            (Some(share), sticky, false) => SwapMode::Canary { percent: percent(&share)?, sticky },
            (Some(_), _, true) => return Err(bad("`canary` and `shadow` exclude each other")),
            (None, Some(_), _) => return Err(bad("`sticky` means something with `canary` only")),
        };
        Ok(Self { mode, sha256: sha256.as_deref().map(digest).transpose()?, reason: reason.map(said).transpose()? })
    }

    /// Adds what the body says; neither may contradict the other.
    pub(super) fn with(self, body: SourceBody) -> Result<(SwapSource, Self), Problem> {
        let sha256 = body.sha256.as_deref().map(digest).transpose()?;
        if let (Some(one), Some(other)) = (self.sha256, sha256)
            && one != other
        {
            return Err(bad("the query and the body name different digests"));
        }
        let reason = body.reason.map(said).transpose()?;
        let wish = Self { mode: self.mode, sha256: self.sha256.or(sha256), reason: self.reason.or(reason) };
        Ok((SwapSource::Source(body.source), wish))
    }
}

fn percent(text: &str) -> Result<f64, Problem> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent = number.parse().ok().filter(|percent| *percent > 0.0 && *percent <= 100.0);
    percent.ok_or_else(|| bad(format!("`canary` is a share above 0 and up to 100 percent, not `{text}`")))
}

/// A digest in hex.
fn digest(text: &str) -> Result<[u8; 32], Problem> {
    let wrong = || bad(format!("`sha256` is a digest of 64 hex digits, not `{text}`"));
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// A reason goes into logs and reports, and is one line of them.
fn said(reason: String) -> Result<String, Problem> {
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        return Err(bad(format!("`reason` is one line of at most {REASON_BYTES_MAX} bytes")));
    }
    Ok(reason)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

const REASON_BYTES_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Wish, String> {
        let uri = format!("/api/plugins/x?{query}").parse().unwrap();
        let query = axum::extract::Query::<SwapQuery>::try_from_uri(&uri).map_err(|rejection| rejection.body_text())?;
        Wish::read(query.0).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_query_says_how_the_version_takes_over() {
        let mode = |query| read(query).unwrap().mode;
        let canary = |percent, sticky: Option<&str>| SwapMode::Canary { percent, sticky: sticky.map(str::to_owned) };
        assert_eq!(mode(""), SwapMode::Now);
        assert_eq!(mode("shadow=true"), SwapMode::Shadow);
        assert_eq!(mode("shadow"), SwapMode::Shadow);
        assert_eq!(mode("shadow=false"), SwapMode::Now);
        assert_eq!(mode("canary=5"), canary(5.0, None));
        assert_eq!(mode("canary=0.5%25&sticky=header:x-user"), canary(0.5, Some("header:x-user")));
        let wish = read(&format!("sha256={}&reason=it+is+time", "0F".repeat(32))).unwrap();
        assert_eq!((wish.sha256, wish.reason.as_deref()), (Some([0x0f; 32]), Some("it is time")));
    }

    #[test]
    fn what_a_query_cannot_mean_is_refused() {
        for (query, word) in [
            ("canary=0", "above 0"),
            ("canary=101", "up to 100"),
            ("canary=NaN", "not `NaN`"),
            ("canary=-1", "not `-1`"),
            ("canary=5&shadow=true", "exclude"),
            ("sticky=client-ip", "`canary` only"),
            ("sticky=client-ip&shadow", "`canary` only"),
            ("shadow=yes", "not `yes`"),
            ("sha256=abc", "64 hex digits"),
            (&format!("sha256={}", "+f".repeat(32)), "64 hex digits"),
            (&format!("reason={}", "x".repeat(501)), "500 bytes"),
            ("reason=a%0Ab", "one line"),
            ("cannary=5", "cannary"),
        ] {
            let told = read(query).expect_err(query);
            assert!(told.contains(word), "{query}: {told}");
        }
        assert!(read(&format!("reason={}", "x".repeat(500))).is_ok());
    }

    #[test]
    fn a_body_names_the_source_and_contradicts_no_query() {
        let body = |text: &str| serde_json::from_str::<SourceBody>(text).unwrap();
        let pin = "0f".repeat(32);
        let (source, wish) =
            read("").unwrap().with(body(&format!(r#"{{"source":"builtin:jwt","sha256":"{pin}"}}"#))).unwrap();
        assert!(matches!(source, SwapSource::Source(source) if source == "builtin:jwt"));
        assert_eq!(wish.sha256, Some([0x0f; 32]));
        let other = read(&format!("sha256={}", "00".repeat(32))).unwrap();
        let told = other.with(body(&format!(r#"{{"source":"builtin:jwt","sha256":"{pin}"}}"#))).unwrap_err();
        assert!(told.to_string().contains("different digests"));
    }
}
