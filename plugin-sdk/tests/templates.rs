//! The plugins that `witgate plugin new` writes, with their own tests, natively.

#[path = "../../gateway/templates/auth/lib.rs"]
mod auth;
#[path = "../../gateway/templates/body/lib.rs"]
mod body;
#[path = "../../gateway/templates/outbound/lib.rs"]
mod outbound;
