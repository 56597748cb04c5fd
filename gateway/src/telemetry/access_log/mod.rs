//! The access log: a line for each request, encoded by the worker that served it, written by a thread of its own.
//!
//! ```text
//! entry    what is known of a request when it is over
//! field    what a line can hold, by name
//! format   JSON, or a text with places for fields
//! rules    which lines are written, how and where
//! redact   what no line may show
//! ip_text  an address as text
//! escape   whatever clients write, a line stays a line
//! line     the line that is being written
//! encode   an entry as a line of bounded length
//! clock    the time of the day, made into text once a second
//! pen      a worker's end: lines are gathered in a buffer
//! writer   the other end: batches of lines, to a file or stdout
//! ```

mod entry;
mod field;
mod format;
mod rules;
mod redact;
mod escape;
mod ip_text;
mod line;
mod encode;
mod clock;
mod pen;
mod writer;

pub use entry::{Entry, FilterCall};
pub use format::FormatError;
pub(crate) use ip_text::IpText;
pub use pen::{Desk, Pen};
pub use redact::Redact;
pub use rules::{AccessLog, Only, Output, Statuses};
pub use writer::{Queue, Writer};
