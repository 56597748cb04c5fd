//! Shares follow weights, keys stay where they are, and endpoints that are out get nothing. The bounds of what is random lie
//! so far out that a fair choice leaves them once in many millions of runs.

use std::time::{Duration, Instant};

use super::*;
use crate::upstream::InFlight;

struct Members {
    endpoints: Vec<Arc<Endpoint>>,
    states: Vec<Arc<EndpointState>>,
    balancer: Balancer,
}

const ALL_BUT_HASHING: [Balance; 4] = [Balance::RoundRobin, Balance::Random, Balance::LeastRequest, Balance::P2cEwma];
const HASHING: [Balance; 2] = [Balance::Maglev, Balance::RingHash];

fn named(names: impl IntoIterator<Item = usize>) -> Vec<Arc<Endpoint>> {
    let endpoint =
        |name: usize| Arc::new(Endpoint::Tcp { host: format!("10.0.{}.{}", name / 256, name % 256), port: 80 });
    names.into_iter().map(endpoint).collect()
}

fn members(balance: Balance, weights: &[u32]) -> Members {
    let endpoints = named(0..weights.len());
    let states = endpoints.iter().map(|_| Arc::default()).collect();
    let balancer = Balancer::new(balance, &endpoints, weights);
    Members { endpoints, states, balancer }
}

impl Members {
    fn pick(&self, hash: u64, admits: impl Fn(usize) -> bool) -> Option<usize> {
        self.balancer.pick(Some(mixed(hash)), &self.states, |place, _| admits(place))
    }

    /// How many of `count` requests each endpoint gets, each with a hash of its own.
    fn shares(&self, count: u64, admits: impl Fn(usize) -> bool) -> Vec<u64> {
        let mut shares = vec![0; self.states.len()];
        for request in 0..count {
            shares[self.pick(request, &admits).expect("an endpoint")] += 1;
        }
        shares
    }
}

/// Whether a share is what it should be, give or take a part of it.
fn assert_near(share: u64, expected: f64, tolerance: f64, what: &str) {
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let off = (share as f64 - expected).abs() / expected;
    assert!(off <= tolerance, "{what}: {share} in the place of {expected}");
}

#[test]
fn requests_are_shared_out_by_weight() {
    for (name, balance) in Balance::ALL {
        let shares = members(balance, &[1, 2, 0, 5]).shares(80_000, |_| true);
        assert_eq!(shares[2], 0, "{name}: weight 0");
        let tolerance = if balance == Balance::RingHash { 0.4 } else { 0.06 };
        for (place, expected) in [(0, 10_000.0), (1, 20_000.0), (3, 50_000.0)] {
            assert_near(shares[place], expected, tolerance, name);
        }
    }
}

#[test]
fn a_thousand_endpoints_all_get_their_share() {
    for (name, balance) in Balance::ALL {
        let shares = members(balance, &vec![1; 1000]).shares(1_000_000, |_| true);
        let tolerance = if balance == Balance::RingHash { 0.5 } else { 0.25 };
        for share in shares {
            assert_near(share, 1000.0, tolerance, name);
        }
    }
}

#[test]
fn nobody_is_picked_where_nobody_has_weight_or_there_is_nobody() {
    for (name, balance) in Balance::ALL {
        for weights in [&[][..], &[0, 0]] {
            assert_eq!(members(balance, weights).pick(1, |_| true), None, "{name}");
        }
        assert_eq!(members(balance, &[1, 1]).pick(1, |_| false), None, "{name}");
        assert_eq!(members(balance, &[0, 1]).pick(1, |_| true), Some(1), "{name}");
    }
}

#[test]
fn the_share_of_who_is_out_goes_to_all_others() {
    for (name, balance) in Balance::ALL {
        let shares = members(balance, &[1; 8]).shares(70_000, |place| place != 3);
        assert_eq!(shares[3], 0, "{name}");
        // Not to the next in turn, who would get twice as much.
        let tolerance = if balance == Balance::RingHash { 0.5 } else { 0.1 };
        for (place, share) in shares.into_iter().enumerate().filter(|(place, _)| *place != 3) {
            assert_near(share, 10_000.0, tolerance, &format!("{name}, {place}"));
        }
    }
}

#[test]
fn half_of_the_endpoints_out_is_no_trouble() {
    for (name, balance) in Balance::ALL {
        let shares = members(balance, &[1; 100]).shares(50_000, |place| place % 2 == 0);
        assert!(shares.iter().skip(1).step_by(2).all(|share| *share == 0), "{name}");
        assert!(shares.iter().step_by(2).all(|share| *share > 300), "{name}: {shares:?}");
    }
}

