//! Checks of a plugin's `canary`: which requests it serves, and when it goes.

use super::super::fault::Fault;
use super::super::model::{Canary, RollbackWhen};
use super::super::path::At;
use super::super::raw::{RawCanary, RawRollbackWhen};
use super::super::scalar::{Factor, Share};
use super::Check;

impl Check<'_> {
    /// `is_signed`: whether the plugin has a public key, which is that of its canary as well.
    pub(super) fn canary(&mut self, at: &At<'_>, raw: &RawCanary, is_signed: bool) -> Option<Canary> {
        let source = self.required(at, "source", raw.source.as_ref());
        let is_pinned = is_signed || raw.sha256.is_some() || self.was_cut(&at.key("sha256"));
        let source = source.and_then(|source| self.source(&at.key("source"), source, is_pinned));
        let sha256 = raw.sha256.as_deref().map(|text| self.digest(&at.key("sha256"), text));
        let shadow = raw.shadow.unwrap_or_default();
        let percent = self.percent(at, raw, shadow);
        let sticky = raw.sticky.as_deref().and_then(|text| self.request_key(&at.key("sticky"), text));
        let promote_after_at = at.key("promote_after");
        let promote_after = raw.promote_after.map(|span| self.duration(&promote_after_at, Some(span), span.0));
        Some(Canary {
            source: source?,
            sha256,
            percent,
            shadow,
            sticky,
            rollback_when: self.rollback_when(&at.key("rollback_when"), raw.rollback_when.as_ref()),
            promote_after,
        })
    }

    fn percent(&mut self, at: &At<'_>, raw: &RawCanary, shadow: bool) -> f64 {
        match (raw.percent, shadow) {
            (Some(_), true) => {
                let fault = Fault::key(at.key("percent"), "a shadow answers no request, and has no share of them");
                self.fault(fault.help("remove `percent` or `shadow`"));
                0.0
            }
            (None, true) => 0.0,
            (Some(Share(percent)), false) => {
                if percent <= 0.0 || percent > 100.0 {
                    let fault = Fault::value(at.key("percent"), "a share is more than 0% and at most 100%");
                    self.fault(fault.help("write it as in `5%`"));
                }
                percent
            }
            (None, false) => {
                if !self.was_cut(&at.key("percent")) && !self.was_cut(&at.key("shadow")) {
                    let fault = Fault::key(at, "nothing is said about the requests of this canary");
                    self.fault(fault.help("write its share, as in `percent: 5%`, or `shadow: true`"));
                }
                0.0
            }
        }
    }

    fn rollback_when(&mut self, at: &At<'_>, raw: Option<&RawRollbackWhen>) -> RollbackWhen {
        let default = RollbackWhen::default();
        let Some(raw) = raw else { return default };
        let window_at = at.key("window");
        RollbackWhen {
            error_ratio: self.ratio(&at.key("error_ratio"), raw.error_ratio, default.error_ratio),
            p99_ratio: self.ratio(&at.key("p99_ratio"), raw.p99_ratio, default.p99_ratio),
            min_calls: self.whole(&at.key("min_calls"), raw.min_calls, default.min_calls, 1..=u64::MAX),
            window: raw.window.map(|span| self.duration(&window_at, Some(span), span.0)),
        }
    }

    fn ratio(&mut self, at: &At<'_>, raw: Option<Factor>, default: f64) -> f64 {
        let Some(Factor(ratio)) = raw else { return default };
        if ratio < 1.0 {
            let fault = Fault::value(at, "below 1 a canary would fail for being no better than the stable version");
            self.fault(fault.help("write how many times worse it may be, as in `2`"));
        }
        ratio
    }
}
