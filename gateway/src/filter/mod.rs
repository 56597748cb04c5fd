//! Filters: what a route does to its requests and responses, one after the other.
//!
//! A chain cannot tell a native filter from a plugin: both are a [`Filter`]. Bodies travel in the [`Exchange`]: a filter that
//! leaves them alone costs them nothing.

mod chain;
mod exchange;
mod problem;
mod report;
pub mod native;
mod wasm;
mod trial;
mod shadow;
mod trail;
mod values;
mod edits;

pub use crate::telemetry::{Flag, Flags};
pub use chain::{Chain, RequestEnd};
pub use exchange::{Connection, Exchange, Forwarding, Mirroring, Origin, Reply, ResponseHead};
pub use report::BrokenOff;
pub use trail::{Attempt, Call, Mark, Phase, Trail, Tries};
pub use wasm::{OnError, PluginFilter, Policy};

use std::pin::Pin;

use crate::message::CollectError;
use crate::plugin::{Digest, Failure};

/// One step of a chain.
pub trait Filter: Send + Sync {
    /// The name it is used by in the configuration.
    fn name(&self) -> &str;

    /// Whether it stands before all filters that do not say so, wherever the configuration lists it: it has the first word on
    /// requests and the last on responses.
    fn goes_first(&self) -> bool {
        false
    }

    /// Of a plugin: the version that serves this exchange. The default has none.
    fn version(&self, exchange: &Exchange) -> Option<Digest> {
        let _ = exchange;
        None
    }

    /// Runs once a request, before the upstream is chosen, in the chain's order. The default passes the request on.
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let _ = exchange;
        Step::Done(Verdict::Next)
    }

    /// Runs once a response, in reverse order, for every filter whose request hook ran: also on answers that a filter or
    /// the gateway made. The default passes the response on.
    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let _ = exchange;
        Step::Done(Verdict::Next)
    }
}

/// A verdict, now or later. Most filters know at once, and then nothing is allocated.
pub enum Step<'a> {
    Done(Verdict),
    Later(Pin<Box<dyn Future<Output = Verdict> + 'a>>),
}

/// What becomes of the request or response. Every filter hands one through some calls, and nearly always it is `Next`: so what the
/// others carry is boxed.
#[derive(Debug)]
pub enum Verdict {
    /// It goes on to the next filter.
    Next,
    /// This goes to the client in its place.
    Respond(Box<Reply>),
    /// The filter failed, and its policy closes the route for this request.
    Fail(Box<FilterError>),
}

/// A filter that failed closed, or a body that it could not get.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    #[error("filter `{filter}` {failure}")]
    Failed { filter: String, failure: Failure },
    #[error("filter `{filter}` needs the request's body, but {error}")]
    RequestBody { filter: String, error: CollectError },
    #[error("filter `{filter}` needs the response's body, but {error}")]
    ResponseBody { filter: String, error: CollectError },
}
