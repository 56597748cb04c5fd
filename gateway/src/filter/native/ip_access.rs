//! `ip-access`: lets clients pass, or not, by their addresses: those behind trusted proxies, as the listener finds them out.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use crate::filter::{Exchange, Filter, Reply, Step, Verdict};

/// Networks, such as `10.0.0.0/8` and `2001:db8::/32`, or single addresses.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IpAccess")]
pub(super) struct Options {
    /// Where this is given, nobody else passes.
    #[serde(default)]
    allow: Vec<String>,
    /// Nobody of these passes, whatever `allow` says.
    #[serde(default)]
    deny: Vec<String>,
}

/// The filter.
struct IpAccess {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
}

impl super::Options for Options {
    fn build(self, _: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        if self.allow.is_empty() && self.deny.is_empty() {
            return Err("this filter does nothing without `allow` or `deny`".to_owned());
        }
        Ok(Arc::new(IpAccess { allow: networks("allow", &self.allow)?, deny: networks("deny", &self.deny)? }))
    }
}

fn networks(at: &str, texts: &[String]) -> Result<Vec<IpNet>, String> {
    let network = |(index, text): (usize, &String)| {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let parsed: Result<IpNet, _> = text.parse().or_else(|_| address());
        parsed.map_err(|_| format!("{at}[{index}]: `{text}` is no network and no address"))
    };
    texts.iter().enumerate().map(network).collect()
}

impl Filter for IpAccess {
    fn name(&self) -> &'static str {
        "ip-access"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if self.admits(exchange.client) {
            return Step::Done(Verdict::Next);
        }
        let detail = "this address has no access here";
        Step::Done(Verdict::Respond(Box::new(Reply::problem(StatusCode::FORBIDDEN, detail, &exchange.request_id))))
    }
}

impl IpAccess {
    fn admits(&self, client: IpAddr) -> bool {
        // An IPv4 client that was written as an IPv6 address is the same client.
        let client = client.to_canonical();
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&client));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    fn passes(config: serde_json::Value, client: &str) -> bool {
        let filter = filter("ip-access", config);
        let mut exchange = exchange("GET", "/", &[]);
        exchange.client = client.parse().expect("an address");
        match filter.on_request(&mut exchange) {
            Step::Done(Verdict::Next) => true,
            Step::Done(Verdict::Respond(reply)) if reply.status == StatusCode::FORBIDDEN => false,
            _ => panic!("neither"),
        }
    }

    #[test]
    fn deny_wins_and_allow_leaves_everybody_else_out() {
        let both = || json!({"allow": ["10.0.0.0/8", "2001:db8::1"], "deny": ["10.1.0.0/16"]});
        for (client, expected) in [
            ("10.2.0.1", true),
            ("10.1.0.1", false),
            ("11.0.0.1", false),
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("::ffff:10.2.0.1", true),
            ("::ffff:10.1.0.1", false),
        ] {
            assert_eq!(passes(both(), client), expected, "{client}");
        }
        assert!(passes(json!({"deny": ["10.0.0.0/8"]}), "11.0.0.1"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "does nothing"),
            (json!({"allow": ["10.0.0.0/8", "10.0.0.0/33"]}), "allow[1]: `10.0.0.0/33`"),
            (json!({"deny": ["localhost"]}), "deny[0]: `localhost`"),
        ] {
            let error = faults("ip-access", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
