//! A worker's own side of a deployment: the pools that serve a plugin's name here.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::attachment::Attachment;
use super::deployment::{Release, Trial};
use super::pool::Pool;
use super::version::Version;

/// What requests of this worker meet under a plugin's name.
#[derive(Debug)]
pub struct Lane {
    pub stable: Side,
    pub trial: Option<TrialSide>,
}

/// A release, with its pool on this worker.
#[derive(Debug, Clone)]
pub struct Side {
    pub pool: Rc<Pool>,
    /// By slot. The worker's own copy, so that a request counts no reference that threads share.
    attachments: Rc<[Arc<Attachment>]>,
}

/// A trial, with its pool on this worker.
#[derive(Debug)]
pub struct TrialSide {
    pub trial: Arc<Trial>,
    pub side: Side,
    /// What was left over of the share at the last request.
    pub turn: Cell<u32>,
}

impl Lane {
    /// Which of its sides serves a request.
    pub fn side(&self, is_for_trial: bool) -> &Side {
        self.trial.as_ref().filter(|_| is_for_trial).map_or(&self.stable, |trial| &trial.side)
    }

    pub fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.stable).chain(self.trial.iter().map(|trial| &trial.side))
    }
}

impl Side {
    /// `pool` is of the release's declaration.
    pub fn new(pool: Rc<Pool>, release: &Release) -> Self {
        pool.retain_attachments(release.attachments.iter().map(AsRef::as_ref));
        Self { pool, attachments: release.attachments.iter().cloned().collect() }
    }

    pub fn version(&self) -> &Version {
        &self.pool.declaration().version
    }

    pub fn attachment(&self, slot: usize) -> &Arc<Attachment> {
        &self.attachments[slot]
    }
}
