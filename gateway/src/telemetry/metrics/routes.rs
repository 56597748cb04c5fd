//! The metric families of routes: their circuits, and what their limits decided.

use std::collections::BTreeMap;

use prometheus::proto::{MetricFamily, MetricType};

use super::Samples;
use super::families::{counter, family, gauge, number};

/// All that have a metric.
pub(super) fn of(samples: &Samples) -> Vec<MetricFamily> {
    // A route with two circuits has one series for a state: how many of them are in it.
    let mut states: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    let mut refused: BTreeMap<&str, u64> = BTreeMap::new();
    for circuit in &samples.circuits {
        for (state, is_in_it) in circuit.states {
            *states.entry((&circuit.route, state)).or_default() += u64::from(is_in_it);
        }
        *refused.entry(&circuit.route).or_default() += circuit.refused;
    }
    let decisions = samples.limits.iter().flat_map(|limit| {
        let metric = |(decision, count)| counter(number(count), vec![("route", &limit.route), ("decision", decision)]);
        limit.decisions.into_iter().map(metric)
    });
    let families = [
        family(
            "witgate_circuit_state",
            "Circuit breakers of a route that are in a state.",
            MetricType::GAUGE,
            states
                .iter()
                .map(|((route, state), count)| gauge(number(*count), vec![("route", route), ("state", state)])),
        ),
        family(
            "witgate_circuit_refused_total",
            "Requests that an open circuit did not let pass.",
            MetricType::COUNTER,
            refused.iter().map(|(route, count)| counter(number(*count), vec![("route", route)])),
        ),
        family(
            "witgate_rate_limit_total",
            "Requests to routes with limits, by what was decided.",
            MetricType::COUNTER,
            decisions,
        ),
    ];
    families.into_iter().filter(|family| !family.get_metric().is_empty()).collect()
}
