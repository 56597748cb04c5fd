//! The engine of plugins, as the configuration wants it.

use std::path::{Path, PathBuf};

use super::GatewayError;
use crate::config::model as config;
use crate::outbound::Trust;
use crate::plugin::{CompileLimits, EngineOptions, Runtime};

/// The engine of plugins. `state_dir` belongs to this user alone.
pub(crate) fn plugin_runtime(
    config: &config::Runtime,
    state_dir: &Path,
    program: PathBuf,
) -> Result<Runtime, GatewayError> {
    let options = EngineOptions {
        slots: config.slots,
        state_dir: state_dir.to_owned(),
        cache_bytes: config.cache.0,
        compiler: program,
        compile_limits: CompileLimits {
            timeout: config.compile_timeout,
            memory_bytes: config.compile_memory.0,
            parallel: config.parallel_compiles,
        },
        trust: Trust::default(),
    };
    Runtime::new(options).map_err(|error| GatewayError::Engine(format!("{error:#}")))
}
