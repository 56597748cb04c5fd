//! Configuring an attachment on the control side: the config is checked, and what the plugin asks for is recorded, before
//! any request meets it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attachment::Attachment;
use super::declaration::Declaration;
use super::engine::Runtime;
use super::failure::Failure;
use super::instance::Instance;

/// Why there is no attachment.
#[derive(Debug)]
pub enum SetupFailure {
    /// The guest could not be instantiated: by its start function, or for want of room.
    Start(Failure),
    /// The guest refused the config ([`Failure::Configure`]), or misbehaved while it read it.
    Configure(Failure),
}

impl Attachment {
    /// Configures the attachment on an instance made for this, and keeps what it asked for. `config` is JSON.
    ///
    /// # Errors
    /// Either [`SetupFailure`].
    pub async fn configure(
        runtime: &Runtime,
        declaration: Arc<Declaration>,
        config: Box<str>,
    ) -> Result<Self, SetupFailure> {
        let id = runtime.attachment_ids.fetch_add(1, Ordering::Relaxed);
        let attachment = Self::new(id, declaration, config);
        let instance = Instance::new(&attachment.declaration, &runtime.worker_gate(), Arc::default()).await;
        let setup = instance.map_err(SetupFailure::Start)?.configure(&attachment).await;
        let setup = setup.map_err(SetupFailure::Configure)?;
        Ok(attachment.with_setup(setup))
    }
}
