//! The author's side of plugins: new crates, and components built from crates. It runs cargo as a child, never on a path
//! that serves.
//!
//! ```text
//! new        a new crate from a template, with the SDK beside it (`sources`)
//! package    a crate in a folder, and whether it can become a plugin
//! build      crate -> component
//! workshop   crates that a configuration names, built, and built again on each save
//! ```

mod new;
mod sources;
mod package;
#[path = "../../build/flags.rs"]
mod flags;
mod build;
mod workshop;

pub use build::{BuildError, Profile};
pub use new::{NewError, Template, new};
pub use package::{Package, PackageError};
pub use workshop::{Built, Workshop};
