//! Checks of `listeners`: addresses, networks, limits.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::super::fault::Fault;
use super::super::model::{ListenAddress, Listener, ListenerLimits};
use super::super::path::At;
use super::super::raw::{Items, RawListener, RawListenerLimits, RawProxyProtocol};
use super::super::scalar::Rate;
use super::{Check, Seen, items};

impl Check<'_> {
    pub(super) fn listeners(&mut self, above: &At<'_>, raw: Option<&Items<RawListener>>) -> Vec<Listener> {
        let at = above.key("listeners");
        match raw {
            Some(list) if list.is_empty() => {
                self.fault(Fault::value(at, "there is no listener, so that nothing could ever be served"));
            }
            Some(_) => {}
            None => {
                self.required(above, "listeners", raw);
            }
        }
        let mut names = Seen::new();
        let mut addresses = Seen::new();
        let mut listeners = Vec::new();
        for (index, raw) in items(raw) {
            let at = at.item(index);
            if let Some(name) = &raw.name
                && let Some(first) = names.before(name.as_str(), index)
            {
                let message = format!("the listener `{name}` is declared twice");
                self.duplicate(Fault::value(at.key("name"), message), format!("listeners[{first}].name"));
            }
            let listener = self.listener(&at, raw);
            // The system chooses a port for each 0, so that these never collide.
            if let Some(listener) = &listener
                && !listener.address.is_any_port()
                && let Some(first) = addresses.before(listener.address.clone(), index)
            {
                self.duplicate(
                    Fault::value(at.key("address"), "this address is listened on twice"),
                    format!("listeners[{first}].address"),
                );
            }
            listeners.extend(listener);
        }
        listeners
    }

    fn listener(&mut self, at: &At<'_>, raw: &RawListener) -> Option<Listener> {
        let name = self.required(at, "name", raw.name.as_ref());
        if let Some(name) = name {
            self.name(|message| Fault::value(at.key("name"), message), name);
        }
        let address = self.required(at, "address", raw.address.as_ref());
        let address = address.and_then(|address| self.address(&at.key("address"), address));
        let tls = raw.tls.as_ref().map(|raw| self.listener_tls(&at.key("tls"), raw));
        let mode = self.mode(&at.key("mode"), raw.mode.as_ref(), address.as_ref());
        let trusted_proxies = self.networks(&at.key("trusted_proxies"), raw.trusted_proxies.as_ref(), address.as_ref());
        let proxy_protocol = raw
            .proxy_protocol
            .as_ref()
            .map(|raw| self.proxy_protocol(&at.key("proxy_protocol"), raw, address.as_ref()));
        let limits = self.listener_limits(&at.key("limits"), raw.limits.as_ref());
        Some(Listener { name: name?.clone(), address: address?, mode, tls, trusted_proxies, proxy_protocol, limits })
    }

    fn proxy_protocol(&mut self, at: &At<'_>, raw: &RawProxyProtocol, address: Option<&ListenAddress>) -> Vec<IpNet> {
        self.required(at, "from", raw.from.as_ref());
        if raw.from.as_ref().is_some_and(Vec::is_empty) {
            let fault = Fault::value(at.key("from"), "nobody is named here, so that no connection would be served");
            self.fault(fault.help("write the networks of the load balancers, as in `[10.0.0.0/8]`"));
        }
        self.networks(&at.key("from"), raw.from.as_ref(), address)
    }

    /// Where a server is to listen.
    pub(super) fn address(&mut self, at: &At<'_>, text: &str) -> Option<ListenAddress> {
        if let Some(address) = self.plain_address(at, text) {
            if let ListenAddress::Unix(path) = &address
                && path.as_os_str().len() > SOCKET_PATH_BYTES_MAX
            {
                let message = format!("the path of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes");
                self.fault(Fault::value(at, message).help("name a shorter one, as in `unix:/run/witgate.sock`"));
            }
            return Some(address);
        }
        if text == "unix:" {
            let fault = Fault::value(at, "`unix:` names no file");
            self.fault(fault.help("write the path of the socket, as in `unix:/run/witgate.sock`"));
            return None;
        }
        let help = match text.rsplit_once(':') {
            Some(("" | "*", _)) => "for every address of this machine write `0.0.0.0:PORT`",
            Some(("localhost", _)) => "a listener takes no host names: write `127.0.0.1:PORT`",
            _ if text.parse::<IpAddr>().is_ok() => "add the port, as in `0.0.0.0:8080` or `[::]:8080`",
            _ => "write an IP address and a port, as in `0.0.0.0:8080` or `[::]:8080`",
        };
        let fault = Fault::value(at, format!("`{text}` is not an address to listen on"));
        self.fault(fault.help(help));
        None
    }

    /// An address, if the text is one.
    pub(super) fn plain_address(&self, at: &At<'_>, text: &str) -> Option<ListenAddress> {
        match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(ListenAddress::Unix(self.path(at, path))),
            None => text.parse().ok().map(ListenAddress::Tcp),
        }
    }

    fn mode(&mut self, at: &At<'_>, raw: Option<&String>, address: Option<&ListenAddress>) -> u32 {
        let Some(text) = raw else { return SOCKET_MODE };
        if let Some(ListenAddress::Tcp(_)) = address {
            self.fault(Fault::key(at, "only a socket file has a mode, and this address is none"));
        }
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.unwrap_or_else(|| {
            let fault = Fault::value(at, format!("`{text}` are no permissions of a file"));
            self.fault(fault.help("write them in octal, as in `0660`"));
            SOCKET_MODE
        })
    }

    fn networks(&mut self, at: &At<'_>, raw: Option<&Items<String>>, address: Option<&ListenAddress>) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (index, text) in items(raw) {
            if text == UNIX_CLIENTS {
                networks.push(IpNet::from(IpAddr::from(Ipv4Addr::LOCALHOST)));
                if let Some(ListenAddress::Tcp(_)) = address {
                    let fault = Fault::value(at.item(index), "nobody comes to this listener by a socket file");
                    self.fault(fault.help("name the networks of the proxies, as in `10.0.0.0/8`"));
                }
                continue;
            }
            let network = text.parse::<IpNet>().map(|network| network.trunc());
            match network.or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => networks.push(network),
                Err(_) => {
                    let fault = Fault::value(at.item(index), format!("`{text}` is neither a network nor an address"));
                    self.fault(fault.help("write it as in `10.0.0.0/8` or `2001:db8::/32`"));
                }
            }
        }
        networks
    }

    fn listener_limits(&mut self, at: &At<'_>, raw: Option<&RawListenerLimits>) -> ListenerLimits {
        let default = ListenerLimits::default();
        let Some(raw) = raw else { return default };
        let connections = self.whole(&at.key("connections"), raw.connections, default.connections, 1..=u64::MAX);
        ListenerLimits {
            connections,
            connections_per_client: self.whole(
                &at.key("connections_per_client"),
                raw.connections_per_client,
                connections,
                1..=u64::MAX,
            ),
            header_count: self.whole(
                &at.key("header_count"),
                raw.header_count,
                default.header_count,
                1..=HEADER_COUNT_MAX,
            ),
            target: self.size(&at.key("target"), raw.target, default.target, 1),
            headers: self.size(&at.key("headers"), raw.headers, default.headers, HEADERS_BYTES_MIN),
            handshake_timeout: self.duration(
                &at.key("handshake_timeout"),
                raw.handshake_timeout,
                default.handshake_timeout,
            ),
            header_timeout: self.duration(&at.key("header_timeout"), raw.header_timeout, default.header_timeout),
            idle_timeout: self.duration(&at.key("idle_timeout"), raw.idle_timeout, default.idle_timeout),
            body: self.size(&at.key("body"), raw.body, default.body, 0),
            body_min_rate: self.size(&at.key("body_min_rate"), raw.body_min_rate, default.body_min_rate, 0),
            send_timeout: self.duration(&at.key("send_timeout"), raw.send_timeout, default.send_timeout),
            requests_per_connection: self.whole(
                &at.key("requests_per_connection"),
                raw.requests_per_connection,
                default.requests_per_connection,
                1..=u64::MAX,
            ),
            streams: self.whole(&at.key("streams"), raw.streams, default.streams, 1..=u64::from(u32::MAX)),
            http2_abuse: raw
                .http2_abuse
                .map_or(default.http2_abuse, |Rate(rate)| self.rate(&at.key("http2_abuse"), rate)),
        }
    }
}

/// A head that ordinary clients send does not fit in less.
const HEADERS_BYTES_MIN: u64 = 1024;
/// What `trusted_proxies` calls the clients of a socket file.
const UNIX_CLIENTS: &str = "unix";
/// For this user and its group.
const SOCKET_MODE: u32 = 0o660;
/// Of Linux, without the zero at the end (`unix(7)`).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// hyper sets aside room for so many with each request.
const HEADER_COUNT_MAX: u64 = 1000;
