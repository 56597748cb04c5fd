//! Which version of a plugin serves a request, while a second one is on trial.

use super::exchange::Exchange;
use crate::plugin::{Lane, Side, TrialMode};

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
    let key = sticky.as_ref().and_then(|key| exchange.hash_by(key));
    // A client that does not say who it is gets its turn like anybody.
    let chosen = key.map_or_else(|| share.takes(&trial.turn), |hash| share.holds(hash));
    exchange.choose(place, chosen);
    chosen
}
