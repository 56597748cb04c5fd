//! Checks of `health_check` and `outlier_ejection`.

use std::time::Duration;

use super::super::fault::Fault;
use super::super::model::{HealthCheck, OutlierEjection, Probe};
use super::super::path::At;
use super::super::raw::{RawHealthCheck, RawOutlierEjection};
use super::{Check, items};

impl Check<'_> {
    pub(super) fn health_check(&mut self, at: &At<'_>, raw: &RawHealthCheck) -> Option<HealthCheck> {
        let probe = self.probe(at, raw);
        Some(HealthCheck {
            interval: self.duration(&at.key("interval"), raw.interval, Duration::from_secs(5)),
            timeout: self.duration(&at.key("timeout"), raw.timeout, Duration::from_secs(1)),
            unhealthy_after: self.whole(&at.key("unhealthy_after"), raw.unhealthy_after, 3, COUNTED),
            healthy_after: self.whole(&at.key("healthy_after"), raw.healthy_after, 2, COUNTED),
            probe: probe?,
        })
    }

    fn probe(&mut self, at: &At<'_>, raw: &RawHealthCheck) -> Option<Probe> {
        let forms = [
            ("path", raw.path.clone().map(|path| Probe::Http { path, statuses: Vec::new() })),
            ("tcp", raw.tcp.map(|_| Probe::Tcp)),
            ("grpc", raw.grpc.clone().map(|service| Probe::Grpc { service })),
        ];
        if raw.tcp == Some(false) {
            self.fault(Fault::value(at.key("tcp"), "`tcp` is `true` or left out"));
        }
        let (key, mut probe) = self.one_of(at, "kind of check", "remove one of them", forms)?;
        match &mut probe {
            Probe::Http { path, statuses } => {
                let is_target =
                    path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
                if !is_target {
                    let fault = Fault::value(at.key("path"), format!("`{path}` is not a path"));
                    self.fault(fault.help("write a path, perhaps with a query, as in `/healthz`"));
                }
                let statuses_at = at.key("statuses");
                for (index, status) in items(raw.statuses.as_ref()) {
                    statuses.push(self.whole(&statuses_at.item(index), Some(*status), 200, 200..=599));
                }
                if raw.statuses.as_ref().is_some_and(Vec::is_empty) {
                    self.fault(Fault::value(statuses_at, "with no status at all every check would fail"));
                }
            }
            Probe::Tcp | Probe::Grpc { .. } if raw.statuses.is_some() => {
                let fault = Fault::key(at.key("statuses"), format!("a check by `{key}` has no status"));
                self.fault(fault.help("remove it: `statuses` belongs to `path`"));
            }
            Probe::Tcp | Probe::Grpc { .. } => {}
        }
        Some(probe)
    }

    pub(super) fn outlier_ejection(&mut self, at: &At<'_>, raw: &RawOutlierEjection) -> OutlierEjection {
        let latency_at = at.key("latency");
        OutlierEjection {
            consecutive_5xx: self.whole(&at.key("consecutive_5xx"), raw.consecutive_5xx, 5, COUNTED),
            connect_failures: self.whole(&at.key("connect_failures"), raw.connect_failures, 5, COUNTED),
            latency: raw.latency.map(|span| self.duration(&latency_at, Some(span), span.0)),
            eject_for: self.duration(&at.key("eject_for"), raw.eject_for, Duration::from_secs(30)),
            max_ejected: self.share_of_all(&at.key("max_ejected"), raw.max_ejected, 50.0),
        }
    }
}

/// Things in a row; more are taken for a mistake.
const COUNTED: std::ops::RangeInclusive<u64> = 1..=1000;
