//! HTTP messages: what every room may know about them.

mod body;
mod headers;
pub mod path;

pub use body::{Body, BodyError, Limits as BodyLimits};
pub use headers::{is_framing, strip_hop_by_hop, strip_owned};