#[test]
fn a_key_stays_at_its_endpoint_and_another_key_at_its_own() {
    for balance in HASHING {
        let members = members(balance, &[1; 10]);
        for key in 0..1000 {
            let first = members.pick(key, |_| true);
            assert!((0..3).all(|_| members.pick(key, |_| true) == first), "{balance:?}");
        }
    }
}

#[test]
fn the_order_in_which_endpoints_are_told_does_not_matter() {
    for balance in HASHING {
        let here = named(0..20);
        let there: Vec<_> = here.iter().rev().cloned().collect();
        let states: Vec<Arc<EndpointState>> = here.iter().map(|_| Arc::default()).collect();
        let (one, other) = (Balancer::new(balance, &here, &[1; 20]), Balancer::new(balance, &there, &[1; 20]));
        for key in (0..1000).map(mixed) {
            let at = |balancer: &Balancer, endpoints: &[Arc<Endpoint>]| {
                endpoints[balancer.pick(Some(key), &states, |_, _| true).expect("one")].clone()
            };
            assert_eq!(at(&one, &here), at(&other, &there), "{balance:?}");
        }
    }
}

#[test]
fn keys_move_only_when_they_have_to() {
    for (balance, most) in [(Balance::Maglev, 0.15), (Balance::RingHash, 0.0)] {
        let (full, fewer) = (members(balance, &[1; 20]), members(balance, &[1; 19]));
        let (mut stayed, mut moved) = (0, 0);
        for key in 0..20_000 {
            let (before, after) = (full.pick(key, |_| true).expect("one"), fewer.pick(key, |_| true).expect("one"));
            match before {
                19 => {}
                _ if before == after => stayed += 1,
                _ => moved += 1,
            }
        }
        assert!(f64::from(moved) <= most * f64::from(stayed), "{balance:?}: {moved} moved, {stayed} stayed");
        assert_eq!(full.endpoints[..19], fewer.endpoints[..]);
    }
}

#[test]
fn keys_of_others_do_not_move_while_an_endpoint_is_out_and_its_own_come_back() {
    for balance in HASHING {
        let members = members(balance, &[1; 20]);
        for key in 0..5000 {
            let before = members.pick(key, |_| true);
            let meanwhile = members.pick(key, |place| place != 7);
            assert!(if before == Some(7) { meanwhile != Some(7) } else { meanwhile == before }, "{balance:?}");
            assert_eq!(members.pick(key, |_| true), before);
        }
    }
}

#[test]
fn without_a_key_hashing_balancers_spread() {
    for balance in HASHING {
        let members = members(balance, &[1; 4]);
        let mut shares = [0; 4];
        for _ in 0..4000 {
            shares[members.balancer.pick(None, &members.states, |_, _| true).expect("one")] += 1;
        }
        assert!(shares.iter().all(|share| *share > 400), "{shares:?}");
    }
}

#[test]
fn the_less_busy_one_is_preferred() {
    for balance in [Balance::LeastRequest, Balance::P2cEwma] {
        let members = members(balance, &[1; 2]);
        let _busy: Vec<InFlight> = (0..3).map(|_| members.states[0].begin()).collect();
        let shares = members.shares(1000, |_| true);
        // Both are drawn, unless the same one is drawn five times in a row.
        assert!(shares[1] > 900, "{balance:?}: {shares:?}");
    }
}

#[test]
fn tries_under_way_count_by_weight() {
    let members = members(Balance::LeastRequest, &[3, 1]);
    let _busy: Vec<InFlight> = [0, 0, 1].into_iter().map(|place: usize| members.states[place].begin()).collect();
    // Two of three are less than one of one.
    assert!(members.shares(1000, |_| true)[0] > 900);
}

#[test]
fn the_faster_one_is_preferred_until_it_is_busy() {
    let members = members(Balance::P2cEwma, &[1; 2]);
    for (state, millis) in members.states.iter().zip([1, 10]) {
        state.latency.record(Duration::from_millis(millis), state.ticks(Instant::now()));
    }
    assert!(members.shares(1000, |_| true)[0] > 900);
    let _busy: Vec<InFlight> = (0..20).map(|_| members.states[0].begin()).collect();
    assert!(members.shares(1000, |_| true)[1] > 900);
}

#[test]
fn only_a_hashing_balancer_tells_the_same_coin_for_the_same_key() {
    for (name, balance) in Balance::ALL {
        let members = members(balance, &[1]);
        let coin = |hash| {
            let told = std::cell::Cell::new(0);
            members.balancer.pick(Some(hash), &members.states, |_, coin| {
                told.set(coin);
                true
            });
            told.get()
        };
        assert_ne!(coin(1), coin(2), "{name}");
        assert_eq!(coin(1) == coin(1), !ALL_BUT_HASHING.contains(&balance), "{name}");
    }
}
