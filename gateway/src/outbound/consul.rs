//! Consul's blocking queries (`?index=&wait=`): the server answers when something has changed since an index, or when it has waited long
//! enough.

use std::time::Duration;

use http::HeaderMap;

/// The index to ask by after this answer to a question by `last`. By Consul's own rules, one that is missing, 0 or goes backwards means
/// to begin anew.
pub fn next_index(last: u64, headers: &HeaderMap) -> u64 {
    let index = headers.get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok()).unwrap_or(0);
    if index < last { 0 } else { index }
}

/// How long Consul may take that is asked to wait: it adds up to a sixteenth, so that not all who ask come back at once.
pub fn longest(wait: Duration) -> Duration {
    wait + wait / 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_backwards_begins_anew() {
        let answered = |index: &str| {
            HeaderMap::from_iter([("x-consul-index".parse().expect("a name"), index.parse().expect("a value"))])
        };
        for (last, told, next) in [(0, "7", 7), (7, "9", 9), (7, "7", 7), (9, "3", 0), (9, "x", 0)] {
            assert_eq!(next_index(last, &answered(told)), next);
        }
        assert_eq!(next_index(5, &HeaderMap::new()), 0);
    }
}
