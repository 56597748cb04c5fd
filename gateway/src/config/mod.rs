//! Configuration: YAML in, checked values or every fault out. The only room that parses YAML.
//!
//! ```text
//! texts              files and folders, as they are written
//! text -> parse      a map, and what is no YAML; keys that are there twice
//!      -> tree       what the YAML says
//!      -> variables  `${env:VAR}` filled in; keys without a value, tags
//!      -> origin     several trees become one: laid over each other, or added by `include` within bounds
//!      -> typed      each value of the type its key asks for (raw, scalar, form)
//!      -> check      what must hold for and between values -> model
//! ```
//!
//! No step stops at the first fault: what is refused is cut out, and the rest goes on, so that everything is reported at once. A fault names
//! its place by `path`; only once there is one, `place` looks for the bytes, and `render` shows them. [`Document`] does the same for faults
//! that later stages find.

mod load;
mod texts;

pub mod model;

mod parse;
mod tree;
mod variables;
mod origin;
mod include;

mod typed;

mod raw;
pub mod scalar;

mod form;

mod check;
mod suggest;

mod lists;
mod warn;
mod compare;
mod mask;

mod path;

mod fault;
mod place;

mod document;
mod render;

mod schema;
mod reference;

mod table;

pub use self::check::{NATIVE_FILTERS, PLUGIN_MEMORY_MAX, plugin_source};
pub use self::compare::{Change, Detail, compare, compare_entries};
pub use self::document::Document;
pub use self::fault::{FAULTS_MAX, Fault, Faults, Severity, Spot};
pub use self::lists::{Listed, ListedFrom, each_filter};
pub use self::load::{Loaded, assemble, environment, load, load_text, quick};
pub use self::mask::{MASK, masked};
pub use self::model::Config;
pub use self::path::At;
pub use self::reference::reference;
pub use self::schema::{schema, schema_of};
pub(crate) use self::suggest::{did_you_mean, nearest};
pub use self::table::{TableEntries, TableError, load_table};
pub use self::texts::{TEXT_BYTES_MAX, TEXTS_BYTES_MAX, TEXTS_MAX, Text, Texts, Unread};
pub use self::warn::warnings;
