//! Checks of `admin` and `probes`: addresses of their own, tokens that are no secrets themselves.

use std::net::SocketAddr;

use super::super::fault::Fault;
use super::super::model::{Admin, AdminAddress, AdminToken, Overrides, Role};
use super::super::path::At;
use super::super::raw::{Items, RawAdmin, RawAdminToken, RawConfig, RawProbes};
use super::urls::host_and_port;
use super::{Check, Seen, items};

impl Check<'_> {
    pub(super) fn admin(&mut self, at: &At<'_>, raw: &RawAdmin, config: &RawConfig) -> Option<Admin> {
        let address = self.required(at, "address", raw.address.as_ref());
        let address = address.and_then(|address| self.admin_address(&at.key("address"), address, config));
        let tokens = self.admin_tokens(&at.key("tokens"), raw.tokens.as_ref());
        if let Some(AdminAddress::Tcp(address)) = address
            && !address.ip().is_loopback()
            && raw.tokens.as_ref().is_none_or(Vec::is_empty)
            && !self.was_cut(&at.key("tokens"))
        {
            let fault = Fault::value(at.key("address"), "other machines reach this address, and no token is asked for");
            self.fault(fault.help("add `tokens`, or listen on `127.0.0.1:PORT` or `unix:PATH`"));
        }
        let overrides = raw.overrides.as_deref().and_then(|word| {
            let known = [("allow", Overrides::Allow), ("deny", Overrides::Deny)];
            self.word(&at.key("overrides"), word, &known)
        });
        Some(Admin {
            address: address?,
            tokens,
            allowed_hosts: self.allowed_hosts(&at.key("allowed_hosts"), raw.allowed_hosts.as_ref()),
            overrides: overrides.unwrap_or_default(),
        })
    }

    pub(super) fn probes(&mut self, at: &At<'_>, raw: &RawProbes, config: &RawConfig) -> Option<SocketAddr> {
        let text = self.required(at, "address", raw.address.as_ref())?;
        let at = at.key("address");
        let address = self.address(&at, text)?;
        self.is_free(&at, address, config);
        let admin = config.admin.as_ref().and_then(|admin| admin.address.as_deref());
        if address.port() != 0 && admin.and_then(|admin| admin.parse().ok()) == Some(address) {
            let fault = Fault::value(at, "this address is listened on twice");
            self.duplicate(fault, "admin.address".to_owned());
        }
        Some(address)
    }

    fn admin_address(&mut self, at: &At<'_>, text: &str, config: &RawConfig) -> Option<AdminAddress> {
        match text.strip_prefix("unix:") {
            Some("") => {
                let fault = Fault::value(at, "`unix:` names no file");
                self.fault(fault.help("write the path of the socket, as in `unix:/run/witgate.sock`"));
                None
            }
            Some(path) => Some(AdminAddress::Unix(self.path(path))),
            None => {
                let address = self.address(at, text)?;
                self.is_free(at, address, config);
                Some(AdminAddress::Tcp(address))
            }
        }
    }

    /// Notes that a listener has the address already.
    fn is_free(&mut self, at: &At<'_>, address: SocketAddr, config: &RawConfig) {
        let taken = items(config.listeners.as_ref())
            .find(|(_, listener)| listener.address.as_ref().and_then(|text| text.parse().ok()) == Some(address));
        if let Some((index, _)) = taken
            && address.port() != 0
        {
            let fault = Fault::value(at, "this address is listened on twice");
            self.duplicate(fault, format!("listeners[{index}].address"));
        }
    }

    fn admin_tokens(&mut self, at: &At<'_>, raw: Option<&Items<RawAdminToken>>) -> Vec<AdminToken> {
        let mut names = Seen::new();
        let mut tokens = Vec::new();
        for (index, raw) in items(raw) {
            let at = at.item(index);
            if let Some(name) = &raw.name
                && let Some(first) = names.before(name.as_str(), index)
            {
                let fault = Fault::value(at.key("name"), format!("the token `{name}` is declared twice"));
                self.duplicate(fault, format!("admin.tokens[{first}].name"));
            }
            tokens.extend(self.admin_token(&at, raw));
        }
        tokens
    }

    fn admin_token(&mut self, at: &At<'_>, raw: &RawAdminToken) -> Option<AdminToken> {
        let name = self.required(at, "name", raw.name.as_ref());
        if let Some(name) = name {
            self.name(|message| Fault::value(at.key("name"), message), name);
        }
        let token = self.required(at, "token", raw.token.as_ref());
        let token = token.and_then(|text| self.secret_ref(&at.key("token"), text));
        let role = self.required(at, "role", raw.role.as_ref()).and_then(|word| {
            let known = [("viewer", Role::Viewer), ("operator", Role::Operator), ("deployer", Role::Deployer)];
            self.word(&at.key("role"), word, &known)
        });
        Some(AdminToken { name: name?.clone(), token: token?, role: role? })
    }

    fn allowed_hosts(&mut self, at: &At<'_>, raw: Option<&Items<String>>) -> Vec<String> {
        let mut hosts = Vec::new();
        for (index, text) in items(raw) {
            match host_and_port(text) {
                Some((host, None)) => hosts.push(host.to_ascii_lowercase()),
                Some((host, Some(port))) if port.parse::<u16>().is_ok() => {
                    let fault = Fault::value(at.item(index), "a host is allowed at any port");
                    self.fault(fault.help(format!("write `{host}`")));
                }
                _ => {
                    let fault = Fault::value(at.item(index), format!("`{text}` is not a host"));
                    self.fault(fault.help("write a name or an address, as in `gateway.internal`"));
                }
            }
        }
        hosts
    }
}
