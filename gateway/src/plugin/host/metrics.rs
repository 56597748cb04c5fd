//! `metrics`: a guest's own numbers.

use std::sync::Arc;

use super::State;
use crate::plugin::bindings::witgate::plugin::metrics;
use crate::plugin::metrics::{Page, WorkerMetrics};

/// Finds the plugin's page when it is first written to: most instances never do.
pub(super) struct MetricsPort {
    plugin: Arc<str>,
    worker: Arc<WorkerMetrics>,
    names_max: usize,
    page: Option<Page>,
}

impl MetricsPort {
    pub(super) fn new(plugin: Arc<str>, worker: Arc<WorkerMetrics>, names_max: usize) -> Self {
        Self { plugin, worker, names_max, page: None }
    }

    fn page(&mut self) -> &Page {
        self.page.get_or_insert_with(|| self.worker.page(&self.plugin))
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, by: u64) -> wasmtime::Result<()> {
        self.host_call()?;
        let names_max = self.metrics.names_max;
        self.metrics.page().count(&name, by, names_max);
        Ok(())
    }

    fn gauge(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        self.host_call()?;
        let names_max = self.metrics.names_max;
        self.metrics.page().gauge(&name, value, names_max);
        Ok(())
    }
}
