//! Control plane: what tells a running gateway to change, and where it keeps what must outlive it.

mod signals;
mod state_dir;

pub use signals::{Signal, Signals};
pub use state_dir::{StateDir, StateDirError};
