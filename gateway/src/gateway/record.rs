//! What changes without anybody asking over the admin API, put on record as what is asked there: by signals, by sources that are
//! followed, by files that are watched, and by trials that end on their evidence.

use std::borrow::Cow;

use super::{Gateway, GatewayError};
use crate::config::{Config, Loaded, Texts, assemble, compare, compare_entries, environment};
use crate::control::{Changes, OperationError, Record, ReloadReport, State, SwapReport, Turn};

/// What a reload comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// HUP.
    Signal,
    /// A source that is followed has something else: `watch`, `etcd`, `consul`, `secret`.
    Source(&'static str),
    /// Somebody asked for it over the admin API, which has them on record: `admin`, `api`, `rollback`.
    Operator(&'static str),
}

impl Cause {
    /// In the word of metrics and the log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Signal => SIGNAL,
            Self::Source(word) | Self::Operator(word) => word,
        }
    }

    /// Who is on record for it, unless that is somebody who asked.
    fn actor(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Signal => Some(SIGNAL.into()),
            Self::Source(word) => Some(format!("source: {word}").into()),
            Self::Operator(_) => None,
        }
    }
}

/// Has a reload on record where nobody asked for it.
pub(super) fn reload(cause: Cause, outcome: &Result<ReloadReport, GatewayError>) {
    let Some(actor) = cause.actor() else { return };
    let record = Record::new("reload", actor);
    match outcome {
        Ok(report) => record.done(&Turn::from(report)),
        Err(error) => record.failed(&OperationError::from(error)),
    }
}

/// What a configuration that is about to take the place of another changes. The texts of what serves are read once more for that, unless
/// that takes longer than it is worth: then the entries are named alone.
pub(super) fn changes(serving: (&Texts, &Config), next: (&Texts, &Loaded)) -> Changes {
    let ((texts, config), (next_texts, loaded)) = (serving, next);
    if texts == next_texts {
        return Changes::default();
    }
    let again = if texts.bytes() <= READ_AGAIN_BYTES_MAX { assemble(texts, &environment).ok() } else { None };
    Changes::of(&again.map_or_else(|| compare_entries(config, &loaded.config), |before| compare(&before, loaded)))
}

/// A plugin's version that changed by itself.
pub(super) fn swap(
    action: &'static str,
    actor: &'static str,
    plugin: &str,
    reason: Option<String>,
    outcome: &Result<SwapReport, OperationError>,
) {
    let record = Record::new(action, actor).on(plugin).because(reason);
    match outcome {
        Ok(report) => record.done(&report.into()),
        Err(error) => record.failed(error),
    }
}

/// Certificates of a listener that are others now.
pub(super) fn certificates(listener: &str, [before, after]: [u64; 2]) {
    let state = |generation| State { generation: Some(generation), ..State::default() };
    let changes = Changes { count: 1, named: vec![format!("certificates of listener {listener}")] };
    Record::new("renew", WATCHED).done(&Turn { before: state(before), after: state(after), changes: Some(changes) });
}

impl Gateway {
    /// As [`Self::upgrade`], for USR2.
    pub async fn upgrade_on_signal(&self) {
        let record = Record::new("upgrade", SIGNAL);
        match self.upgrade().await {
            Ok(report) => record.done(&(&report).into()),
            Err(error) => record.failed(&error.into()),
        }
    }

    /// Notes that a signal ends this gateway.
    pub fn ends_on_signal(&self) {
        Record::new("drain", SIGNAL).done(&Turn::default());
    }
}

/// Who is on record for what a signal brings.
const SIGNAL: &str = "signal";
/// Who is on record for what becomes of a trial by its evidence.
pub(super) const TRIAL: &str = "trial";
/// Who is on record for what follows its files.
pub(super) const WATCHED: &str = "source: watch";
/// Some thousand lines, which take a few milliseconds.
const READ_AGAIN_BYTES_MAX: usize = 128 << 10;
