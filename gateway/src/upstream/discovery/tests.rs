//! Answers that are good, and those that change nothing.

use super::*;

fn found(count: usize) -> Found {
    (0..count).map(|number| (Endpoint::Tcp { host: format!("host-{number:05}"), port: 80 }, 1)).collect()
}

#[test]
fn a_good_answer_is_in_order_and_has_each_endpoint_once() {
    let mut twice = found(3);
    twice.reverse();
    twice.extend(found(3));
    assert_eq!(good(twice).expect("good"), found(3));
}

#[test]
fn answers_that_are_empty_or_too_large_are_none() {
    assert!(matches!(good(found(0)), Err(DiscoveryError::Empty)));
    assert_eq!(good(found(ENDPOINTS_MAX)).expect("good").len(), ENDPOINTS_MAX);
    assert!(matches!(good(found(ENDPOINTS_MAX + 1)), Err(DiscoveryError::TooMany)));
}
