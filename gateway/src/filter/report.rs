//! What filters of a request's body tell while it is on its way: by then it has left the exchange.

use std::cell::RefCell;
use std::rc::Rc;

use super::FilterError;
use super::exchange::Reply;

/// Shared by an exchange and the filters around its request's body.
#[derive(Clone, Default)]
pub(super) struct BodyReport(Rc<RefCell<Report>>);

#[derive(Default)]
struct Report {
    kept: Vec<(usize, Vec<u8>)>,
    broken_off: Option<BrokenOff>,
}

/// Why a filter broke the request's body off.
#[derive(Debug)]
pub enum BrokenOff {
    /// To give this answer.
    Answered(Box<Reply>),
    /// It failed.
    Failed(Box<FilterError>),
}

impl BodyReport {
    /// Hands bytes to the response hook of the filter at `position`.
    pub(super) fn keep(&self, position: usize, bytes: Vec<u8>) {
        self.0.borrow_mut().kept.push((position, bytes));
    }

    pub(super) fn take_kept(&self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.0.borrow_mut().kept)
    }

    pub(super) fn break_off(&self, why: BrokenOff) {
        self.0.borrow_mut().broken_off = Some(why);
    }

    pub(super) fn take_broken_off(&self) -> Option<BrokenOff> {
        self.0.borrow_mut().broken_off.take()
    }
}
