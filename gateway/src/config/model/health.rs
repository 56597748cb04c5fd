//! Which endpoints of an upstream get requests: by checks, and by how their requests went.

use std::time::Duration;

/// Checks that the gateway makes of each endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub probe: Probe,
    /// From one check to the next, give or take a tenth; 5 s.
    pub interval: Duration,
    /// For one check; 1 s.
    pub timeout: Duration,
    /// Failures in a row that take an endpoint out; 3.
    pub unhealthy_after: u32,
    /// Successes in a row that bring it back; 2.
    pub healthy_after: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// `GET` of this path is answered with one of the statuses; empty is 200 to 299.
    Http { path: String, statuses: Vec<u16> },
    /// A connection can be made.
    Tcp,
    /// The service, or with an empty name the whole server, says that it serves (gRPC health checking protocol).
    Grpc { service: String },
}

/// Key `outlier_ejection`: when endpoints that fail their requests take none for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierEjection {
    /// In a row; 5. Not only responses of 5xx: also none in time, broken off, and slower than `latency`.
    pub consecutive_5xx: u32,
    /// In a row; 5.
    pub connect_failures: u32,
    pub latency: Option<Duration>,
    /// The first time; longer each time. 30 s.
    pub eject_for: Duration,
    /// Of the endpoints, in percent; 50.
    pub max_ejected: f64,
}
