//! What the tests of all native filters share; and that the table is in order.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use super::*;
use crate::filter::{Connection, Exchange};
use crate::plugin::GuestTime;

/// An exchange that has just begun, for the tests of all native filters.
pub(super) fn exchange(method: &str, uri: &str, fields: &[(&str, &str)]) -> Exchange {
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let connection = Connection::new("http".into(), Ipv4Addr::LOCALHOST.into(), "http");
    let (head, ()) = request.body(()).unwrap().into_parts();
    Exchange::new(Rc::new(connection), head, Rc::new([]), GuestTime::new(Duration::from_secs(1)))
}

/// A filter on a route of its own, in a gateway that has nothing.
pub(super) fn filter(name: &str, config: Value) -> Arc<dyn Filter> {
    let mut natives = Natives::new(Offer::default(), None);
    natives.build(&"route".into(), name, &config).unwrap().unwrap_or_else(|error| panic!("{error:?}"))
}

/// The same for a config that is refused, and what is told then.
pub(super) fn faults(name: &str, config: Value) -> String {
    match Natives::new(Offer::default(), None).build(&"route".into(), name, &config).unwrap() {
        Ok(_) => panic!("{name} takes {config}"),
        Err(ConfigError::Filter(words)) => words,
        Err(ConfigError::Schema(faults)) => {
            faults.into_iter().map(|fault| format!("{:?}: {}", fault.steps, fault.message)).collect()
        }
    }
}

#[test]
fn the_configuration_knows_the_same_names() {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(names, config::NATIVE_FILTERS);
}

#[test]
fn every_schema_describes_its_keys() {
    for Kind { name, schema, .. } in KINDS {
        let schema = schema();
        let keys = schema["properties"].as_object().into_iter().flatten();
        for (key, property) in keys {
            assert!(property["description"].is_string(), "{name}: {key}");
        }
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
}
