//! Bodies as a plugin sees them: piece by piece in a `Transform`, or whole in a `Body`. How they get here is `glue`'s.

use crate::{Reply, wire};

/// What a plugin does to one body that passes in pieces. [`Plugin::on_request_body`](crate::Plugin::on_request_body) and
/// [`Plugin::on_response_body`](crate::Plugin::on_response_body) make one for a body that they want to see.
///
/// The gateway asks for the next piece when the other side has taken what the last one became, so a transform holds a body
/// back only as far as it keeps bytes to itself. It lives on one instance of the plugin, from the first piece to the last,
/// and may keep state of its own; when the exchange is cancelled, or a call fails, it is gone without a word. Each call has the
/// plugin's deadline, and one that fails breaks the message off, whatever `on_error` says: half a body is worse than none.
///
/// This one writes text in capitals:
///
/// ```
/// use witgate_plugin::config::NoConfig;
/// use witgate_plugin::{Error, Plugin, Response, Setup, Step, Transform, export_plugin};
///
/// struct Capitals;
///
/// impl Transform for Capitals {
///     fn chunk(&mut self, data: &[u8]) -> Step {
///         Step::Replace(data.to_ascii_uppercase())
///     }
/// }
///
/// struct Loud;
///
/// impl Plugin for Loud {
///     type Config = NoConfig;
///
///     fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
///         Ok(Loud)
///     }
///
///     fn on_response_body(&self, response: &Response) -> Option<Box<dyn Transform>> {
///         // What is no success passes as it is.
///         (response.status() < 300).then(|| Box::new(Capitals) as Box<dyn Transform>)
///     }
/// }
///
/// export_plugin!(Loud: response_body);
///
/// use witgate_plugin::test::{Harness, TestResponse, json};
///
/// let mut plugin = Harness::<Loud>::new(json!({}))?;
/// let outcome = plugin.response(TestResponse::new(200).piece("hello ").piece("world"));
/// assert_eq!(outcome.passed().body, [b"HELLO ", b"WORLD".as_slice()]);
/// let outcome = plugin.response(TestResponse::new(404).piece("no"));
/// assert_eq!(outcome.passed().body, [b"no"]);
/// # Ok::<(), Error>(())
/// ```
pub trait Transform {
    /// See the next piece of the body: never empty, at most 64 KiB, and cut wherever the network cut it.
    fn chunk(&mut self, data: &[u8]) -> Step;

    /// The body is over. Runs once, unless a [`Step::PassRest`] or [`Step::Abort`] came before. The default adds nothing.
    fn finish(&mut self) -> End {
        End::done()
    }
}

/// What becomes of one piece of a body.
///
/// ```
/// use witgate_plugin::{Reply, Step};
///
/// /// Lets text pass, and looks no further where the first piece is none.
/// fn only_text(piece: &[u8]) -> Step {
///     match str::from_utf8(piece) {
///         Ok(text) if text.contains("<script") => Step::Abort(Reply::new(422)),
///         Ok(text) if text.contains('\r') => Step::Replace(text.replace('\r', "").into()),
///         Ok(_) => Step::Unchanged,
///         Err(_) => Step::PassRest,
///     }
/// }
/// assert_eq!(only_text(b"a\r\n"), Step::Replace(b"a\n".into()));
/// # assert_eq!(only_text(b"\xff"), Step::PassRest);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It goes on as it is.
    Unchanged,
    /// This goes on in its place; an empty one drops the piece.
    Replace(Vec<u8>),
    /// This piece and all that follow go on as they are, and the transform is over: neither [`Transform::chunk`] nor
    /// [`Transform::finish`] is called again.
    PassRest,
    /// Break the message off. Of a request, while no response came yet, this is the answer; after that, and always of a
    /// response, the client sees the stream reset, because its head was sent before.
    Abort(Reply),
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Step::Abort(reply)
    }
}

/// What comes after the last piece of a body.
///
/// ```
/// use witgate_plugin::{End, Reply};
///
/// assert_ne!(End::done().tail("\n").keep("42 lines"), End::done());
/// assert_eq!(End::from(Reply::new(400)), End::abort(Reply::new(400)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    tail: Option<Vec<u8>>,
    keep: Option<Vec<u8>>,
    abort: Option<Reply>,
}

