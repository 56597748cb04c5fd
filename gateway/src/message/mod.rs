//! HTTP messages: what every room may know about them.

mod accepted;
mod body;
mod headers;
mod key;
pub mod path;
mod problem;
mod whole;
mod copy;
mod replay;
pub mod upgrade;

pub use accepted::accepted;
pub use body::{Body, BodyError, BodyFault, Limits as BodyLimits};
pub use headers::{
    FORBIDDEN_TRAILERS, has_one_framing, has_token, is_framing, strip_hop_by_hop, strip_owned, strip_trailers,
};
pub use key::{NoRequestKey, RequestKey, cookie, hash, parameter};
pub use problem::{X_REQUEST_ID, problem};
pub use replay::Replay;
pub use whole::{CollectError, WholeBody, forget_old_body};
