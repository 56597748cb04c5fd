//! An attachment: a plugin on a route with a config. It is data: instances learn it on first use.

use std::sync::Arc;

use super::declaration::Declaration;
use super::setup::Setup;

/// A plugin on a route, configured and checked.
#[derive(Debug)]
pub struct Attachment {
    /// Never given out again by the runtime, so that an instance cannot confuse two configs.
    pub(super) id: u32,
    pub declaration: Arc<Declaration>,
    pub(super) config: Box<str>,
    pub setup: Setup,
}

impl Attachment {
    /// The config as JSON.
    pub fn config(&self) -> &str {
        &self.config
    }
}
