//! The calls of an instance that see bodies: whole ones in one call, others in one call a piece.
//!
//! A transform lives inside the guest's memory from `open` to `close`; the instance serves nobody else meanwhile (`transform`).

use std::pin::pin;

use wasmtime::Store;
use wasmtime::component::{Instance as Component, ResourceAny};

use super::attachment::Attachment;
use super::bindings::exports::witgate::plugin::{request_body, response_body, whole_request, whole_response};
use super::bindings::witgate::plugin::body_types::{End, Step, WholeRequestVerdict, WholeResponseVerdict};
use super::bindings::witgate::plugin::types::{RequestHead, ResponseHead};
use super::budget::GuestTime;
use super::failure::Failure;
use super::host::{State, View};
use super::instance::{Instance, begin, enter};
use super::version::Exports;

/// The body hooks that the component exports.
pub(super) struct BodyHooks {
    request_body: Option<request_body::Guest>,
    response_body: Option<response_body::Guest>,
    whole_request: Option<whole_request::Guest>,
    whole_response: Option<whole_response::Guest>,
}

/// The guest's handle of a transform.
#[derive(Debug, Clone, Copy)]
pub(super) enum Handle {
    Request(ResourceAny),
    Response(ResourceAny),
}

impl BodyHooks {
    pub(super) fn load(exports: &Exports, store: &mut Store<State>, component: &Component) -> wasmtime::Result<Self> {
        Ok(Self {
            request_body: exports.request_body.as_ref().map(|hook| hook.load(&mut *store, component)).transpose()?,
            response_body: exports.response_body.as_ref().map(|hook| hook.load(&mut *store, component)).transpose()?,
            whole_request: exports.whole_request.as_ref().map(|hook| hook.load(&mut *store, component)).transpose()?,
            whole_response: exports
                .whole_response
                .as_ref()
                .map(|hook| hook.load(&mut *store, component))
                .transpose()?,
        })
    }
}

impl Instance {
    /// Runs the hook over a request with its whole body.
    pub(super) async fn on_whole_request(
        &mut self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        body: &[u8],
        view: View,
        time: &GuestTime,
    ) -> Result<WholeRequestVerdict, Failure> {
        let Some(hook) = &self.body_hooks.whole_request else {
            return Ok(WholeRequestVerdict::Next((Vec::new(), None)));
        };
        let bounds = enter(&mut self.store, self.bounds, view, time)?;
        self.store.data_mut().edits.open_request();
        let verdict = bounds.within(pin!(hook.call_on_request(&mut self.store, attachment.id, head, body))).await;
        self.leave(verdict, bounds, time)
    }

    /// Runs the hook over a response with its whole body.
    pub(super) async fn on_whole_response(
        &mut self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        body: &[u8],
        view: View,
        time: &GuestTime,
    ) -> Result<WholeResponseVerdict, Failure> {
        let Some(hook) = &self.body_hooks.whole_response else {
            return Ok(WholeResponseVerdict::Next((Vec::new(), None)));
        };
        let bounds = enter(&mut self.store, self.bounds, view, time)?;
        self.store.data_mut().edits.open_response();
        let verdict = bounds.within(pin!(hook.call_on_response(&mut self.store, attachment.id, head, body))).await;
        self.leave(verdict, bounds, time)
    }

    /// Asks for a transform of a request's body; the guest may decline.
    pub(super) async fn open_request_body(
        &mut self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<Option<Handle>, Failure> {
        let Some(hook) = &self.body_hooks.request_body else { return Ok(None) };
        let bounds = enter(&mut self.store, self.bounds, view, time)?;
        let opened = bounds.within(pin!(hook.call_open(&mut self.store, attachment.id, head))).await;
        Ok(self.leave(opened, bounds, time)?.map(Handle::Request))
    }

    /// Asks for a transform of a response's body; the guest may decline.
    pub(super) async fn open_response_body(
        &mut self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<Option<Handle>, Failure> {
        let Some(hook) = &self.body_hooks.response_body else { return Ok(None) };
        let bounds = enter(&mut self.store, self.bounds, view, time)?;
        let opened = bounds.within(pin!(hook.call_open(&mut self.store, attachment.id, head))).await;
        Ok(self.leave(opened, bounds, time)?.map(Handle::Response))
    }

    /// Hands a piece of a body to a transform.
    pub(super) async fn chunk(&mut self, handle: Handle, data: &[u8]) -> Result<Step, Failure> {
        let Self { store, body_hooks, bounds, .. } = self;
        begin(store, *bounds);
        let step = match (handle, body_hooks) {
            (Handle::Request(resource), BodyHooks { request_body: Some(hook), .. }) => {
                bounds.within(pin!(hook.transform().call_chunk(store, resource, data))).await
            }
            (Handle::Response(resource), BodyHooks { response_body: Some(hook), .. }) => {
                bounds.within(pin!(hook.transform().call_chunk(store, resource, data))).await
            }
            _ => Ok(Step::Unchanged),
        };
        self.end_hook();
        step
    }

    /// Tells a transform that the body is over.
    pub(super) async fn finish(&mut self, handle: Handle) -> Result<End, Failure> {
        let Self { store, body_hooks, bounds, .. } = self;
        begin(store, *bounds);
        let end = match (handle, body_hooks) {
            (Handle::Request(resource), BodyHooks { request_body: Some(hook), .. }) => {
                bounds.within(pin!(hook.transform().call_finish(store, resource))).await
            }
            (Handle::Response(resource), BodyHooks { response_body: Some(hook), .. }) => {
                bounds.within(pin!(hook.transform().call_finish(store, resource))).await
            }
            _ => Err(Failure::Trap("a transform outlived its hook".to_owned())),
        };
        self.end_hook();
        end
    }

    /// Has the guest drop a transform.
    pub(super) async fn close(&mut self, handle: Handle) -> Result<(), Failure> {
        let (Handle::Request(resource) | Handle::Response(resource)) = handle;
        begin(&mut self.store, self.bounds);
        let closed = self.bounds.within(pin!(resource.resource_drop_async(&mut self.store))).await;
        self.end_hook();
        closed
    }
}
