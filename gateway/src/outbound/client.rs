//! A plugin's request: a whole body out, a whole body back, within limits, to where the plugin may go.
//!
//! Dropping the future ends the request, and closes its connection. Redirects are answers like any other.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::address::Reach;
use super::connections::{Connections, connections, in_full, is_out_of_reach, literal_is_out_of_reach};
use super::trust::Trust;

/// The connections of one worker for the requests of its plugins; clones share them.
#[derive(Clone)]
pub struct Client {
    trust: Trust,
    /// Made by the first request: most workers never send one.
    pools: Arc<OnceLock<Pools>>,
}

struct Pools {
    public: Connections,
    anywhere: Connections,
}

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub reach: Reach,
    /// From resolving the name to the last byte of the response.
    pub timeout: Duration,
    /// The response's body; its head has a limit of the connection's.
    pub body_bytes_max: usize,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the origin has no address that may be reached")]
    OutOfReach,
    #[error("no response within {0:?}")]
    Timeout(Duration),
    #[error("the response's body has more than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Unavailable(String),
}

impl Client {
    pub(super) fn new(trust: Trust) -> Self {
        Self { trust, pools: Arc::default() }
    }

    /// Sends a request to an absolute URL and collects the response.
    ///
    /// # Errors
    /// Any [`SendError`].
    pub async fn send(&self, request: Request<Bytes>, terms: Terms) -> Result<Response<Bytes>, SendError> {
        if literal_is_out_of_reach(request.uri(), terms.reach) {
            return Err(SendError::OutOfReach);
        }
        let connections = match terms.reach {
            Reach::Public => &self.pools().public,
            Reach::Anywhere => &self.pools().anywhere,
        };
        let exchange = async {
            let response = connections.request(request.map(Full::new)).await.map_err(|error| {
                if is_out_of_reach(&error) { SendError::OutOfReach } else { SendError::Unavailable(in_full(&error)) }
            })?;
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, collect(body, terms.body_bytes_max).await?))
        };
        tokio::time::timeout(terms.timeout, exchange).await.map_err(|_| SendError::Timeout(terms.timeout))?
    }

    fn pools(&self) -> &Pools {
        self.pools.get_or_init(|| Pools {
            public: connections(self.trust.tls(), Reach::Public),
            anywhere: connections(self.trust.tls(), Reach::Anywhere),
        })
    }
}

async fn collect(mut body: Incoming, bytes_max: usize) -> Result<Bytes, SendError> {
    // What says beforehand that it is too long need not be read.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(SendError::TooLarge(bytes_max));
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| SendError::Unavailable(in_full(&error)))?;
        if let Some(data) = frame.data_ref() {
            if data.len() > bytes_max - whole.len() {
                return Err(SendError::TooLarge(bytes_max));
            }
            whole.extend_from_slice(data);
        }
    }
    Ok(whole.freeze())
}
