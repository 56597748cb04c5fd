//! The handshake of TLS: from a client's socket to its bytes in the clear, and what was settled.

use std::pin::pin;
use std::task::Poll;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::pulse::{Order, Pulse};
use crate::sockets::Socket;
use crate::tls::{HandshakeOutcome, Session, SessionError, Termination};

/// Makes the handshake, and counts how it ended; `None` when there is no connection to go on with. The client has been told why by
/// then, as far as TLS has words for it. `number` is the worker's, for counting.
pub(super) async fn handshake(
    socket: Socket,
    tls: &Termination,
    pulse: &Pulse,
    number: usize,
) -> Option<(Box<TlsStream<Socket>>, Session)> {
    let mut accept = pin!(TlsAcceptor::from(tls.config().clone()).accept(socket));
    let mut is_draining = false;
    let accepted = std::future::poll_fn(|context| {
        match pulse.take_order(context.waker()) {
            Some(Order::Close) => return Poll::Ready(None),
            // A client that is half inside is not turned away: the order is for what comes after.
            Some(Order::Drain) => is_draining = true,
            None => {}
        }
        accept.as_mut().poll(context).map(Some)
    })
    .await;
    let ended = match accepted {
        None => Err(HandshakeOutcome::Timeout),
        Some(Ok(stream)) => match tls.session(stream.get_ref().1) {
            Ok(session) => Ok((Box::new(stream), session)),
            Err(SessionError::Challenge) => Err(HandshakeOutcome::Challenge),
            Err(error) => {
                tracing::debug!(%error, "a client is not let in");
                Err(HandshakeOutcome::ClientCertificate)
            }
        },
        Some(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            Err(HandshakeOutcome::of(&error))
        }
    };
    let outcome = match &ended {
        Ok((_, session)) if session.is_resumed => HandshakeOutcome::Resumed,
        Ok(_) => HandshakeOutcome::Full,
        Err(outcome) => *outcome,
    };
    tls.handshakes.count(number, outcome);
    pulse.is_secured();
    if is_draining {
        pulse.give(Order::Drain);
    }
    ended.ok()
}
