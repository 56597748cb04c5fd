//! An attachment: a plugin on a route with a config. It is data: instances learn it on first use.

use std::sync::Arc;

use super::declaration::Declaration;
use super::setup::{Setup, Want};
use super::version::Hook;

/// A plugin on a route, configured and checked.
#[derive(Debug)]
pub struct Attachment {
    /// Never given out again by the runtime, so that an instance cannot confuse two configs.
    pub(super) id: u32,
    pub declaration: Arc<Declaration>,
    pub(super) config: Box<str>,
    pub setup: Setup,
    /// What it asked for, with the keys, as each of its hooks gets it.
    pub request_wants: Box<[(u16, Want)]>,
    pub response_wants: Box<[(u16, Want)]>,
    /// By [`Hook`]: whether the version has it, and the attachment something for it to do.
    called: [bool; Hook::ALL.len()],
}

impl Attachment {
    pub(super) fn new(id: u32, declaration: Arc<Declaration>, config: Box<str>) -> Self {
        Self {
            id,
            declaration,
            config,
            setup: Setup::default(),
            request_wants: Box::default(),
            response_wants: Box::default(),
            called: Default::default(),
        }
    }

    pub(super) fn with_setup(self, setup: Setup) -> Self {
        let of = |kind: fn(&Want) -> bool| {
            let wants = setup.wants().filter(|(_, want)| kind(want));
            wants.map(|(key, want)| (key, want.clone())).collect()
        };
        let is_called = |hook| match hook {
            Hook::Request if setup.skips_request => false,
            Hook::Response if setup.skips_response => false,
            hook => self.declaration.version.has(hook),
        };
        Self {
            called: Hook::ALL.map(is_called),
            request_wants: of(|want| !matches!(want, Want::ResponseHeader(_))),
            response_wants: of(|want| matches!(want, Want::ResponseHeader(_) | Want::Attribute(_))),
            setup,
            ..self
        }
    }

    /// Whether the version has the hook, and the attachment something for it to do.
    pub fn has(&self, hook: Hook) -> bool {
        self.called[hook as usize]
    }

    /// Whether a hook of it sees the bodies of requests.
    pub fn sees_request_bodies(&self) -> bool {
        self.has(Hook::RequestBody) || self.has(Hook::WholeRequest)
    }

    /// The same of responses.
    pub fn sees_response_bodies(&self) -> bool {
        self.has(Hook::ResponseBody) || self.has(Hook::WholeResponse)
    }

    /// The config as JSON.
    pub fn config(&self) -> &str {
        &self.config
    }
}
