//! Lines for the gateway's log, where they stand under the plugin's and the attachment's name.
//!
//! `println!` reaches nobody: a plugin has no standard output. The gateway counts and drops lines beyond the plugin's rate.
//!
//! ```
//! use witgate_plugin::{debug, info, log, warn};
//!
//! # fn log_in(user: &str, tries: u32) {
//! log::info("a login");
//! log::debug("a line for the plugin's author");
//! info!("{user} logged in");
//! if user.is_empty() {
//!     log::error("a login of nobody");
//! }
//! if tries > 3 {
//!     warn!("{user} needed {tries} tries");
//! }
//! # }
//! ```

use crate::host::log::{Level, write};

/// Something that needs a person: the plugin cannot do its work.
pub fn error(message: &str) {
    write(Level::Error, message);
}

/// Something odd that the plugin coped with.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that an operator may want to know.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something that only the plugin's author wants to know.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Format a line and write it with [`log::error`](error()).
#[macro_export]
macro_rules! error {
    ($($arg:tt)+) => { $crate::log::error(&::std::format!($($arg)+)) };
}

/// Format a line and write it with [`log::warn`](warn()).
#[macro_export]
macro_rules! warn {
    ($($arg:tt)+) => { $crate::log::warn(&::std::format!($($arg)+)) };
}

/// Format a line and write it with [`log::info`](info()).
#[macro_export]
macro_rules! info {
    ($($arg:tt)+) => { $crate::log::info(&::std::format!($($arg)+)) };
}

/// Format a line and write it with [`log::debug`](debug()).
#[macro_export]
macro_rules! debug {
    ($($arg:tt)+) => { $crate::log::debug(&::std::format!($($arg)+)) };
}
