//! `exchange`: the rare rest of the current exchange, by a call each.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Phase, State};
use crate::plugin::bindings::witgate::plugin::exchange;

/// The exchange as `exchange` shows it, and what `http` says of it: a copy, made for the length of a call, and only for
/// components that import them.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub request: HeaderMap,
    /// Empty in a request hook.
    pub response: HeaderMap,
    /// What the guest's own requests say of the trace; empty where requests are not traced.
    pub trace: Vec<(HeaderName, HeaderValue)>,
    pub listener: Arc<str>,
}

impl State {
    fn view(&self) -> wasmtime::Result<&View> {
        match &self.phase {
            Phase::Hook(view) => Ok(view),
            Phase::Idle | Phase::Configure(_) => Err(wasmtime::Error::msg("`exchange` may be called in a hook only")),
        }
    }
}

impl exchange::Host for State {
    fn request_header(&mut self, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.host_call()?;
        Ok(values(&self.view()?.request, &name))
    }

    fn response_header(&mut self, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        self.host_call()?;
        Ok(values(&self.view()?.response, &name))
    }

    fn listener(&mut self) -> wasmtime::Result<String> {
        self.host_call()?;
        Ok(self.view()?.listener.as_ref().to_owned())
    }
}

fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}
