//! Looking at a component without serving it: what it is, what it may do, and what configuration it takes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::declaration::{Declaration, Isolation, Limits, Recycle};
use super::engine::Runtime;
use super::failure::{Failure, LoadError};
use super::fetch::Delivery;
use super::instance::Instance;
use super::outline::Outline;
use super::version::Version;

/// What can be told of a component.
#[derive(Debug)]
pub struct Inspection {
    /// With every fault that keeps it from serving here.
    pub outline: Outline,
    /// The linear memory that the largest of its modules begins with; `None` when only an instance could tell.
    pub memory_bytes: Option<u64>,
    /// The JSON Schema of its configuration, if it tells one.
    pub schema: Option<Value>,
}

impl Runtime {
    /// Compiles a component and looks at it; runs it only to ask for its schema, under limits.
    ///
    /// # Errors
    /// What keeps it from being compiled at all. That it does not fit is no error: see [`Outline::faults`].
    pub async fn inspect(&self, delivery: &Delivery) -> Result<Inspection, LoadError> {
        let compiled = Version::compile(self, &delivery.component, delivery.digest).await?;
        let mut outline = Outline::of(&self.engine, &compiled);
        let needs = compiled.resources_required();
        let memory_bytes = needs.map(|needs| needs.max_initial_memory_size.unwrap_or(0) * WASM_PAGE_BYTES);
        let mut schema = None;
        if outline.faults.is_empty() {
            match Version::fit(self, &compiled, delivery.digest) {
                Ok(version) if outline.is_described => match self.ask_for_schema(Arc::new(version)).await {
                    Ok(told) => schema = Some(told),
                    Err(fault) => outline.faults.push(fault),
                },
                Ok(_) => {}
                Err(LoadError::World(fault)) => outline.faults.push(fault),
                Err(error) => return Err(error),
            }
        }
        Ok(Inspection { outline, memory_bytes, schema })
    }

    async fn ask_for_schema(&self, version: Arc<Version>) -> Result<Value, String> {
        let declaration = Declaration {
            name: "inspected".into(),
            version,
            isolation: Isolation::Fresh,
            limits: LIMITS,
            recycle: Recycle { uses: 1, age: None, memory_bytes: None },
            grants: Arc::default(),
            is_shadow: true,
            log_rate: Arc::default(),
        };
        let text = Instance::schema(&declaration, &self.worker_gate()).await;
        let text = text.map_err(|failure: Failure| format!("fails when it is asked for its schema: it {failure}"))?;
        serde_json::from_str(&text).map_err(|error| format!("tells a schema that is not JSON: {error}"))
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
};
const WASM_PAGE_BYTES: u64 = 64 << 10;
