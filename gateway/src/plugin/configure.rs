//! Configuring an attachment on the control side: the config is checked, and what the plugin asks for is recorded, before
//! any request meets it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attachment::Attachment;
use super::declaration::Declaration;
use super::engine::Runtime;
use super::failure::Failure;
use super::instance::Instance;

impl Attachment {
    /// Configures the attachment on an instance made for this, and keeps what it asked for. `config` is JSON.
    ///
    /// # Errors
    /// [`Failure::Configure`] when the plugin refuses the config; the other kinds when it misbehaves meanwhile.
    pub async fn configure(
        runtime: &Runtime,
        declaration: Arc<Declaration>,
        config: Box<str>,
    ) -> Result<Self, Failure> {
        let id = runtime.attachment_ids.fetch_add(1, Ordering::Relaxed);
        let attachment = Self::new(id, declaration, config);
        let mut instance = Instance::new(&attachment.declaration, &runtime.worker_gate(), Arc::default()).await?;
        let setup = instance.configure(&attachment).await?;
        Ok(attachment.with_setup(setup))
    }
}
