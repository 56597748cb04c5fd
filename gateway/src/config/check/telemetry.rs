//! Checks of `telemetry`.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::super::fault::Fault;
use super::super::model::ByteSize;
use super::super::path::At;
use super::super::raw::{Items, RawAccessLog, RawBuckets, RawMetrics, RawOnly, RawRedact, RawTelemetry, RawTracing};
use super::super::scalar::Share;
use super::super::suggest::{did_you_mean, nearest};
use super::urls::Url;
use super::{Check, entries, items};
use crate::telemetry::{
    AccessLog, Bounds, Flag, FormatError, MetricRules, Only, Output, ParentTrust, Redact, Statuses, TelemetryRules,
    TracingRules,
};

impl Check<'_> {
    pub(super) fn telemetry(&mut self, at: &At<'_>, raw: Option<&RawTelemetry>) -> TelemetryRules {
        let Some(raw) = raw else { return TelemetryRules::default() };
        TelemetryRules {
            metrics: self.metrics(&at.key("metrics"), raw.metrics.as_ref()),
            tracing: raw.tracing.as_ref().map(|raw| Arc::new(self.tracing(&at.key("tracing"), raw))),
            access_log: raw.access_log.as_ref().and_then(|raw| self.access_log(&at.key("access_log"), raw)),
        }
    }

    fn tracing(&mut self, at: &At<'_>, raw: &RawTracing) -> TracingRules {
        let default = TracingRules::default();
        let mut headers = BTreeMap::new();
        let headers_at = at.key("headers");
        for (name, value) in entries(raw.headers.as_ref()) {
            if HeaderName::from_bytes(name.as_bytes()).is_err() {
                let fault = Fault::key(headers_at.key(name), format!("`{name}` is no name of a header field"));
                self.fault(fault);
            } else if HeaderValue::from_str(value).is_err() {
                self.fault(Fault::value(headers_at.key(name), "this is no value of a header field"));
            } else {
                headers.insert(name.to_ascii_lowercase(), value.clone());
            }
        }
        let trust = raw.trust.as_deref().and_then(|word| {
            let known = [
                ("trusted_proxies", ParentTrust::TrustedProxies),
                ("all", ParentTrust::All),
                ("none", ParentTrust::None),
            ];
            self.word(&at.key("trust"), word, &known)
        });
        TracingRules {
            endpoint: raw.otlp.as_ref().and_then(|url| self.otlp(&at.key("otlp"), url)).unwrap_or(default.endpoint),
            sample: self.sample(&at.key("sample"), raw.sample),
            trust: trust.unwrap_or(default.trust),
            heeds_parents: default.heeds_parents,
            errors: raw.errors.unwrap_or(default.errors),
            name: raw.name.clone().unwrap_or(default.name),
            headers,
            timeout: self.duration(&at.key("timeout"), raw.timeout, default.timeout),
            queue_spans_max: self.whole(
                &at.key("queue"),
                raw.queue,
                default.queue_spans_max,
                QUEUE_SPANS_LEAST..=QUEUE_SPANS_MAX,
            ),
        }
    }

    /// The collector's URL with the path that the protocol has for spans.
    fn otlp(&mut self, at: &At<'_>, text: &str) -> Option<String> {
        let wrong = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme, "http" | "https") => "the scheme is neither `http` nor `https`",
            Ok(url) if url.user.is_some() => "a URL here has no user: put credentials into `headers`",
            Ok(url) if url.rest.contains(['?', '#']) => "a query means nothing here",
            Ok(_) => {
                let base = text.trim_end_matches('/');
                return Some(if base.ends_with(SPANS_PATH) { base.to_owned() } else { format!("{base}{SPANS_PATH}") });
            }
            Err(wrong) => wrong,
        };
        let fault = Fault::value(at, format!("this is not the URL of a collector: {wrong}"));
        self.fault(fault.help("write `http://HOST:4318`"));
        None
    }

    fn metrics(&mut self, at: &At<'_>, raw: Option<&RawMetrics>) -> MetricRules {
        let default = MetricRules::default();
        let Some(raw) = raw else { return default };
        let none = RawBuckets::default();
        let (buckets, at) = (raw.buckets.as_ref().unwrap_or(&none), at.key("buckets"));
        MetricRules {
            request: self.bounds(&at.key("request"), buckets.request.as_ref(), default.request),
            upstream: self.bounds(&at.key("upstream"), buckets.upstream.as_ref(), default.upstream),
            overhead: self.bounds(&at.key("overhead"), buckets.overhead.as_ref(), default.overhead),
            filter: self.bounds(&at.key("filter"), buckets.filter.as_ref(), default.filter),
            by_route: raw.route_histograms.unwrap_or(default.by_route),
            by_filter: raw.filter_histograms.unwrap_or(default.by_filter),
        }
    }

    fn bounds(&mut self, at: &At<'_>, raw: Option<&Items<f64>>, default: Arc<Bounds>) -> Arc<Bounds> {
        let Some(list) = raw else { return default };
        if list.is_empty() || list.len() > BUCKETS_MAX {
            let fault = Fault::value(at, format!("there are {} buckets here", list.len()));
            self.fault(fault.help(format!("write 1 to {BUCKETS_MAX}: each is a series of every route")));
            return default;
        }
        let mut bounds: Vec<f64> = Vec::with_capacity(list.len());
        for (index, bound) in items(raw) {
            let at = at.item(index);
            if !(BOUND_LEAST..=BOUND_MAX).contains(bound) {
                let fault = Fault::value(at, "a bound is a time in seconds, from 0.000001 to 3600");
                self.fault(fault.help("one millisecond is 0.001"));
            } else if bounds.last().is_some_and(|last| last >= bound) {
                self.fault(Fault::value(at, "a bound must be larger than the one before it"));
            } else {
                bounds.push(*bound);
            }
        }
        Arc::new(Bounds::of_seconds(&bounds))
    }

    fn access_log(&mut self, at: &At<'_>, raw: &RawAccessLog) -> Option<AccessLog> {
        let output = self.output(&at.key("output"), raw.output.as_deref());
        let redact = self.redact(&at.key("redact"), raw.redact.as_ref());
        let sample = self.sample(&at.key("sample"), raw.sample);
        let only = raw.only.as_ref().map(|only| self.only(&at.key("only"), only));
        let mut log = self.format(at, raw)?;
        let line_bytes_least = log.line_bytes_least() as u64;
        let default = (ByteSize(log.line_bytes_max as u64), ByteSize(log.queue_bytes_max as u64));
        (log.redact, log.sample, log.only) = (redact, sample, only);
        log.line_bytes_max = self.size(&at.key("line"), raw.line, default.0, line_bytes_least).in_memory();
        log.queue_bytes_max = self.size(&at.key("queue"), raw.queue, default.1, QUEUE_BYTES_LEAST).in_memory();
        log.output = output?;
        Some(log)
    }

    /// `None` is `off`.
    fn output(&mut self, at: &At<'_>, raw: Option<&str>) -> Option<Output> {
        match raw {
            None | Some("stdout") => Some(Output::Stdout),
            Some("off") => None,
            Some(text) => {
                let path = text.strip_prefix("file:").filter(|path| !path.is_empty());
                if path.is_none() {
                    let fault = Fault::value(at, format!("`{text}` is no place for an access log"));
                    self.fault(fault.help("write `stdout`, `file:PATH` or `off`"));
                }
                path.map(|path| Output::File(self.path(at, path)))
            }
        }
    }

    fn format(&mut self, at: &At<'_>, raw: &RawAccessLog) -> Option<AccessLog> {
        let names = |list: &Items<String>| list.iter().flatten().cloned().collect::<Vec<_>>();
        let (fields, more) = (raw.fields.as_ref().map(names), raw.more_fields.as_ref().map(names).unwrap_or_default());
        let text = raw.format.as_deref().filter(|format| *format != "json");
        let Some(text) = text else {
            return AccessLog::json(fields.as_deref(), &more)
                .map_err(|errors| self.unknown_fields(at, raw, &errors))
                .ok();
        };
        for (key, is_there) in [("fields", fields.is_some()), ("more_fields", raw.more_fields.is_some())] {
            if is_there {
                let fault = Fault::key(at.key(key), format!("`{key}` belongs to the format `json`"));
                self.fault(fault.help("remove it, and write the fields into the text of `format`"));
            }
        }
        AccessLog::text(text).map_err(|error| self.format_fault(&at.key("format"), &error)).ok()
    }

    fn unknown_fields(&mut self, at: &At<'_>, raw: &RawAccessLog, errors: &[FormatError]) {
        for (key, list) in [("fields", &raw.fields), ("more_fields", &raw.more_fields)] {
            let at = at.key(key);
            for (index, name) in items(list.as_ref()) {
                if let Some(error) = errors.iter().find(|error| **error == FormatError::Unknown(name.clone())) {
                    self.format_fault(&at.item(index), error);
                }
            }
        }
    }

    fn format_fault(&mut self, at: &At<'_>, error: &FormatError) {
        self.fault(Fault::value(at, error.to_string()).help(error.help()));
    }

    fn redact(&mut self, at: &At<'_>, raw: Option<&RawRedact>) -> Redact {
        let Some(raw) = raw else { return Redact::default() };
        let (mut headers, headers_at) = (Vec::new(), at.key("headers"));
        for (index, name) in items(raw.headers.as_ref()) {
            match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => headers.push(name),
                Err(_) => {
                    self.fault(Fault::value(headers_at.item(index), format!("`{name}` is no name of a header field")));
                }
            }
        }
        let query: Vec<String> = items(raw.query.as_ref()).map(|(_, name)| name.clone()).collect();
        Redact::with(&headers, &query)
    }

    /// From 0 to 1.
    pub(super) fn sample(&mut self, at: &At<'_>, raw: Option<Share>) -> f64 {
        let Some(Share(percent)) = raw else { return 1.0 };
        if percent > 100.0 {
            self.fault(Fault::value(at, "a share of the requests is at most 100%"));
        }
        percent / 100.0
    }

    fn only(&mut self, at: &At<'_>, raw: &RawOnly) -> Only {
        let mut only = Only {
            slower_than: raw.slower_than.map(|span| self.duration(&at.key("slower_than"), Some(span), span.0)),
            ..Only::default()
        };
        let statuses_at = at.key("status");
        for (index, status) in items(raw.status.as_ref()) {
            let class = status.0.strip_suffix("xx").and_then(|digit| digit.parse().ok());
            match (class, status.0.parse()) {
                (Some(class @ 1..=5), _) => only.statuses.push(Statuses::Class(class)),
                (None, Ok(one @ 100..=599)) => only.statuses.push(Statuses::One(one)),
                _ => {
                    let fault = Fault::value(statuses_at.item(index), format!("`{}` is no status", status.0));
                    self.fault(fault.help("write one such as `404`, or a class such as `5xx`"));
                }
            }
        }
        let flags_at = at.key("flags");
        for (index, flag) in items(raw.flags.as_ref()) {
            match Flag::ALL.into_iter().find(|known| known.code() == flag) {
                Some(known) => only.flags.insert(known),
                None => {
                    let known: Vec<&str> = Flag::ALL.iter().map(|known| known.code()).collect();
                    let help = nearest(flag, known.iter().copied()).map(did_you_mean);
                    let fault = Fault::value(flags_at.item(index), format!("there is no flag `{flag}`"));
                    self.fault(fault.help(help.unwrap_or_else(|| format!("there is: {}", known.join(", ")))));
                }
            }
        }
        if only == Only::default() && !self.was_cut(&statuses_at) && raw.flags.is_none() && raw.status.is_none() {
            let fault = Fault::key(at, "no request would have a line");
            self.fault(fault.help("write `status`, `slower_than` or `flags`, or remove `only`"));
        }
        only
    }
}

/// Where OTLP over HTTP takes spans.
const SPANS_PATH: &str = "/v1/traces";
const QUEUE_SPANS_LEAST: u64 = 512;
/// More is taken for a mistake: a span has about a kilobyte.
const QUEUE_SPANS_MAX: u64 = 1_000_000;

/// Each bucket is a series for every route and class of status.
const BUCKETS_MAX: usize = 64;
const BOUND_LEAST: f64 = 0.000_001;
const BOUND_MAX: f64 = 3600.0;
/// Less would hold not even one batch of lines.
const QUEUE_BYTES_LEAST: u64 = 256 << 10;
