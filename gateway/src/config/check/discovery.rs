//! Checks of `discovery`: one source, and the keys that go with it.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::fault::Fault;
use super::super::model::{Discovery, DiscoveryServer, DiscoverySource};
use super::super::path::At;
use super::super::raw::RawDiscovery;
use super::Check;
use super::urls::{Url, host_and_port};

impl Check<'_> {
    pub(super) fn discovery(&mut self, at: &At<'_>, raw: &RawDiscovery) -> Option<Discovery> {
        let forms = [("dns", &raw.dns), ("srv", &raw.srv), ("etcd", &raw.etcd), ("consul", &raw.consul)];
        let forms = forms.map(|(key, text)| (key, text.as_deref()));
        let refresh = self.duration(&at.key("refresh"), raw.refresh, REFRESH);
        let (key, text) = self.one_of(at, "source of endpoints", "remove one of them", forms)?;
        self.belongings(at, key, raw);
        let source_at = at.key(key);
        let source = match key {
            "dns" => {
                let (host, port) = self.host_with_port(&source_at, text)?;
                DiscoverySource::Dns { host, port, resolver: self.resolver(at, raw)? }
            }
            "srv" => {
                if host_and_port(text).is_none_or(|(_, port)| port.is_some()) {
                    let fault = Fault::value(source_at, format!("`{text}` is not a name"));
                    self.fault(fault.help("write it as in `_http._tcp.users.internal`"));
                }
                DiscoverySource::Srv { name: text.to_owned(), resolver: self.resolver(at, raw)? }
            }
            "etcd" => {
                let prefix = self.required(at, "prefix", raw.prefix.as_ref());
                if prefix.is_some_and(String::is_empty) {
                    self.fault(Fault::value(at.key("prefix"), "an empty prefix would make endpoints of every key"));
                }
                if let (Some(_), None) = (&raw.password, &raw.user) {
                    let fault = Fault::key(at.key("password"), "a password is of no use without `user`");
                    self.fault(fault.help("name the user that it belongs to"));
                }
                let server = self.server(at, key, text, raw, raw.password.as_ref());
                DiscoverySource::Etcd { server: server?, user: raw.user.clone(), prefix: prefix?.clone() }
            }
            _ => {
                let service = self.required(at, "service", raw.service.as_ref());
                if service.is_some_and(String::is_empty) {
                    self.fault(Fault::value(at.key("service"), "this is not the name of a service"));
                }
                let server = self.server(at, key, text, raw, raw.token.as_ref());
                DiscoverySource::Consul { server: server?, service: service?.clone(), tag: raw.tag.clone() }
            }
        };
        Some(Discovery { source, refresh })
    }

    /// Each of the further keys goes with one or two sources.
    fn belongings(&mut self, at: &At<'_>, source: &str, raw: &RawDiscovery) {
        let keys: [(&str, bool, &[&str]); 8] = [
            ("resolver", raw.resolver.is_some(), &["dns", "srv"]),
            ("prefix", raw.prefix.is_some(), &["etcd"]),
            ("user", raw.user.is_some(), &["etcd"]),
            ("password", raw.password.is_some(), &["etcd"]),
            ("service", raw.service.is_some(), &["consul"]),
            ("tag", raw.tag.is_some(), &["consul"]),
            ("token", raw.token.is_some(), &["consul"]),
            ("tls", raw.tls.is_some(), &["etcd", "consul"]),
        ];
        for (key, is_given, sources) in keys {
            if is_given && !sources.contains(&source) {
                let fault = Fault::key(at.key(key), format!("`{key}` says nothing to `{source}`"));
                self.fault(fault.help(format!("remove it: it belongs to `{}`", sources.join("` and `"))));
            }
        }
    }

    fn host_with_port(&mut self, at: &At<'_>, text: &str) -> Option<(String, u16)> {
        let parts = host_and_port(text).and_then(|(host, port)| Some((host.to_owned(), port?.parse().ok()?)));
        let parts = parts.filter(|(_, port)| *port > 0);
        if parts.is_none() {
            let fault = Fault::value(at, format!("`{text}` is not a host with a port"));
            self.fault(fault.help("write it as in `users.internal:8080`"));
        }
        parts
    }

    /// `None` where it is wrong, `Some(None)` where there is none.
    fn resolver(&mut self, at: &At<'_>, raw: &RawDiscovery) -> Option<Option<SocketAddr>> {
        let Some(text) = &raw.resolver else { return Some(None) };
        let address = text.parse().ok();
        if address.is_none() {
            let fault = Fault::value(at.key("resolver"), format!("`{text}` is not an address with a port"));
            self.fault(fault.help("write it as in `10.0.0.2:53`"));
        }
        address.map(Some)
    }

    /// A server that `key` names by its URL, with what it takes to be let in.
    fn server(
        &mut self,
        at: &At<'_>,
        key: &'static str,
        url: &str,
        raw: &RawDiscovery,
        secret: Option<&String>,
    ) -> Option<DiscoveryServer> {
        let secret_at = at.key(if key == "etcd" { "password" } else { "token" });
        let secret = secret.and_then(|text| self.secret_ref(&secret_at, text));
        let url = self.origin(&at.key(key), url);
        let tls_at = at.key("tls");
        let (mut ca, mut identity) = (None, None);
        if let Some(tls) = &raw.tls {
            ca = tls.ca.as_ref().map(|path| self.path(&tls_at.key("ca"), path));
            identity = self.identity(&tls_at, tls.cert.as_ref(), tls.key.as_ref());
            if url.as_deref().is_some_and(|url| !url.starts_with("https:")) {
                let fault = Fault::key(tls_at, format!("`tls` is given, but the URL of `{key}` speaks it not"));
                self.fault(fault.help("write the URL with `https://`"));
            }
        }
        Some(DiscoveryServer { url: url?, secret, ca, identity })
    }

    /// The origin of a server: a path would be somebody else's.
    fn origin(&mut self, at: &At<'_>, text: &str) -> Option<String> {
        let why = match Url::parse(text) {
            Ok(url) if url.scheme != "http" && url.scheme != "https" => "the scheme is neither `http` nor `https`",
            Ok(url) if url.user.is_some() => "a URL here has no user or password",
            Ok(url) if !url.rest.is_empty() => "nothing may follow the port",
            Ok(_) => return Some(text.to_owned()),
            Err(why) => why,
        };
        let fault = Fault::value(at, format!("`{text}` is not the URL of a server"));
        self.fault(fault.help(format!("{why}: write it as in `http://127.0.0.1:2379`")));
        None
    }
}

const REFRESH: Duration = Duration::from_secs(30);
