//! Checks of `overload`.

use super::super::fault::Fault;
use super::super::model::{ByteSize, MemoryLimit, Overload};
use super::super::path::At;
use super::super::raw::RawOverload;
use super::super::scalar::SizeOrShare;
use super::Check;

impl Check<'_> {
    pub(super) fn overload(&mut self, at: &At<'_>, raw: Option<&RawOverload>) -> Overload {
        let default = Overload::default();
        let Some(raw) = raw else { return default };
        Overload {
            memory: raw.memory.map_or(default.memory, |memory| self.memory(&at.key("memory"), memory)),
            lag: self.duration(&at.key("lag"), raw.lag, default.lag),
            connections: raw
                .connections
                .map(|connections| self.whole(&at.key("connections"), Some(connections), 1, 1..=u64::MAX)),
        }
    }

    fn memory(&mut self, at: &At<'_>, SizeOrShare(memory): SizeOrShare) -> MemoryLimit {
        match memory {
            MemoryLimit::Size(size) if size < MEMORY_MIN => {
                let message = format!("this size is too small: at least {MEMORY_MIN} is needed");
                self.fault(Fault::value(at, message));
            }
            MemoryLimit::Share(percent) if !(1.0..=100.0).contains(&percent) => {
                self.fault(Fault::value(at, "this share is not between 1% and 100%"));
            }
            MemoryLimit::Size(_) | MemoryLimit::Share(_) => {}
        }
        memory
    }
}

/// A gateway without a plugin has more.
const MEMORY_MIN: ByteSize = ByteSize::mib(16);
