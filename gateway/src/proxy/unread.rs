//! Requests that the wire refuses before there is one: counted and told as all others, with what is known of them.
//!
//! It costs no more than a request that is served: one count, and a line where chance and `only` give it one. There is no trace to
//! belong to, and no route.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode, Uri, Version};

use super::worker::Worker;
use crate::filter::Connection;
use crate::snapshot::Listener;
use crate::telemetry::{Ended, Entry, Flag, Flags, UNKNOWN_METHOD, method_of};

/// What tells of the requests of a connection that nobody has read.
pub struct Unread {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    listener: Arc<Listener>,
}

/// The answer that a head got, and what is known of the request.
pub struct Refused<'h> {
    pub status: StatusCode,
    /// As the answer tells it.
    pub request_id: &'h HeaderValue,
    /// Where that was not what is wrong.
    pub line: Option<RequestLine<'h>>,
    /// How long its head was waited for.
    pub took: Duration,
}

/// A request line that was found right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLine<'h> {
    pub method: &'h str,
    pub target: &'h str,
    pub version: Version,
}

impl Unread {
    pub fn new(worker: &Rc<Worker>, connection: &Rc<Connection>, listener: &Arc<Listener>) -> Self {
        Self { worker: worker.clone(), connection: connection.clone(), listener: listener.clone() }
    }

    /// Counts a request that was refused, and writes its line.
    pub fn tell(&self, refused: &Refused<'_>) {
        let generation = self.worker.generation();
        let name = &self.listener.name;
        let number = generation.listener(name).map_or(usize::MAX, |(number, _)| usize::from(number));
        let method = refused.line.and_then(|line| Method::from_bytes(line.method.as_bytes()).ok());
        let ended = Ended {
            method: method.as_ref().map_or(UNKNOWN_METHOD, method_of),
            status: refused.status,
            duration: refused.took,
            overhead: Duration::ZERO,
            trace: None,
        };
        generation.table.begin();
        generation.table.end((number, name), None, &ended);
        let mut flags = Flags::default();
        flags.insert(Flag::BadRequest);
        let Some(pen) = &generation.pen else { return };
        let log = pen.log();
        let is_told = log.is_sampled()
            && log.only.as_ref().is_none_or(|only| only.admits(refused.status.as_u16(), refused.took, flags));
        if is_told {
            let target = refused.line.and_then(|line| Uri::try_from(line.target).ok());
            pen.write(&self.entry(refused, target.as_ref(), &flags.to_string(), generation.snapshot.generation));
        }
    }

    fn entry<'e>(
        &'e self,
        refused: &'e Refused<'_>,
        target: Option<&'e Uri>,
        flags: &'e str,
        generation: u64,
    ) -> Entry<'e> {
        let now = SystemTime::now();
        Entry {
            began: now.checked_sub(refused.took).unwrap_or(now),
            request_id: refused.request_id.as_bytes(),
            trace_id: None,
            client: self.connection.peer,
            scheme: self.connection.scheme,
            method: refused.line.map_or(UNREAD, |line| line.method),
            host: target.and_then(Uri::authority).map_or(UNREAD, Authority::as_str).as_bytes(),
            path: target.map_or(UNREAD, Uri::path),
            query: target.and_then(Uri::query),
            version: refused.line.map_or(Version::HTTP_11, |line| line.version),
            status: refused.status.as_u16(),
            bytes_in: 0,
            bytes_out: 0,
            duration: refused.took,
            overhead: Duration::ZERO,
            listener: &self.listener.name,
            route: "",
            generation,
            upstream: None,
            endpoint: None,
            attempts: 0,
            filters: &[],
            flags,
            attributes: &[],
            request_headers: &[],
            response_headers: &[],
        }
    }
}

/// What stands in the place of a part that was not read, or not found right.
const UNREAD: &str = "-";
