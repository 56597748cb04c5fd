//! Which version of a plugin serves a request, while a second one is on trial.

use sha2::{Digest, Sha256};

use super::exchange::Exchange;
use crate::plugin::{Lane, Side, StickyKey, TrialMode};

/// The side of a lane that serves this exchange: chosen at the first hook that asks, the same to the exchange's end.
pub(super) fn side(place: usize, exchange: &mut Exchange) -> Side {
    let lanes = exchange.lanes.clone();
    let lane = &lanes[place];
    match &lane.trial {
        Some(trial) if is_for_trial(place, lane, exchange) => trial.side.clone(),
        _ => lane.stable.clone(),
    }
}

fn is_for_trial(place: usize, lane: &Lane, exchange: &mut Exchange) -> bool {
    let Some(trial) = &lane.trial else { return false };
    let TrialMode::Canary { share, sticky } = &trial.trial.mode else { return false };
    if let Some(chosen) = exchange.chosen(place) {
        return chosen;
    }
    let key = sticky.as_ref().and_then(|key| sticky_hash(key, exchange));
    // A client that does not say who it is gets its turn like anybody.
    let chosen = key.map_or_else(|| share.takes(&trial.turn), |hash| share.holds(hash));
    exchange.choose(place, chosen);
    chosen
}

/// The same in every worker, gateway and release, so that a client stays on its side.
fn sticky_hash(key: &StickyKey, exchange: &Exchange) -> Option<u64> {
    let hash = |bytes: &[u8]| Sha256::digest(bytes).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
    match key {
        StickyKey::Header(name) => exchange.headers.get(name).map(|value| hash(value.as_bytes())),
        StickyKey::Cookie(name) => cookie(exchange, name).map(|value| hash(value.as_bytes())),
        StickyKey::ClientIp => Some(hash(exchange.client.to_string().as_bytes())),
    }
}

/// A cookie's value (RFC 6265 §4.2.1).
fn cookie<'e>(exchange: &'e Exchange, name: &str) -> Option<&'e str> {
    let values = exchange.headers.get_all(http::header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}
