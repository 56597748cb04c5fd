//! End-to-end tests: the gateway as its users see it, over sockets, signals, exit codes and its log.
//!
//! One file a noun, one sentence a test: upstream, gateway, client, assert. How they start things and wait stands in `tests/harness`.
//! What a single room promises is tested in that room.

mod access_log;
mod author;
mod balancing;
mod admin;
mod admin_abuse;
mod audit;
mod bodies;
mod broken_bodies;
mod bundled_api_key;
mod bundled_jwt;
mod bundled_policy;
mod bundled_rewrite;
mod capabilities;
mod circuits;
mod cli;
mod commands;
mod config_api;
mod config_consul;
mod config_damage;
mod config_files;
mod config_outages;
mod config_races;
mod config_servers;
mod connections;
mod contract;
mod corpora;
mod discovery;
mod documents;
mod drain;
mod explain;
mod faults;
mod filters;
mod forwarding;
mod grpc;
mod harness_itself;
mod health;
mod hostile;
mod http2;
mod http2_abuse;
mod http2_conformance;
mod jwt;
mod inspect;
mod limits;
mod mirrors;
mod outbound;
mod native;
mod overload;
mod observability;
mod plugin_spans;
mod plugins;
mod protocols_over_tls;
mod proxy_protocol;
mod proxying;
mod rate_limits;
mod refused;
mod refused_heads;
mod rehearsals;
mod releases;
mod reload;
mod request_metrics;
mod retries;
mod routing;
mod schemas;
mod sockets;
mod strictness;
mod slow_clients;
mod sources;
mod streaming;
mod swaps;
mod systemd;
mod timeouts;
#[cfg(feature = "acme")]
mod tls_acme;
mod tracing;
mod tls_certificates;
mod tls_clients;
mod tls_example;
mod tls_handshakes;
mod tls_renewal;
mod transforms;
mod upgrade;
mod upstream_faults;
mod upstream_http2;
mod upstream_limits;
mod upstream_tls;
mod upstreams;
mod upgrades;
mod websocket;
mod whole_bodies;

use harness::Binary;

/// The gateway under test.
const GATEWAY: Binary = Binary::new(env!("CARGO_BIN_EXE_witgate-under-test"), env!("CARGO_TARGET_TMPDIR"));
