//! What must hold for any input whatever. Each function panics where it does not.

#![allow(dead_code, reason = "a fuzz target uses one of them")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;

use http::{HeaderMap, Method, Request as HttpRequest, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use witgate::message::path::normalise;
use witgate::router::{PathSpec, Request, RouteSpec, Router};

/// Requests of HTTP/1: however they arrive they are read alike, and hyper finds as many messages in what is passed on, with their ends where
/// the gateway sees them.
pub(crate) fn heads(bytes: &[u8]) {
    let seen = witgate::server::read_messages(bytes.chunks(bytes.len().max(1)));
    for size in [1, 7] {
        let in_pieces = witgate::server::read_messages(bytes.chunks(size));
        assert_eq!((in_pieces.heads, in_pieces.messages), (seen.heads, seen.messages), "in pieces of {size}");
        assert_eq!(in_pieces.is_refused, seen.is_refused, "in pieces of {size}");
    }
    let by_hyper = hyper_reads(&bytes[..seen.passed]);
    // hyper refuses some that are passed, for targets that it takes apart, and ends where a client asks for that.
    let lower = bytes.to_ascii_lowercase();
    let may_end = |word: &str| lower.windows(word.len()).any(|part| part == word.as_bytes());
    if by_hyper.refused > 0 || may_end("close") || may_end("http/1.0") {
        assert!(by_hyper.heads <= seen.heads, "hyper finds a head where none is");
    } else {
        assert_eq!(by_hyper.heads, seen.heads, "hyper counts other heads in what is passed");
        assert_eq!(by_hyper.messages, seen.messages, "hyper sees other ends in what is passed");
    }
}

/// Whatever text: values that hold, or faults with their places.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let env = |name: &str| (name == "PORT").then(|| "8080".to_owned());
    match witgate::config::load_text(Path::new("gateway.yaml"), text.to_owned(), &env) {
        Ok(loaded) => assert!(!loaded.config.listeners.is_empty(), "nothing would ever be served"),
        Err(faults) => assert!(!faults.to_string().is_empty(), "a refusal says why"),
    }
}

/// Routes, one a line: a letter for the kind, and the pattern. An empty line, then paths.
pub(crate) fn router(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (routes, paths) = text.split_once("\n\n").unwrap_or((text, "/"));
    let specs: Vec<RouteSpec> = routes.lines().take(32).filter_map(route).collect();
    let Ok(router) = Router::build(specs.clone()) else { return };
    let headers = HeaderMap::new();
    for path in paths.lines().take(32) {
        let Ok(path) = normalise(path) else { continue };
        let request = Request {
            listener: 0,
            host: "a.example",
            path: &path,
            query: None,
            method: &Method::GET,
            headers: &headers,
        };
        let found = router.find(&request).map(|found| found.route);
        assert_eq!(found, router.find(&request).map(|found| found.route), "a look-up changes nothing");
        let exact = specs.iter().any(|spec| matches!(&spec.path, PathSpec::Exact(exact) if *exact == *path));
        match found.map(|place| &specs[place].path) {
            Some(PathSpec::Exact(exact)) => assert_eq!(*exact, *path),
            Some(PathSpec::Prefix(prefix)) => {
                assert!(path.starts_with(prefix.trim_end_matches('/')), "{prefix} {path}")
            }
            _ => {}
        }
        assert!(!exact || found.is_some(), "{path} has a route of its own");
    }
}

/// Whatever text: a normal form that is its own, or a refusal.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(normal) = normalise(text) else { return };
    assert_eq!(normalise(&normal).as_deref(), Ok(&*normal), "the normal form is its own");
    assert!(normal.is_ascii() && normal.starts_with('/') && !normal.contains("//"), "{normal}");
    assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."), "{normal}");
}

fn route(line: &str) -> Option<RouteSpec> {
    let (kind, pattern) = (line.get(..1)?, line.get(1..)?.to_owned());
    let path = match kind {
        "=" => PathSpec::Exact(pattern),
        "/" => PathSpec::Prefix(line.to_owned()),
        "{" => PathSpec::Template(pattern),
        "~" => PathSpec::Regex(pattern),
        _ => return None,
    };
    Some(RouteSpec {
        hosts: Vec::new(),
        path,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        listeners: Vec::new(),
        priority: 0,
    })
}

#[derive(Default)]
struct Read {
    heads: usize,
    messages: usize,
    refused: usize,
}

/// What hyper's server finds in these bytes.
fn hyper_reads(bytes: &[u8]) -> Read {
    let read = Rc::new(RefCell::new(Read::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(bytes.len() + (1 << 20));
        client.write_all(bytes).await.expect("there is room for it");
        client.shutdown().await.expect("it is open");
        let service = service_fn(|request: HttpRequest<Incoming>| {
            let read = read.clone();
            async move {
                read.borrow_mut().heads += 1;
                if request.into_body().collect().await.is_ok() {
                    read.borrow_mut().messages += 1;
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.half_close(true).max_buf_size(1 << 20).pipeline_flush(true);
        if let Err(error) = builder.serve_connection(TokioIo::new(server), service).await
            && error.is_parse()
        {
            read.borrow_mut().refused += 1;
        }
    });
    read.take()
}
