//! Edits that are known before a message comes, made ready once. Edits that depend on the message are `request`'s and `response`'s.

use std::cell::Cell;

use crate::host::edits;
use crate::wire::{self, Header, RequestEdit, ResponseEdit};

/// Edits that are the same again and again, for [`Request::apply`](crate::Request::apply) and
/// [`Response::apply`](crate::Response::apply). They apply in the order in which they were added here.
///
/// The gateway remembers them from their second use on, and from then on only a number crosses to it: six edits cost what one
/// that is made in the hook does. So they are for what comes again: what is known when an attachment is configured, or is the same for all
/// requests of a client.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, PreparedEdits, Response, Setup, Verdict, config::NoConfig, export_plugin};
/// struct Hygiene {
///     edits: PreparedEdits,
/// }
///
/// impl Plugin for Hygiene {
///     type Config = NoConfig;
///
///     fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
///         let mut edits = PreparedEdits::default();
///         edits.remove_header("server");
///         edits.set_header("x-content-type-options", "nosniff");
///         edits.append_header("vary", "accept");
///         edits.set_attribute("hygiene", "done");
///         Ok(Hygiene { edits })
///     }
///
///     fn on_response(&self, response: &mut Response) -> Verdict {
///         response.apply(&self.edits);
///         Verdict::Next
///     }
/// }
/// # export_plugin!(Hygiene: response);
/// # use witgate_plugin::test::{Harness, TestResponse, json};
/// # let mut plugin = Harness::<Hygiene>::new(json!({}))?;
/// # for _ in 0..3 {
/// #     let outcome = plugin.response(TestResponse::new(200).header("Server", "x"));
/// #     assert_eq!((outcome.passed().value("server"), outcome.passed().headers.len()), (None, 2));
/// # }
/// # assert_eq!(plugin.attribute("hygiene"), Some("done"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct PreparedEdits {
    edits: Vec<Edit>,
    on_requests: Remembered,
    on_responses: Remembered,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Edit {
    SetHeader(Header),
    AppendHeader(Header),
    RemoveHeader(String),
    SetAttribute((String, String)),
}

/// What the gateway knows of a list.
#[derive(Debug, Clone, Default)]
struct Remembered(Cell<State>);

#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    New,
    /// Whether it ever comes again is not known yet.
    UsedOnce,
    Kept(u64),
    /// It is more than the gateway keeps.
    TooLarge,
}

impl PreparedEdits {
    /// Replace every value of a header by this one. The name is case-insensitive.
    pub fn set_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.add(Edit::SetHeader(wire::header(name, value.as_ref())));
    }

    /// Add a value to a header, and leave those that are there.
    pub fn append_header(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.add(Edit::AppendHeader(wire::header(name, value.as_ref())));
    }

    /// Remove every value of a header.
    pub fn remove_header(&mut self, name: &str) {
        self.add(Edit::RemoveHeader(name.to_ascii_lowercase()));
    }

    /// Set an attribute, text or JSON, for later filters, logs and spans.
    pub fn set_attribute(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.add(Edit::SetAttribute((name.into(), value.into())));
    }

    /// Whether there are none.
    ///
    /// ```
    /// # use witgate_plugin::PreparedEdits;
    /// assert!(PreparedEdits::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    fn add(&mut self, edit: Edit) {
        self.edits.push(edit);
        // What the gateway may remember is another list.
        (self.on_requests, self.on_responses) = (Remembered::default(), Remembered::default());
    }

    pub(crate) fn apply_to_request(&self, said: &mut Vec<RequestEdit>) {
        self.apply(said, &self.on_requests, edits::remember_request);
    }

    pub(crate) fn apply_to_response(&self, said: &mut Vec<ResponseEdit>) {
        self.apply(said, &self.on_responses, edits::remember_response);
    }

    /// What the gateway repeats stands before all that the hook says itself, so nothing may have been said yet.
    fn apply<E: for<'e> From<&'e Edit>>(
        &self,
        said: &mut Vec<E>,
        remembered: &Remembered,
        remember: impl FnOnce(&[E]) -> Option<u64>,
    ) {
        let all = || self.edits.iter().map(E::from);
        let repeats = || remembered.repeat(|| remember(&all().collect::<Vec<_>>()));
        if !self.is_empty() && (!said.is_empty() || !repeats()) {
            // Most hooks make no edits but these, so there is no sense in room for more.
            said.reserve_exact(self.edits.len());
            said.extend(all());
        }
    }
}

impl Remembered {
    /// Whether the gateway makes the edits, which it does from their second use on.
    fn repeat(&self, remember: impl FnOnce() -> Option<u64>) -> bool {
        let state = match self.0.get() {
            State::New => State::UsedOnce,
            State::UsedOnce => remember().map_or(State::TooLarge, State::Kept),
            known => known,
        };
        let repeats = matches!(state, State::Kept(number) if edits::repeat(number));
        // A list that was forgotten begins anew: where there are more than the gateway keeps, not every use should be told of.
        let is_forgotten = matches!(state, State::Kept(_)) && !repeats;
        self.0.set(if is_forgotten { State::New } else { state });
        repeats
    }
}

/// The same edits are equal, whatever the gateway knows of them.
impl PartialEq for PreparedEdits {
    fn eq(&self, other: &Self) -> bool {
        self.edits == other.edits
    }
}

impl Eq for PreparedEdits {}

impl From<&Edit> for RequestEdit {
    fn from(edit: &Edit) -> Self {
        match edit {
            Edit::SetHeader(header) => RequestEdit::SetHeader(header.clone()),
            Edit::AppendHeader(header) => RequestEdit::AppendHeader(header.clone()),
            Edit::RemoveHeader(name) => RequestEdit::RemoveHeader(name.clone()),
            Edit::SetAttribute(attribute) => RequestEdit::SetAttribute(attribute.clone()),
        }
    }
}

impl From<&Edit> for ResponseEdit {
    fn from(edit: &Edit) -> Self {
        match edit {
            Edit::SetHeader(header) => ResponseEdit::SetHeader(header.clone()),
            Edit::AppendHeader(header) => ResponseEdit::AppendHeader(header.clone()),
            Edit::RemoveHeader(name) => ResponseEdit::RemoveHeader(name.clone()),
            Edit::SetAttribute(attribute) => ResponseEdit::SetAttribute(attribute.clone()),
        }
    }
}
