//! HTTP messages: what every room may know about them.

mod body;
mod headers;
pub mod path;
mod whole;
mod copy;
mod replay;

pub use body::{Body, BodyError, BodyFault, Limits as BodyLimits};
pub use headers::{is_framing, strip_hop_by_hop, strip_owned};
pub use replay::Replay;
pub use whole::{CollectError, WholeBody, forget_old_body};