impl End {
    /// The body ends here.
    pub fn done() -> Self {
        End { tail: None, keep: None, abort: None }
    }

    /// Break the message off, as [`Step::Abort`] does.
    pub fn abort(reply: Reply) -> Self {
        End { abort: Some(reply), ..End::done() }
    }

    /// Send these bytes behind the last piece.
    #[must_use]
    pub fn tail(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.tail = Some(bytes.into());
        self
    }

    /// Hand bytes to the response hook of the same attachment, as [`Request::keep`](crate::Request::keep) does and in the
    /// place of what it kept: at most 4 KiB. The hook sees them if the request's body was over before the response came, as it is with
    /// upstreams that read before they answer. At the end of a response nobody would read them.
    #[must_use]
    pub fn keep(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.keep = Some(bytes.into());
        self
    }
}

impl From<Reply> for End {
    fn from(reply: Reply) -> Self {
        End::abort(reply)
    }
}

/// The whole body of a message, in [`Plugin::on_whole_request`](crate::Plugin::on_whole_request) and
/// [`Plugin::on_whole_response`](crate::Plugin::on_whole_response).
///
/// This plugin lets only JSON pass, and passes it on without white space:
///
/// ```
/// use witgate_plugin::config::NoConfig;
/// use witgate_plugin::{Body, Error, Plugin, Reply, Request, Setup, Verdict, export_plugin};
///
/// struct Json;
///
/// impl Plugin for Json {
///     type Config = NoConfig;
///
///     fn configure(_config: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
///         setup.buffer_request(1 << 20);
///         Ok(Json)
///     }
///
///     fn on_whole_request(&self, request: &mut Request, body: &mut Body) -> Verdict {
///         match serde_json::from_slice::<serde_json::Value>(body.bytes()) {
///             Ok(value) => {
///                 body.replace(value.to_string());
///                 request.set_header("content-type", "application/json");
///                 Verdict::Next
///             }
///             Err(_) => Reply::problem(400, "the body is not JSON").into(),
///         }
///     }
/// }
///
/// export_plugin!(Json: whole_request);
///
/// use witgate_plugin::test::{Harness, TestRequest, json};
///
/// let mut plugin = Harness::<Json>::new(json!({}))?;
/// let outcome = plugin.request(TestRequest::new("POST", "/").piece("[1, ").piece("2]"));
/// assert_eq!(outcome.passed().body, [b"[1,2]"]);
/// assert_eq!(plugin.request(TestRequest::new("POST", "/").piece("[")).reply().status(), 400);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Body<'a> {
    bytes: &'a [u8],
    replaced: Option<Vec<u8>>,
}

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Body { bytes, replaced: None }
    }

    pub(crate) fn into_replaced(self) -> Option<Vec<u8>> {
        self.replaced
    }

    /// The body as it reached this plugin, whatever [`replace`](Self::replace) put in its place: what is compressed is compressed.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Send these bytes instead. The gateway sets `content-length`, drops the digests of the old body (`content-md5`, `digest`,
    /// `content-digest`, `repr-digest`) unless this hook sets them, and makes a response's `etag` a weak one; `content-type` and
    /// `content-encoding` are the plugin's to set right.
    pub fn replace(&mut self, bytes: impl Into<Vec<u8>>) {
        self.replaced = Some(bytes.into());
    }
}

impl Step {
    pub(crate) fn into_wire(self) -> wire::Step {
        match self {
            Step::Unchanged => wire::Step::Unchanged,
            Step::Replace(bytes) => wire::Step::Replace(bytes),
            Step::PassRest => wire::Step::PassRest,
            Step::Abort(reply) => wire::Step::Abort(reply.into_wire()),
        }
    }
}

impl End {
    pub(crate) fn into_wire(self) -> wire::End {
        match self.abort {
            Some(reply) => wire::End::Abort(reply.into_wire()),
            None => wire::End::Done(wire::Ending { tail: self.tail, keep: self.keep }),
        }
    }
}
