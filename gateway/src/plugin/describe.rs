//! Asking a component what configuration it takes: when it is loaded, on an instance made for this one call, under limits of
//! its own, and without any grant.

use std::sync::Arc;
use std::time::Duration;

use super::declaration::{Declaration, Isolation, Limits, Recycle};
use super::engine::Runtime;
use super::failure::LoadError;
use super::instance::Instance;
use super::schema::Schema;
use super::version::Version;

impl Runtime {
    /// The schema of a version that exports `describe`.
    ///
    /// # Errors
    /// [`LoadError::Describe`] when the guest fails, [`LoadError::Schema`] when what it tells is not taken.
    pub(super) async fn ask_for_schema(&self, version: Arc<Version>) -> Result<Schema, LoadError> {
        let declaration = Declaration {
            name: "described".into(),
            version,
            isolation: Isolation::Fresh,
            limits: LIMITS,
            recycle: Recycle { uses: 1, age: None, memory_bytes: None },
            grants: Arc::default(),
            is_shadow: true,
            log_rate: Arc::default(),
        };
        let text = Instance::schema(&declaration, &self.worker_gate()).await.map_err(LoadError::Describe)?;
        Ok(Schema::read(&text)?)
    }
}

/// For the one call.
const LIMITS: Limits = Limits {
    memory_bytes: 64 << 20,
    deadline: Duration::from_millis(250),
    timeout: Duration::from_secs(5),
    instances: 1,
    parked: 0,
    body_bytes: 0,
    restarts: 0,
    reply_bytes: 1 << 20,
    host_bytes: 4 << 20,
    table_elements: 20_000,
    attributes: 0,
    log_lines: 100,
    host_calls: 1000,
    outbound_calls: 0,
    handles: 1024,
    metrics: 0,
    span_attributes: 0,
};
