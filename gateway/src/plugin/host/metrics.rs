//! `metrics`: a guest's own numbers.

use std::sync::Arc;

use super::State;
use crate::plugin::bindings::witgate::plugin::metrics;
use crate::plugin::declaration::Declaration;
use crate::plugin::metrics::{Page, WorkerMetrics};

/// Finds the plugin's page when it is first written to: most instances never do.
pub(super) struct MetricsPort {
    plugin: Arc<str>,
    worker: Arc<WorkerMetrics>,
    names_max: usize,
    /// A shadow's numbers would count everything twice.
    is_muted: bool,
    page: Option<Page>,
}

impl MetricsPort {
    pub(super) fn new(declaration: &Declaration, worker: Arc<WorkerMetrics>) -> Self {
        Self {
            plugin: declaration.name.clone(),
            worker,
            names_max: declaration.limits.metrics,
            is_muted: declaration.is_shadow,
            page: None,
        }
    }

    fn write(&mut self, write: impl FnOnce(&Page, usize)) {
        if !self.is_muted {
            write(self.page.get_or_insert_with(|| self.worker.page(&self.plugin)), self.names_max);
        }
    }
}

impl MetricsPort {
    /// Counts something that the guest told in vain.
    pub(super) fn drop_one(&mut self) {
        self.write(|page, _| page.drop_one());
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, by: u64) -> wasmtime::Result<()> {
        self.host_call()?;
        self.metrics.write(|page, names_max| page.count(&name, by, names_max));
        Ok(())
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.host_call()?;
        self.metrics.write(|page, names_max| page.gauge(&name, value, names_max));
        Ok(())
    }
}
