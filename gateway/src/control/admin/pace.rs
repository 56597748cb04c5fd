//! Pace: how often a client may ask, and how many wrong tokens it may show. Both are bounded by client, so that one that goes on and on
//! takes nothing from the others, and so that nobody finds a token by trying.
//!
//! The limiters of `resource` are made for millions of keys and always take; here a look must cost nothing, and a lock does no harm.
//!
//! A client is a token's name where it has shown one that is known, or else its address: of IPv6 the /64, which is what one subscriber has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::socket::Peer;

/// So many in each period, with so many at once.
#[derive(Debug, Clone, Copy)]
pub struct AdminRate {
    pub count: u32,
    pub period: Duration,
    pub burst: u32,
}

/// The buckets of clients (GCRA), a bounded number of them.
#[derive(Debug)]
pub(super) struct Pace {
    rate: AdminRate,
    buckets: Mutex<Buckets>,
}

/// When each bucket is full again. One that is full is the same as none.
#[derive(Debug, Default)]
struct Buckets {
    full_at: HashMap<String, Instant>,
    /// Of clients for which there is no room.
    shared: Option<Instant>,
}

impl Pace {
    pub(super) fn new(rate: AdminRate) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Takes one; or tells how long it is until there is one.
    pub(super) fn take(&self, client: &str, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.full_at(client, now).unwrap_or(now).max(now);
        self.room(full_at, now)?;
        buckets.set(client, full_at + self.interval(), now);
        Ok(())
    }

    /// Whether there is one to take; or how long it is until there is.
    pub(super) fn look(&self, client: &str, now: Instant) -> Result<(), Duration> {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        self.room(buckets.full_at(client, now).unwrap_or(now).max(now), now)
    }

    fn room(&self, full_at: Instant, now: Instant) -> Result<(), Duration> {
        let missing = full_at - now + self.interval();
        missing.checked_sub(self.interval() * self.rate.burst).filter(|wait| !wait.is_zero()).map_or(Ok(()), Err)
    }

    fn interval(&self) -> Duration {
        self.rate.period / self.rate.count.max(1)
    }
}

impl Buckets {
    fn full_at(&self, client: &str, now: Instant) -> Option<Instant> {
        let own = self.full_at.get(client).copied();
        let has_room = self.full_at.len() < CLIENTS_MAX || self.full_at.values().any(|full_at| *full_at <= now);
        own.or(self.shared.filter(|_| !has_room))
    }

    fn set(&mut self, client: &str, full_at: Instant, now: Instant) {
        if let Some(own) = self.full_at.get_mut(client) {
            *own = full_at;
            return;
        }
        if self.full_at.len() >= CLIENTS_MAX {
            self.full_at.retain(|_, full_at| now < *full_at);
        }
        if self.full_at.len() >= CLIENTS_MAX {
            self.shared = Some(full_at);
        } else {
            self.full_at.insert(client.to_owned(), full_at);
        }
    }
}

/// What a client without a known token is known by.
pub(super) fn address(peer: &Peer) -> String {
    match peer {
        Peer::Unix { uid } => format!("uid {}", uid.map_or_else(String::new, |uid| uid.to_string())),
        Peer::Tcp { client, .. } => match client.ip().to_canonical() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        },
    }
}

/// Clients with a bucket of their own; all others share one.
const CLIENTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// 10 a second, 3 at once.
    fn pace() -> (Pace, Instant) {
        (Pace::new(AdminRate { count: 10, period: SECOND, burst: 3 }), Instant::now())
    }

    #[test]
    fn a_client_has_its_burst_and_then_its_rate() {
        let (pace, now) = pace();
        for _ in 0..3 {
            pace.take("a", now).unwrap();
        }
        assert_eq!(pace.take("a", now), Err(SECOND / 10), "it says how long it is");
        assert_eq!(pace.look("a", now), Err(SECOND / 10), "and looking takes nothing");
        pace.take("b", now).unwrap();
        let later = now + SECOND / 10;
        pace.look("a", later).unwrap();
        pace.take("a", later).unwrap();
        pace.take("a", later).unwrap_err();
        let much_later = later + SECOND;
        assert_eq!((0..5).filter(|_| pace.take("a", much_later).is_ok()).count(), 3);
    }

    #[test]
    fn beyond_the_last_bucket_clients_share_one_until_others_are_full_again() {
        let (pace, now) = pace();
        for number in 0..CLIENTS_MAX {
            pace.take(&format!("filler {number}"), now).unwrap();
        }
        assert_eq!((0..5).filter(|number| pace.take(&format!("new {number}"), now).is_ok()).count(), 3);
        pace.look("newest", now).unwrap_err();
        pace.take("filler 0", now).unwrap();
        let later = now + SECOND;
        assert_eq!((0..5).filter(|number| pace.take(&format!("new {number}"), later).is_ok()).count(), 5);
        assert!(pace.buckets.lock().unwrap().full_at.len() <= CLIENTS_MAX);
    }

    #[test]
    fn a_subscriber_is_one_client_however_many_addresses_it_has() {
        let of = |client: &str| {
            address(&Peer::Tcp { client: client.parse().unwrap(), server: "127.0.0.1:9901".parse().unwrap() })
        };
        assert_eq!(of("[2001:db8:1:2::3]:1"), of("[2001:db8:1:2:ffff::4]:2"));
        assert_ne!(of("[2001:db8:1:2::3]:1"), of("[2001:db8:1:3::3]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:2"));
        assert_ne!(of("192.0.2.1:1"), of("192.0.2.2:1"));
        assert_eq!(address(&Peer::Unix { uid: Some(7) }), "uid 7");
    }
}
