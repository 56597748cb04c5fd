//! Tunnels: what a connection becomes after an upgrade, two directions of bytes that are nobody's business here.
//!
//! Except that a WebSocket is told when the gateway leaves, or when nobody has used it for too long: by a Close frame with status 1001,
//! between two frames. What else a connection became can be told nothing; it ends with the gateway.

mod frames;
mod pump;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use self::pump::Pump;
use super::in_flight::InFlight;
use super::pulse::Pulse;
use crate::proxy::Tunnel;

/// A tunnel that was agreed on, and counts as in flight until its end.
pub(super) struct Opened {
    pub(super) tunnel: Box<Tunnel>,
    pub(super) in_flight: Option<InFlight>,
}

/// Relays over a stream of an HTTP/2 connection.
pub(super) async fn relay_stream(client: OnUpgrade, opened: Opened, pulse: Rc<Pulse>) {
    if let Ok(client) = client.await {
        relay(TokioIo::new(client), Vec::new(), opened, &pulse).await;
    }
}

/// Relays until both sides have ended, one of them broke, or neither said anything for too long. `first` was read of the client's bytes
/// before.
pub(super) async fn relay<C: AsyncRead + AsyncWrite + Unpin>(client: C, first: Vec<u8>, opened: Opened, pulse: &Pulse) {
    let Opened { mut tunnel, in_flight: _in_flight } = opened;
    // Its task has read the 101 already, and gives the connection up next.
    let Ok(upstream) = (&mut tunnel.upstream).await else { return };
    let mut relay = Relay {
        client,
        upstream: TokioIo::new(upstream),
        up: Pump::new(first, tunnel.is_websocket),
        down: Pump::new(Vec::new(), tunnel.is_websocket),
        is_websocket: tunnel.is_websocket,
        idle_timeout: tunnel.idle_timeout,
        used: pulse.now(),
        alarm: Alarm::Idle(Box::pin(sleep(tunnel.idle_timeout))),
    };
    let mut leaving = pin!(pulse.leaving());
    let mut is_leaving = false;
    poll_fn(|context| {
        if relay.is_websocket && !is_leaving && leaving.as_mut().poll(context).is_ready() {
            is_leaving = true;
            relay.down.close();
        }
        let polled = relay.poll(context, pulse.now());
        // Each time: nobody knows when a connection is given up.
        tunnel.passed(relay.up.passed(), relay.down.passed());
        polled
    })
    .await;
}

struct Relay<C> {
    client: C,
    upstream: TokioIo<Upgraded>,
    /// From the client to the upstream.
    up: Pump,
    down: Pump,
    is_websocket: bool,
    idle_timeout: Duration,
    /// When bytes passed last.
    used: Instant,
    alarm: Alarm,
}

/// What it means when the time is over.
enum Alarm {
    /// Made once; it is looked at again when it goes off whether that was too early.
    Idle(Pin<Box<Sleep>>),
    /// One side has said all it will, and the other had time for its own goodbye.
    Goodbye(Pin<Box<Sleep>>),
}

impl<C: AsyncRead + AsyncWrite + Unpin> Relay<C> {
    /// Ready when there is nothing more to be done.
    fn poll(&mut self, context: &mut Context<'_>, now: Instant) -> Poll<()> {
        loop {
            let up = self.up.poll(context, &mut self.client, &mut self.upstream);
            let down = self.down.poll(context, &mut self.upstream, &mut self.client);
            if self.up.take_moved() | self.down.take_moved() {
                self.used = now;
            }
            let is_broken = matches!(up, Poll::Ready(Err(_))) || matches!(down, Poll::Ready(Err(_)));
            if is_broken || self.is_over() {
                // Whoever is still there learns of the end in good order, if it takes that at once.
                let _ = Pin::new(&mut self.client).poll_shutdown(context);
                return Poll::Ready(());
            }
            if self.is_websocket && (self.up.is_over() || self.down.is_over() || self.down.has_said_close()) {
                self.expect_goodbye();
            }
            match self.poll_alarm(context, now) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::End) => return Poll::Ready(()),
                // A Close was added, which has to be sent.
                Poll::Ready(Next::Again) => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        (self.up.is_over() && self.down.is_over()) || (self.up.has_said_close() && self.down.has_said_close())
    }

    fn expect_goodbye(&mut self) {
        if let Alarm::Idle(_) = self.alarm {
            self.alarm = Alarm::Goodbye(Box::pin(sleep(GOODBYE)));
        }
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>, now: Instant) -> Poll<Next> {
        let alarm = match &mut self.alarm {
            Alarm::Goodbye(alarm) => return alarm.as_mut().poll(context).map(|()| Next::End),
            Alarm::Idle(alarm) => alarm,
        };
        loop {
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let left = self.idle_timeout.saturating_sub(now.saturating_duration_since(self.used));
            if left.is_zero() {
                break;
            }
            alarm.set(sleep(left));
        }
        if !self.is_websocket {
            return Poll::Ready(Next::End);
        }
        self.down.close();
        self.expect_goodbye();
        Poll::Ready(Next::Again)
    }
}

enum Next {
    End,
    Again,
}

/// What a side of a WebSocket has for its own Close once the other's has passed.
const GOODBYE: Duration = Duration::from_secs(10);

/// The size of the future of a tunnel over a socket.
#[cfg(test)]
pub(super) fn relay_bytes() -> usize {
    fn future_bytes<'p, F: Future>(_: fn(super::stream::Stream, Vec<u8>, Opened, &'p Pulse) -> F) -> usize {
        size_of::<F>()
    }
    future_bytes(relay::<super::stream::Stream>)
}
