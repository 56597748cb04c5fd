//! Looking at a component without serving it: what it is, what it may do, and what configuration it takes.

use serde_json::Value;

use super::engine::Runtime;
use super::failure::LoadError;
use super::fetch::Delivery;
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
                Ok(version) => match version.described(self).await {
                    Ok(version) => schema = version.schema().map(|schema| schema.value().clone()),
                    Err(error) => outline.faults.push(error.to_string()),
                },
                Err(LoadError::World(fault)) => outline.faults.push(fault),
                Err(error) => return Err(error),
            }
        }
        Ok(Inspection { outline, memory_bytes, schema })
    }
}

const WASM_PAGE_BYTES: u64 = 64 << 10;
