//! Which version of a plugin serves a request, while a second one is on trial.

use std::rc::Rc;

use super::exchange::Exchange;
use crate::plugin::TrialMode;

/// Whether this exchange is for the version on trial: decided at the first hook that asks, the same to the exchange's end.
pub(super) fn is_for_trial(place: usize, exchange: &mut Exchange) -> bool {
    if exchange.lanes[place].trial.is_none() {
        return false;
    }
    let lanes = Rc::clone(&exchange.lanes);
    let Some(trial) = &lanes[place].trial else { return false };
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
