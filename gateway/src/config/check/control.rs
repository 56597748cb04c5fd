//! Checks of `admin`, `probes`, `drain` and `upgrade`: addresses of their own, tokens that are no secrets themselves.

use super::super::fault::Fault;
use super::super::model::{Admin, AdminToken, Drain, ListenAddress, Overrides, Role, Upgrade};
use super::super::path::At;
use super::super::raw::{Items, RawAdmin, RawAdminToken, RawConfig, RawDrain, RawProbes, RawUpgrade};
use super::super::scalar::Span;
use super::urls::host_and_port;
use super::{Check, Seen, items};

impl Check<'_> {
    pub(super) fn admin(&mut self, at: &At<'_>, raw: &RawAdmin, config: &RawConfig) -> Option<Admin> {
        let address = self.required(at, "address", raw.address.as_ref());
        let address = address.and_then(|text| self.free_address(&at.key("address"), text, config));
        let tokens = self.admin_tokens(&at.key("tokens"), raw.tokens.as_ref());
        if let Some(ListenAddress::Tcp(address)) = &address
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

    pub(super) fn probes(&mut self, at: &At<'_>, raw: &RawProbes, config: &RawConfig) -> Option<ListenAddress> {
        let text = self.required(at, "address", raw.address.as_ref())?;
        let at = at.key("address");
        let address = self.free_address(&at, text, config)?;
        let admin = config.admin.as_ref().and_then(|admin| admin.address.as_deref());
        let admin_at = At::ROOT.key("admin");
        let admin_at = admin_at.key("address");
        let admin = admin.and_then(|text| self.plain_address(&admin_at, text));
        if !address.is_any_port() && admin.as_ref() == Some(&address) {
            let fault = Fault::value(at, "this address is listened on twice");
            self.duplicate(fault, "admin.address".to_owned());
        }
        Some(address)
    }

    /// An address that no listener has already, or has noted that one does.
    fn free_address(&mut self, at: &At<'_>, text: &str, config: &RawConfig) -> Option<ListenAddress> {
        let address = self.address(at, text)?;
        let listeners = At::ROOT.key("listeners");
        let taken = items(config.listeners.as_ref()).find(|(index, listener)| {
            let at = listeners.item(*index);
            let at = at.key("address");
            listener.address.as_deref().and_then(|text| self.plain_address(&at, text)).as_ref() == Some(&address)
        });
        if let Some((index, _)) = taken
            && !address.is_any_port()
        {
            let fault = Fault::value(at, "this address is listened on twice");
            self.duplicate(fault, format!("listeners[{index}].address"));
        }
        Some(address)
    }

    pub(super) fn drain(&mut self, at: &At<'_>, raw: Option<&RawDrain>) -> Drain {
        let default = Drain::default();
        let Some(raw) = raw else { return default };
        Drain {
            // Only these two have a meaning at zero: at once.
            delay: raw.delay.map_or(default.delay, |Span(delay)| delay),
            idle: raw.idle.map_or(default.idle, |Span(idle)| idle),
            deadline: self.duration(&at.key("deadline"), raw.deadline, default.deadline),
        }
    }

    pub(super) fn upgrade(&mut self, at: &At<'_>, raw: Option<&RawUpgrade>) -> Upgrade {
        let default = Upgrade::default();
        let timeout = raw.and_then(|raw| raw.timeout);
        Upgrade { timeout: self.duration(&at.key("timeout"), timeout, default.timeout) }
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
