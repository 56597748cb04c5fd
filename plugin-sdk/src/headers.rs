//! Edits to headers that are known when an attachment is configured: made ready once, and handed out at every call of a hook.
//! Edits that depend on the message are `request`'s and `response`'s.

use crate::wire::{self, Header, RequestEdit, ResponseEdit};

/// Edits to headers, for [`Request::edit_headers`](crate::Request::edit_headers) and
/// [`Response::edit_headers`](crate::Response::edit_headers). They apply in the order in which they were added here.
///
/// The same edits, made one by one in a hook, cost more: names are looked at here, once, and a hook that makes many edits asks for
/// memory once instead of again and again.
///
/// ```
/// # use witgate_plugin::{Error, HeaderEdits, Plugin, Response, Setup, Verdict, config::NoConfig, export_plugin};
/// struct Hygiene {
///     edits: HeaderEdits,
/// }
///
/// impl Plugin for Hygiene {
///     type Config = NoConfig;
///
///     fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
///         let mut edits = HeaderEdits::default();
///         edits.remove("server");
///         edits.set("x-content-type-options", "nosniff");
///         edits.append("vary", "accept");
///         Ok(Hygiene { edits })
///     }
///
///     fn on_response(&self, response: &mut Response) -> Verdict {
///         response.edit_headers(&self.edits);
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Hygiene: response);
/// # use witgate_plugin::test::{Harness, TestResponse, json};
/// # let mut plugin = Harness::<Hygiene>::new(json!({}))?;
/// # let outcome = plugin.response(TestResponse::new(200).header("Server", "x"));
/// # assert_eq!((outcome.passed().value("server"), outcome.passed().headers.len()), (None, 2));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits(Vec<HeaderEdit>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum HeaderEdit {
    Set(Header),
    Append(Header),
    Remove(String),
}

impl HeaderEdits {
    /// Replace every value of a header by this one. The name is case-insensitive.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.push(HeaderEdit::Set(wire::header(name, value.as_ref())));
    }

    /// Add a value to a header, and leave those that are there.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.0.push(HeaderEdit::Append(wire::header(name, value.as_ref())));
    }

    /// Whether there are none.
    ///
    /// ```
    /// # use witgate_plugin::HeaderEdits;
    /// assert!(HeaderEdits::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remove every value of a header.
    pub fn remove(&mut self, name: &str) {
        self.0.push(HeaderEdit::Remove(name.to_ascii_lowercase()));
    }

    pub(crate) fn add_to_request(&self, edits: &mut Vec<RequestEdit>) {
        // Most hooks make no edits but these, so there is no sense in room for more.
        edits.reserve_exact(self.0.len());
        edits.extend(self.0.iter().map(|edit| match edit {
            HeaderEdit::Set(header) => RequestEdit::SetHeader(header.clone()),
            HeaderEdit::Append(header) => RequestEdit::AppendHeader(header.clone()),
            HeaderEdit::Remove(name) => RequestEdit::RemoveHeader(name.clone()),
        }));
    }

    pub(crate) fn add_to_response(&self, edits: &mut Vec<ResponseEdit>) {
        edits.reserve_exact(self.0.len());
        edits.extend(self.0.iter().map(|edit| match edit {
            HeaderEdit::Set(header) => ResponseEdit::SetHeader(header.clone()),
            HeaderEdit::Append(header) => ResponseEdit::AppendHeader(header.clone()),
            HeaderEdit::Remove(name) => ResponseEdit::RemoveHeader(name.clone()),
        }));
    }
}
