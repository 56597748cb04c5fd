//! Mirroring: copies of requests to another upstream, whose answers nobody reads. They delay nothing and fail nothing.

use std::rc::Rc;

use http::Request;
use tokio::time::timeout;

use super::forward::upstream_request;
use super::worker::Generation;
use crate::filter::{Exchange, Mirroring};
use crate::message::{Body, WholeBody};
use crate::upstream::{MirrorOutcome, MirrorPermit, On, Pick};

/// Sees to it that each copy that the filters asked for is sent once the request's body has passed.
pub(super) fn attach(generation: &Rc<Generation>, exchange: &mut Exchange) {
    for mirroring in std::mem::take(&mut exchange.mirrors) {
        let Mirroring { upstream: name, body_bytes_max, in_flight_max } = &*mirroring;
        let upstreams = &generation.snapshot.upstreams;
        let Some(place) = upstreams.iter().position(|upstream| upstream.name == *name) else { continue };
        let upstream = &upstreams[place];
        let Some(permit) = upstream.mirrored.begin(*in_flight_max) else {
            upstream.mirrored.count(MirrorOutcome::Dropped);
            continue;
        };
        let request = upstream_request(upstream, exchange, exchange.headers.clone(), Body::Empty);
        let generation = generation.clone();
        let take = move |copy: Option<WholeBody>| match copy {
            Some(copy) => drop(tokio::task::spawn_local(send(generation, place, with_body(request, copy), permit))),
            None => generation.snapshot.upstreams[place].mirrored.count(MirrorOutcome::TooLarge),
        };
        let body = std::mem::take(&mut exchange.request_body);
        exchange.request_body = body.copied(*body_bytes_max, Box::new(take));
    }
}

fn with_body(mut request: Request<Body>, copy: WholeBody) -> Request<Body> {
    if !copy.bytes.is_empty() || copy.trailers.is_some() {
        *request.body_mut() = copy.send_on(request.headers_mut());
    }
    request
}

async fn send(generation: Rc<Generation>, place: usize, request: Request<Body>, permit: MirrorPermit) {
    let upstream = &generation.snapshot.upstreams[place];
    let per_try = upstream.transport.timeouts.per_try;
    let outcome = async {
        let endpoint = upstream.pick(&Pick::default())?;
        let permits = (permit, upstream.transport.load.admit(&upstream.transport.limits).ok()?);
        let sent =
            timeout(per_try, generation.clients[place][endpoint].send(request, On::Any, permits)).await.ok()?.ok()?;
        sent.discard(per_try);
        Some(())
    };
    let outcome = if outcome.await.is_some() { MirrorOutcome::Answered } else { MirrorOutcome::Failed };
    upstream.mirrored.count(outcome);
}
