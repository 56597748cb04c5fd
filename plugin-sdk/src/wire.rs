//! The values that cross the boundary (`wit/types.wit`, `body-types` of `wit/bodies.wit`): on wasm the generated ones, natively twins of the same names and shapes.
//! All other code is written once against either; a twin that strays from the WIT breaks the wasm build.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::witgate::plugin::body_types::{
    End, Ending, Step, WholeRequestVerdict, WholeResponseVerdict,
};
#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::imports::witgate::plugin::types::{
    Header, Origin, Reply, RequestEdit, RequestHead, RequestVerdict, ResponseEdit, ResponseHead, ResponseVerdict, Value,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::*;

/// Field names cross in lower case, so that the gateway need not look again.
pub(crate) fn header(name: &str, value: &[u8]) -> Header {
    (name.to_ascii_lowercase(), value.to_vec())
}

/// The first value of a header, if it is UTF-8.
pub(crate) fn value<'h>(headers: &'h [Header], name: &str) -> Option<&'h str> {
    let (_, value) = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    str::from_utf8(value).ok()
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    pub(crate) type Header = (String, Vec<u8>);

    pub(crate) type Value = (u16, Vec<u8>);

    #[derive(Debug)]
    pub(crate) struct RequestHead {
        pub(crate) values: Option<Vec<Value>>,
    }

    #[derive(Debug, Clone, Copy)]
    pub(crate) enum Origin {
        Upstream,
        Filter,
        Gateway,
    }

    #[derive(Debug)]
    pub(crate) struct ResponseHead {
        pub(crate) status: u16,
        pub(crate) origin: Origin,
        pub(crate) values: Option<Vec<Value>>,
        pub(crate) kept: Option<Vec<u8>>,
    }

    #[derive(Debug)]
    pub(crate) struct Reply {
        pub(crate) status: u16,
        pub(crate) headers: Vec<Header>,
        pub(crate) body: Vec<u8>,
    }

    #[derive(Debug, Clone)]
    pub(crate) enum RequestEdit {
        SetHeader(Header),
        AppendHeader(Header),
        RemoveHeader(String),
        SetPath(String),
        SetQuery(String),
        SetMethod(String),
        SetAuthority(String),
        SetAttribute((String, String)),
        SelectUpstream(String),
        Keep(Vec<u8>),
    }

    #[derive(Debug, Clone)]
    pub(crate) enum ResponseEdit {
        SetHeader(Header),
        AppendHeader(Header),
        RemoveHeader(String),
        SetStatus(u16),
        SetAttribute((String, String)),
    }

    #[derive(Debug)]
    pub(crate) enum RequestVerdict {
        Next(Vec<RequestEdit>),
        Respond(Reply),
    }

    #[derive(Debug)]
    pub(crate) enum ResponseVerdict {
        Next(Vec<ResponseEdit>),
        Respond(Reply),
    }

    #[derive(Debug)]
    pub(crate) enum Step {
        Unchanged,
        Replace(Vec<u8>),
        PassRest,
        Abort(Reply),
    }

    #[derive(Debug)]
    pub(crate) enum End {
        Done(Ending),
        Abort(Reply),
    }

    #[derive(Debug)]
    pub(crate) struct Ending {
        pub(crate) tail: Option<Vec<u8>>,
        pub(crate) keep: Option<Vec<u8>>,
    }

    #[derive(Debug)]
    pub(crate) enum WholeRequestVerdict {
        Next((Vec<RequestEdit>, Option<Vec<u8>>)),
        Respond(Reply),
    }

    #[derive(Debug)]
    pub(crate) enum WholeResponseVerdict {
        Next((Vec<ResponseEdit>, Option<Vec<u8>>)),
        Respond(Reply),
    }
}
