//! Checks of how requests are shared out: `balance`, `hash_on`, `affinity`, `panic_threshold`.

use http::HeaderName;

use super::super::fault::Fault;
use super::super::model::{Affinity, Balance};
use super::super::path::At;
use super::super::raw::{RawAffinity, RawUpstream};
use super::super::scalar::Share;
use super::Check;
use crate::message::RequestKey;

impl Check<'_> {
    /// Hash and balancer need each other.
    pub(super) fn balance(&mut self, at: &At<'_>, raw: &RawUpstream) -> (Balance, Option<RequestKey>) {
        use Balance::{LeastRequest, Maglev, P2cEwma, Random, RingHash, RoundRobin};
        let known = [
            ("round-robin", RoundRobin),
            ("least-request", LeastRequest),
            ("p2c-ewma", P2cEwma),
            ("random", Random),
            ("maglev", Maglev),
            ("ring-hash", RingHash),
        ];
        let default = if raw.affinity.is_some() { Maglev } else { RoundRobin };
        let balance = match &raw.balance {
            Some(word) => self.word(&at.key("balance"), word, &known).unwrap_or(default),
            None => default,
        };
        let is_hashing = matches!(balance, Maglev | RingHash);
        let hash_on = raw.hash_on.as_deref().and_then(|text| self.request_key(&at.key("hash_on"), text));
        match (is_hashing, &raw.hash_on, &raw.affinity) {
            (_, Some(_), Some(_)) => {
                let fault = Fault::key(at.key("hash_on"), "sessions of `affinity` are told apart by their cookie");
                self.fault(fault.help("remove `hash_on` or `affinity`"));
            }
            (false, Some(_), None) => {
                let fault = Fault::key(at.key("hash_on"), "this balancer does not look at a hash");
                self.fault(fault.help("write `balance: maglev` or `balance: ring-hash`"));
            }
            (false, None, Some(_)) => {
                let fault =
                    Fault::value(at.key("balance"), "sessions cannot stay at their endpoint with this balancer");
                self.fault(fault.help("remove it, or write `maglev` or `ring-hash`"));
            }
            (true, None, None) if !self.was_cut(&at.key("hash_on")) && !self.was_cut(&at.key("affinity")) => {
                let fault = Fault::key(at, "missing key `hash_on`: this balancer chooses by a hash of something");
                self.fault(fault.help("write what keeps requests together, as in `hash_on: header:x-user-id`"));
            }
            _ => {}
        }
        (balance, hash_on)
    }

    pub(super) fn affinity(&mut self, at: &At<'_>, raw: &RawAffinity) -> Option<Affinity> {
        let cookie = self.required(at, "cookie", raw.cookie.as_ref())?;
        if HeaderName::from_bytes(cookie.as_bytes()).is_err() {
            self.fault(Fault::value(at.key("cookie"), format!("`{cookie}` cannot be the name of a cookie")));
        }
        let ttl_at = at.key("ttl");
        let ttl = raw.ttl.map(|span| self.duration(&ttl_at, Some(span), span.0));
        Some(Affinity { cookie: cookie.clone(), ttl })
    }

    /// A share of the endpoints, in percent.
    pub(super) fn share_of_all(&mut self, at: &At<'_>, raw: Option<Share>, default: f64) -> f64 {
        let Some(Share(percent)) = raw else { return default };
        if percent > 100.0 {
            self.fault(Fault::value(at, "a share of the endpoints is at most 100%"));
        }
        percent
    }
}
