//! `exchange`: the rare rest of the current exchange, by a call each.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::{Phase, State};
use crate::plugin::bindings::witgate::plugin::exchange;
use crate::telemetry::OpenSpan;

/// What imports show of the exchange for the length of a call; nothing for components that have no such imports. It goes through some
/// calls until it is lent, and so is no larger than a pointer.
#[derive(Debug, Clone, Default)]
pub struct View(Option<Box<Shown>>);

#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// For `exchange`.
    pub(super) copied: Option<Box<Copied>>,
    /// For `trace`, and for the requests that `http` sends; none where requests are not traced.
    pub(super) span: Option<OpenSpan>,
    pub(super) trace_state: Option<HeaderValue>,
}

/// The exchange as `exchange` shows it: a copy.
#[derive(Debug, Clone)]
pub struct Copied {
    pub request: HeaderMap,
    /// Empty in a request hook.
    pub response: HeaderMap,
    pub listener: Arc<str>,
}

impl View {
    pub fn new(copied: Option<Box<Copied>>, span: Option<OpenSpan>, trace_state: Option<HeaderValue>) -> Self {
        let shows = copied.is_some() || span.is_some();
        Self(shows.then(|| Box::new(Shown { copied, span, trace_state })))
    }

    /// For a call of whose words nobody is to hear.
    pub fn muted(mut self) -> Self {
        if let Some(shown) = &mut self.0 {
            shown.span = shown.span.take().map(OpenSpan::muted);
        }
        self
    }

    pub(super) fn shown(self) -> Option<Box<Shown>> {
        self.0
    }
}

impl State {
    fn copied(&self) -> wasmtime::Result<&Copied> {
        match &self.phase {
            Phase::Hook(copied) => Ok(copied),
            Phase::Idle | Phase::Configure(_) => Err(wasmtime::Error::msg("`exchange` may be called in a hook only")),
        }
    }
}

impl exchange::Host for State {
    fn request_header(&mut self, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.host_call()?;
        Ok(values(&self.copied()?.request, &name))
    }

    fn response_header(&mut self, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.host_call()?;
        Ok(values(&self.copied()?.response, &name))
    }

    fn listener(&mut self) -> wasmtime::Result<String> {
        self.host_call()?;
        Ok(self.copied()?.listener.as_ref().to_owned())
    }
}

fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}
