//! The functions that the gateway gives to plugins (`wit/host.wit`): on wasm the generated imports, natively twins that reach the
//! [`Host`] of the running test. Which host that is, and what it answers, is `test`'s.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::witgate::plugin::{
    clock, crypto, edits, exchange, http, jwt, kv, log, metrics, rate_limit, secrets, setup, tables, trace,
};

#[cfg(not(target_arch = "wasm32"))]
mod capabilities;
#[cfg(not(target_arch = "wasm32"))]
mod network;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use capabilities::*;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::*;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use network::*;

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::cell::RefCell;
    use std::rc::Rc;

    use crate::wire::{RequestEdit, ResponseEdit};

    /// What `setup` can be asked for.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) enum Want {
        Method,
        Scheme,
        Authority,
        Path,
        Client,
        Route,
        RequestId,
        Param(String),
        RequestHeader(String),
        ResponseHeader(String),
        Attribute(String),
    }

    /// The gateway's side of the imports.
    pub(crate) trait Host {
        fn want(&self, want: Want) -> u16;
        fn own_header(&self, name: &str);
        fn buffer_request(&self, bytes_max: u32);
        fn buffer_response(&self, bytes_max: u32);
        fn skip_request(&self);
        fn skip_response(&self);
        fn may_fail_open(&self);
        fn remember_request(&self, edits: &[RequestEdit]) -> Option<u64>;
        fn remember_response(&self, edits: &[ResponseEdit]) -> Option<u64>;
        fn repeat(&self, number: u64) -> bool;
        fn request_header(&self, name: &str) -> Vec<Vec<u8>>;
        fn response_header(&self, name: &str) -> Vec<Vec<u8>>;
        fn listener(&self) -> String;
        fn write(&self, level: log::Level, message: &str);
        fn span_context(&self) -> Option<trace::SpanContext>;
        fn set_span_attribute(&self, name: &str, value: &trace::AttributeValue);
        fn capabilities(&self) -> &dyn super::Capabilities;
    }

    thread_local! {
        static HOST: RefCell<Option<Rc<dyn Host>>> = const { RefCell::new(None) };
    }

    /// Run `call` with this host behind the imports, and put back the one before, also when the call panics.
    pub(crate) fn enter<R>(host: Rc<dyn Host>, call: impl FnOnce() -> R) -> R {
        struct Leave(Option<Rc<dyn Host>>);
        impl Drop for Leave {
            fn drop(&mut self) {
                HOST.set(self.0.take());
            }
        }
        let _leave = Leave(HOST.replace(Some(host)));
        call()
    }

    fn current() -> Option<Rc<dyn Host>> {
        HOST.with_borrow(Clone::clone)
    }

    pub(crate) fn host() -> Rc<dyn Host> {
        current().expect("this call needs a gateway: natively, run the plugin in a `witgate_plugin::test::Harness`")
    }

    pub(crate) mod setup {
        use super::{Want, host};

        pub(crate) fn want_method() -> u16 {
            host().want(Want::Method)
        }
        pub(crate) fn want_scheme() -> u16 {
            host().want(Want::Scheme)
        }
        pub(crate) fn want_authority() -> u16 {
            host().want(Want::Authority)
        }
        pub(crate) fn want_path() -> u16 {
            host().want(Want::Path)
        }
        pub(crate) fn want_client() -> u16 {
            host().want(Want::Client)
        }
        pub(crate) fn want_route() -> u16 {
            host().want(Want::Route)
        }
        pub(crate) fn want_request_id() -> u16 {
            host().want(Want::RequestId)
        }
        pub(crate) fn want_param(name: &str) -> u16 {
            host().want(Want::Param(name.to_owned()))
        }
        pub(crate) fn want_request_header(name: &str) -> u16 {
            host().want(Want::RequestHeader(name.to_ascii_lowercase()))
        }
        pub(crate) fn want_response_header(name: &str) -> u16 {
            host().want(Want::ResponseHeader(name.to_ascii_lowercase()))
        }
        pub(crate) fn want_attribute(name: &str) -> u16 {
            host().want(Want::Attribute(name.to_owned()))
        }
        pub(crate) fn own_header(name: &str) {
            host().own_header(name);
        }
        pub(crate) fn buffer_request(bytes_max: u32) {
            host().buffer_request(bytes_max);
        }
        pub(crate) fn buffer_response(bytes_max: u32) {
            host().buffer_response(bytes_max);
        }
        pub(crate) fn skip_request() {
            host().skip_request();
        }
        pub(crate) fn skip_response() {
            host().skip_response();
        }
        pub(crate) fn may_fail_open() {
            host().may_fail_open();
        }
    }

    pub(crate) mod edits {
        use super::host;
        use crate::wire::{RequestEdit, ResponseEdit};

        pub(crate) fn remember_request(edits: &[RequestEdit]) -> Option<u64> {
            host().remember_request(edits)
        }
        pub(crate) fn remember_response(edits: &[ResponseEdit]) -> Option<u64> {
            host().remember_response(edits)
        }
        pub(crate) fn repeat(number: u64) -> bool {
            host().repeat(number)
        }
    }

    pub(crate) mod exchange {
        use super::host;

        pub(crate) fn request_header(name: &str) -> Vec<Vec<u8>> {
            host().request_header(name)
        }
        pub(crate) fn response_header(name: &str) -> Vec<Vec<u8>> {
            host().response_header(name)
        }
        pub(crate) fn listener() -> String {
            host().listener()
        }
    }

    pub(crate) mod trace {
        use super::current;

        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct SpanContext {
            pub(crate) trace_id: String,
            pub(crate) span_id: String,
            pub(crate) sampled: bool,
        }

        #[derive(Debug, Clone, PartialEq)]
        pub(crate) enum AttributeValue {
            Text(String),
            Whole(i64),
            Fraction(f64),
            Truth(bool),
        }

        /// Without a host there is no trace: plain unit tests of a plugin's own functions may say something on it.
        pub(crate) fn context() -> Option<SpanContext> {
            current()?.span_context()
        }

        pub(crate) fn set_attribute(name: &str, value: &AttributeValue) {
            if let Some(host) = current() {
                host.set_span_attribute(name, value);
            }
        }
    }

    pub(crate) mod log {
        use super::current;

        /// How much a log line matters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Level {
            /// The plugin cannot do its work.
            Error,
            /// Something odd that the plugin coped with.
            Warn,
            /// Something that an operator may want to know.
            Info,
            /// Something that only the plugin's author wants to know.
            Debug,
        }

        /// Without a host the line is lost: plain unit tests of a plugin's own functions may log.
        pub(crate) fn write(level: Level, message: &str) {
            if let Some(host) = current() {
                host.write(level, message);
            }
        }
    }
}
