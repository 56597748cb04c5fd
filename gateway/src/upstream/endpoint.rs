//! An endpoint: where it listens, and how it does.
//!
//! What is known of how it does is shared by all workers and outlives snapshots. All of it is atomics; each stands for itself,
//! so that none needs an order beside the others.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

use super::latency::Latency;

/// Where one server of an upstream listens. Displayed as `HOST:PORT` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    Tcp {
        /// Name or address.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Endpoint {
    /// What a request is for that comes without a `Host`. A socket file is no host.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Tcp { .. } => self.to_string(),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Name or address of the host, if there is one.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }

    pub(super) async fn connect(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((&**host, *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Left(stream))
            }
            Self::Unix(path) => UnixStream::connect(path).await.map(Socket::Right),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The socket of a connection to an endpoint.
pub(super) type Socket = Either<TcpStream, UnixStream>;

/// How an endpoint does.
#[derive(Debug)]
pub struct EndpointState {
    born: Instant,
    in_flight: AtomicU32,
    pub(super) latency: Latency,
    /// Why it takes no requests; 0 when it does.
    out: AtomicU8,
    /// When it last came back, in milliseconds after `born`; 0 once that is long ago.
    back_since: AtomicU64,
    pub(super) ejected: Ejected,
}

/// What passive ejection remembers of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Ejected {
    /// In a row.
    pub(super) failures: AtomicU32,
    /// In a row.
    pub(super) connect_failures: AtomicU32,
    /// How often, lately.
    pub(super) times: AtomicU32,
    /// In milliseconds after `born`: until when it is ejected, or was.
    pub(super) until: AtomicU64,
}

/// A try that is under way. Dropping it ends it.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

/// Why an endpoint takes no requests. It may have both reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Out {
    FailsChecks = 1,
    Ejected = 2,
}

impl EndpointState {
    pub fn new() -> Self {
        Self {
            born: Instant::now(),
            in_flight: AtomicU32::new(0),
            latency: Latency::default(),
            out: AtomicU8::new(0),
            back_since: AtomicU64::new(0),
            ejected: Ejected::default(),
        }
    }

    /// That of an endpoint that joins others, and gets its share by and by (`slow_start`).
    pub fn joining() -> Self {
        let state = Self::new();
        state.back_since.store(1, Relaxed);
        state
    }

    /// Tries under way, over all workers.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// The moving average of its latency, where the balancer keeps one.
    pub fn latency(&self) -> Option<Duration> {
        self.latency.read(self.ticks(Instant::now())).map(Duration::from_secs_f64)
    }

    /// Whether neither checks nor failures speak against it.
    pub fn is_healthy(&self) -> bool {
        self.out.load(Relaxed) == 0
    }

    pub fn fails_checks(&self) -> bool {
        self.is_out(Out::FailsChecks)
    }

    pub fn is_ejected(&self) -> bool {
        self.is_out(Out::Ejected)
    }

    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    /// Takes it out for a reason; says whether that is news.
    pub(super) fn take_out(&self, why: Out) -> bool {
        self.out.fetch_or(why as u8, Relaxed) & why as u8 == 0
    }

    /// Takes the reason away; says whether it was there. Without any left, the endpoint is back.
    pub(super) fn bring_back(&self, why: Out) -> bool {
        let before = self.out.fetch_and(!(why as u8), Relaxed);
        if before == why as u8 {
            self.back_since.store(self.millis(Instant::now()).max(1), Relaxed);
        }
        before & why as u8 != 0
    }

    fn is_out(&self, why: Out) -> bool {
        self.out.load(Relaxed) & why as u8 != 0
    }

    /// Whether it takes a request that would be its own, while it comes back over `window`: more and more do, from a tenth
    /// to all. `coin` is any number of 32 bits, evenly spread.
    pub(super) fn takes_its_share(&self, window: Duration, coin: u32) -> bool {
        let since = self.back_since.load(Relaxed);
        if since == 0 {
            return true;
        }
        let elapsed = Duration::from_millis(self.millis(Instant::now()).saturating_sub(since));
        if elapsed >= window {
            self.back_since.store(0, Relaxed);
            return true;
        }
        let share = elapsed.div_duration_f64(window).max(SLOW_START_SHARE_MIN);
        f64::from(coin) < share * f64::from(u32::MAX)
    }

    pub(super) fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// The time in the unit of [`Latency`].
    #[allow(clippy::cast_possible_truncation, reason = "it wraps, as `Latency` knows")]
    pub(super) fn ticks(&self, now: Instant) -> u32 {
        (now.saturating_duration_since(self.born).as_micros() / Latency::TICK.as_micros()) as u32
    }
}

impl Default for EndpointState {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What an endpoint that comes back gets of its share at least.
const SLOW_START_SHARE_MIN: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_displayed_as_authorities() {
        let endpoint = |host: &str| Endpoint::Tcp { host: host.to_owned(), port: 80 }.to_string();
        assert_eq!((endpoint("users").as_str(), endpoint("::1").as_str()), ("users:80", "[::1]:80"));
        let file = Endpoint::Unix("/run/a.sock".into());
        assert_eq!((file.to_string().as_str(), file.authority().as_str()), ("unix:/run/a.sock", "localhost"));
    }

    #[test]
    fn a_try_counts_until_it_is_dropped() {
        let state = Arc::new(EndpointState::new());
        let tries = [state.begin(), state.begin()];
        assert_eq!(state.in_flight(), 2);
        drop(tries);
        assert_eq!(state.in_flight(), 0);
    }

    #[test]
    fn it_is_healthy_once_every_reason_against_it_is_gone() {
        let state = EndpointState::new();
        assert!(state.take_out(Out::Ejected) && state.take_out(Out::FailsChecks) && !state.take_out(Out::Ejected));
        assert!(state.bring_back(Out::Ejected) && !state.bring_back(Out::Ejected) && !state.is_healthy());
        assert!(state.bring_back(Out::FailsChecks) && state.is_healthy());
    }

    #[test]
    fn who_comes_back_gets_a_tenth_first_and_all_in_the_end() {
        let state = EndpointState::joining();
        let long = Duration::from_secs(3600);
        assert!(state.takes_its_share(long, u32::MAX / 11) && !state.takes_its_share(long, u32::MAX / 9));
        // 30 minutes of 60.
        state.back_since.store(1, Relaxed);
        let half = EndpointState { born: Instant::now() - long / 2, ..state };
        assert!(half.takes_its_share(long, u32::MAX / 100 * 49) && !half.takes_its_share(long, u32::MAX / 100 * 51));
        assert!(half.takes_its_share(long / 3, u32::MAX), "its time is over");
        assert!(half.takes_its_share(long, u32::MAX), "and it stays so");
    }
}
