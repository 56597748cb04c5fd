//! Checks of `include` and `config`. What the included files say is judged by `include` before all this.

use super::super::fault::Fault;
use super::super::model::Follow;
use super::super::path::At;
use super::super::raw::{Items, RawFollow, RawInclude};
use super::{Check, Seen, items};

impl Check<'_> {
    pub(super) fn includes(&mut self, at: &At<'_>, raw: Option<&Items<RawInclude>>) {
        let mut patterns = Seen::new();
        for (index, raw) in items(raw) {
            let at = at.item(index);
            if let Some(path) = self.required(&at, "path", raw.path.as_ref()) {
                let at = at.key("path");
                if path.is_empty() {
                    let fault = Fault::value(at, "this names no file");
                    self.fault(fault.help("write the path of a file, or several as in `teams/a/*.yaml`"));
                } else if let Some(first) = patterns.before(self.path(&at, path), index) {
                    let fault = Fault::value(at, "these files are included twice");
                    self.duplicate(fault, format!("include[{first}].path"));
                }
            }
            if let Some(word) = &raw.on_fault {
                self.word(&at.key("on_fault"), word, &[("reject", ()), ("keep-last", ())]);
            }
            if let Some(allow) = &raw.allow {
                let at = at.key("allow").key("listeners").to_string();
                for (place, name) in items(allow.listeners.as_ref()) {
                    if !self.names.listeners.admits(name) {
                        let fault = Fault::value(format!("{at}[{place}]"), format!("there is no listener `{name}`"));
                        self.known(fault, name, &self.names.listeners.list());
                    }
                }
            }
        }
    }

    pub(super) fn follow(&mut self, at: &At<'_>, raw: Option<&RawFollow>) -> Follow {
        let default = Follow::default();
        let Some(raw) = raw else { return default };
        let watch = raw.reload.as_deref().and_then(|word| {
            let known = [("manual", false), ("watch", true)];
            self.word(&at.key("reload"), word, &known)
        });
        let history = self.whole(&at.key("history"), raw.history, default.history, 0..=HISTORY_MAX);
        Follow { watch, history }
    }
}

/// Each may be as large as a configuration.
const HISTORY_MAX: u64 = 1000;
