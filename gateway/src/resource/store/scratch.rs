//! Changes over a store that nobody else sees: a plugin on trial reads what is there, and what it writes goes nowhere.
//!
//! Changes are kept in memory for a minute at most, so that the one on trial goes on from what the store has become. They
//! are not made in one step: no two parties that matter race for them.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::memory::{Memory, number};
use super::{OpenPlace, StoreFault};

pub(super) async fn get(changes: &Memory, place: &OpenPlace, key: &str) -> Result<Option<Bytes>, StoreFault> {
    match changes.get(key, Instant::now()) {
        Some(change) if change[0] == DELETED => Ok(None),
        Some(change) => Ok(Some(change.slice(1..))),
        None => place.get(key).await,
    }
}

/// `None` hides the value that is in the store.
pub(super) fn set(changes: &Memory, key: &str, value: Option<&[u8]>, ttl: Option<Duration>) -> Result<(), StoreFault> {
    let change = match value {
        Some(value) => [&[PRESENT], value].concat(),
        None => vec![DELETED],
    };
    let ttl = ttl.map_or(TTL_MAX, |ttl| ttl.min(TTL_MAX));
    changes.set(key, change.into(), Some(ttl), Instant::now())
}

pub(super) async fn delete(changes: &Memory, place: &OpenPlace, key: &str) -> Result<bool, StoreFault> {
    let lived = get(changes, place, key).await?.is_some();
    set(changes, key, None, None)?;
    Ok(lived)
}

pub(super) async fn increment(
    changes: &Memory,
    place: &OpenPlace,
    key: &str,
    by: i64,
    ttl: Option<Duration>,
) -> Result<i64, StoreFault> {
    let old = match get(changes, place, key).await? {
        Some(value) => number(&value).ok_or(StoreFault::NotANumber)?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(StoreFault::NotANumber)?;
    set(changes, key, Some(new.to_string().as_bytes()), ttl)?;
    Ok(new)
}

pub(super) async fn compare_and_set(
    changes: &Memory,
    place: &OpenPlace,
    key: &str,
    expected: Option<&[u8]>,
    value: &[u8],
    ttl: Option<Duration>,
) -> Result<bool, StoreFault> {
    let is_expected = get(changes, place, key).await?.as_deref() == expected;
    if is_expected {
        set(changes, key, Some(value), ttl)?;
    }
    Ok(is_expected)
}

/// The first byte of a change.
const DELETED: u8 = 0;
const PRESENT: u8 = 1;
const TTL_MAX: Duration = Duration::from_secs(60);
