//! An HTTP/2 client with prior knowledge, by h2, for streams that go both ways at once: the test holds each end of each in its hands.

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::within;

/// One connection to the gateway; clones share it.
#[derive(Clone)]
pub struct Http2Calls {
    send: SendRequest<Bytes>,
}

/// A request that has begun. Dropping it resets the stream.
pub struct Http2Call {
    response: Option<ResponseFuture>,
    sending: SendStream<Bytes>,
    receiving: Option<RecvStream>,
}

impl Http2Calls {
    pub async fn connect(address: SocketAddr) -> Http2Calls {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("the listener accepts");
        Http2Calls::over(stream).await
    }

    /// A client on a connection that is there already.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Http2Calls {
        let (send, connection) =
            within("the preface", h2::client::handshake(stream)).await.expect("the listener speaks HTTP/2");
        // Its end is seen by whoever waits for an answer.
        tokio::spawn(connection);
        Http2Calls { send }
    }

    /// Begin a request whose body the test sends.
    pub async fn begin(&self, request: Request<()>) -> Http2Call {
        let mut send = within("room for a stream", self.send.clone().ready()).await.expect("the gateway is there");
        let (response, sending) = send.send_request(request, false).expect("a request");
        Http2Call { response: Some(response), sending, receiving: None }
    }
}

impl Http2Call {
    /// Send a piece of the body.
    pub fn send(&mut self, data: impl Into<Bytes>) {
        self.sending.send_data(data.into(), false).expect("the stream is open");
    }

    /// End the body.
    pub fn finish(&mut self) {
        self.sending.send_data(Bytes::new(), true).expect("the stream is open");
    }

    /// The head of the answer.
    ///
    /// # Errors
    /// How the stream ended in its place.
    pub async fn head(&mut self) -> Result<Response<()>, h2::Error> {
        let response = self.response.take().expect("the head is read once");
        let (head, receiving) = within("the head of an answer", response).await?.into_parts();
        self.receiving = Some(receiving);
        Ok(Response::from_parts(head, ()))
    }

    /// The next piece of the answer; `None` after the last.
    ///
    /// # Errors
    /// How the stream ended in its place.
    pub async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let receiving = self.receiving.as_mut().expect("the head was read");
        let piece = within("a piece of the answer", receiving.data()).await;
        if let Some(Ok(piece)) = &piece {
            let _ = receiving.flow_control().release_capacity(piece.len());
        }
        piece
    }

    /// What comes after the last piece.
    ///
    /// # Errors
    /// How the stream ended in its place.
    pub async fn trailers(&mut self) -> Result<HeaderMap, h2::Error> {
        let receiving = self.receiving.as_mut().expect("the head was read");
        within("the trailers of the answer", receiving.trailers()).await.map(Option::unwrap_or_default)
    }

    /// End the stream, and say why.
    pub fn reset(&mut self, reason: Reason) {
        self.sending.send_reset(reason);
    }

    /// Wait until the gateway resets the stream.
    pub async fn was_reset(&mut self) -> Reason {
        within("a reset", poll_fn(|context| self.sending.poll_reset(context))).await.expect("the connection lives")
    }
}
