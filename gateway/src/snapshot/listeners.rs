//! The listeners of a snapshot, and their TLS from the files that the configuration names.
//!
//! A configuration is taken with all of its files or not at all. Files that change later are taken one by one: what cannot be used
//! any more stays as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::zeroize::Zeroizing;

use super::{Listener, ListenerLimits, Snapshot};
use crate::config::model::{self as config, Config, KeySource, TlsVersion};
use crate::config::{At, Fault};
use crate::plugin::Named;
use crate::resource::Secret;
use crate::tls::{Certificate, ClientTerms, Clients, Parts, Termination, Unreachable};

/// In the order of the configuration. Notes what keeps TLS from being set up.
pub(super) fn listeners(
    config: &Config,
    previous: Option<&Snapshot>,
    secrets: &Named<Secret>,
    faults: &mut Vec<Fault>,
) -> Vec<Arc<Listener>> {
    let known = previous.map(|previous| previous.listeners.as_slice()).unwrap_or_default();
    let mut listener = |(place, raw): (usize, &config::Listener)| {
        let old = known.iter().find(|old| *old.name == *raw.name);
        let tls = raw.tls.as_ref().and_then(|tls| {
            let listeners = At::ROOT.key("listeners");
            let listener = listeners.item(place);
            let at = listener.key("tls");
            let old = old.and_then(|old| old.tls.as_ref());
            termination(tls, old, secrets, faults, |place| match place {
                Place::Certificates(index, key) => at.key("certificates").item(index).key(key).to_string(),
                Place::Clients(key) => at.key("client_certificates").key(key).to_string(),
            })
        });
        let listener = with_tls(raw, tls);
        old.filter(|old| ***old == listener).cloned().unwrap_or_else(|| Arc::new(listener))
    };
    config.listeners.iter().enumerate().map(&mut listener).collect()
}

/// What became of a listener's files.
pub struct Renewal {
    /// The listener, where something is new.
    pub listener: Option<Arc<Listener>>,
    /// The certificates that are new.
    pub renewed: Vec<Arc<Certificate>>,
    /// What cannot be used, by its file.
    pub refused: Vec<(String, String)>,
}

/// The listener with its files as they are now. What cannot be used stays as it was.
pub fn renewed(raw: &config::Listener, old: &Listener, secrets: &Named<Secret>) -> Renewal {
    let mut renewal = Renewal { listener: None, renewed: Vec::new(), refused: Vec::new() };
    let (Some(tls), Some(serving)) = (&raw.tls, &old.tls) else { return renewal };
    let mut load = Load { refused: Vec::new(), secrets };
    let mut certificates = Vec::new();
    for (place, kept) in serving.certificates().iter().enumerate() {
        let loaded = load.certificate(tls, place, Some(kept)).unwrap_or_else(|| kept.clone());
        if !Arc::ptr_eq(&loaded, kept) {
            warn_of_time(&loaded);
            renewal.renewed.push(loaded.clone());
        }
        certificates.push(loaded);
    }
    let kept = serving.clients();
    let clients = tls.client_certificates.as_ref().and_then(|raw| load.clients(raw, kept).or(kept.cloned()));
    renewal.refused = load.refused.into_iter().map(|refused| (refused.file, refused.why)).collect();
    match Termination::new(parts(tls, certificates, clients), Some(serving)) {
        Ok(new) if !Arc::ptr_eq(&new, serving) => renewal.listener = Some(Arc::new(with_tls(raw, Some(new)))),
        Ok(_) => {}
        Err(unreachable) => {
            let file = |place: usize| tls.certificates[place].cert.display().to_string();
            renewal.refused.extend(unreachable.iter().map(|error| (file(error.place), error.to_string())));
            renewal.renewed.clear();
        }
    }
    renewal
}

/// The files that a listener's TLS is made from.
pub fn tls_files(raw: &config::Listener) -> Vec<&Path> {
    let Some(tls) = &raw.tls else { return Vec::new() };
    let clients = tls.client_certificates.iter().flat_map(|clients| [Some(&clients.ca), clients.crl.as_ref()]);
    let certificates = tls.certificates.iter().flat_map(|files| match &files.key {
        KeySource::File(key) => [Some(&files.cert), Some(key)],
        KeySource::Secret(_) => [Some(&files.cert), None],
    });
    certificates.chain(clients).flatten().map(PathBuf::as_path).collect()
}

/// A value of `tls` that is at fault.
enum Place {
    /// An item of `certificates`, and its key.
    Certificates(usize, &'static str),
    /// A key of `client_certificates`.
    Clients(&'static str),
}

fn termination(
    raw: &config::ListenerTls,
    old: Option<&Arc<Termination>>,
    secrets: &Named<Secret>,
    faults: &mut Vec<Fault>,
    path: impl Fn(Place) -> String,
) -> Option<Arc<Termination>> {
    let mut load = Load { refused: Vec::new(), secrets };
    let known = |name: &str| old.and_then(|old| old.certificates().iter().find(|known| *known.name == *name));
    let certificates = raw.certificates.iter().enumerate().filter_map(|(place, files)| {
        let loaded = load.certificate(raw, place, known(&files.name))?;
        warn_of_time(&loaded);
        Some(loaded)
    });
    let certificates: Vec<_> = certificates.collect();
    let clients = raw.client_certificates.as_ref();
    let clients = clients.and_then(|clients| load.clients(clients, old.and_then(|old| old.clients())));
    let is_whole = load.refused.is_empty();
    faults.extend(load.refused.into_iter().map(|refused| Fault::value(path(refused.place), refused.why)));
    if !is_whole {
        return None;
    }
    let made = Termination::new(parts(raw, certificates, clients), old);
    let told = |errors: Vec<Unreachable>| {
        let fault = |error: Unreachable| {
            let fault = Fault::value(path(Place::Certificates(error.place, "cert")), error.to_string());
            fault.help("remove it, or give it a name of its own among its subject alternative names")
        };
        faults.extend(errors.into_iter().map(fault));
    };
    made.map_err(told).ok()
}

fn parts(raw: &config::ListenerTls, certificates: Vec<Arc<Certificate>>, clients: Option<Arc<Clients>>) -> Parts {
    Parts {
        certificates,
        clients,
        needs_tls13: raw.min_version == TlsVersion::V13,
        alpn: raw.alpn.clone(),
        has_challenges: raw.acme.is_some(),
    }
}

/// Reading files, and what came of it.
struct Load<'s> {
    refused: Vec<Refused>,
    secrets: &'s Named<Secret>,
}

/// A file that cannot be used.
struct Refused {
    place: Place,
    file: String,
    why: String,
}

impl Load<'_> {
    fn certificate(
        &mut self,
        raw: &config::ListenerTls,
        place: usize,
        old: Option<&Arc<Certificate>>,
    ) -> Option<Arc<Certificate>> {
        let files = &raw.certificates[place];
        #[cfg(feature = "acme")]
        if let Some(acme) = raw.acme.as_ref().filter(|acme| acme.file == files.cert && !acme.file.exists()) {
            return self.ordered(acme, &files.name, place, old);
        }
        let at = |key| Place::Certificates(place, key);
        let chain = self.read(at("cert"), &files.cert);
        let key = match &files.key {
            KeySource::File(path) => self.read(at("key"), path)?,
            // A secret that is not there is a fault of its own.
            KeySource::Secret(name) => Zeroizing::new(self.secrets.get(name.0.as_str())?.expose().to_vec()),
        };
        match Certificate::load(&files.name, &chain?, &key, old) {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                let (at, file) = match (error.is_of_key(), &files.key) {
                    (false, _) => (at("cert"), files.cert.display().to_string()),
                    (true, KeySource::File(path)) => (at("key"), path.display().to_string()),
                    (true, KeySource::Secret(secret)) => (at("key"), secret.to_string()),
                };
                self.refused.push(Refused { place: at, file, why: error.to_string() });
                None
            }
        }
    }

    /// What is shown until the first order is through.
    #[cfg(feature = "acme")]
    fn ordered(
        &mut self,
        acme: &config::Acme,
        name: &str,
        place: usize,
        old: Option<&Arc<Certificate>>,
    ) -> Option<Arc<Certificate>> {
        if let Some(old) = old.filter(|old| old.names.iter().map(|name| &**name).eq(acme.domains.iter())) {
            return Some(old.clone());
        }
        let told = |why| Refused { place: Place::Certificates(place, "cert"), file: name.to_owned(), why };
        Certificate::placeholder(name, &acme.domains).map_err(|why| self.refused.push(told(why))).ok()
    }

    fn clients(&mut self, raw: &config::ClientCertificates, old: Option<&Arc<Clients>>) -> Option<Arc<Clients>> {
        let authorities = self.read(Place::Clients("ca"), &raw.ca);
        let revoked = raw.crl.as_ref().map(|path| (path, self.read(Place::Clients("crl"), path)));
        let terms = ClientTerms {
            authorities: &authorities?,
            revoked: revoked.as_ref().and_then(|(_, lists)| lists.as_deref()).map(Vec::as_slice),
            is_required: raw.is_required,
            headers: raw.headers.clone(),
        };
        match Clients::new(terms, old) {
            // Without lists that there should be, more clients would be let in.
            Ok(_) if matches!(revoked, Some((_, None))) => None,
            Ok(clients) => Some(clients),
            Err(error) => {
                let (key, path) = match &revoked {
                    Some((lists, _)) if error.is_of_lists() => ("crl", *lists),
                    _ => ("ca", &raw.ca),
                };
                let file = path.display().to_string();
                self.refused.push(Refused { place: Place::Clients(key), file, why: error.to_string() });
                None
            }
        }
    }

    fn read(&mut self, place: Place, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
        match std::fs::read(path) {
            Ok(bytes) => Some(Zeroizing::new(bytes)),
            Err(error) => {
                let why = format!("cannot be read: {error}");
                self.refused.push(Refused { place, file: path.display().to_string(), why });
                None
            }
        }
    }
}

/// Says of a certificate that its time is not now. It serves all the same: some clients do not look, and others say why they go.
fn warn_of_time(certificate: &Certificate) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if certificate.not_after < now {
        tracing::warn!(certificate = &*certificate.name, "a certificate has expired");
    } else if certificate.not_before > now {
        tracing::warn!(certificate = &*certificate.name, "a certificate is not valid yet");
    }
}

fn with_tls(raw: &config::Listener, tls: Option<Arc<Termination>>) -> Listener {
    let limits = &raw.limits;
    Listener {
        name: raw.name.as_str().into(),
        address: raw.address.clone(),
        mode: raw.mode,
        tls,
        trusted_proxies: raw.trusted_proxies.clone(),
        proxy_protocol: raw.proxy_protocol.clone(),
        limits: ListenerLimits {
            connections: limits.connections,
            connections_per_client: limits.connections_per_client,
            head_bytes: limits.headers.in_memory(),
            handshake_timeout: limits.handshake_timeout,
            header_count: limits.header_count,
            target_bytes: limits.target.in_memory(),
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            body_bytes: limits.body.0,
            body_bytes_per_second_min: limits.body_min_rate.0,
            send_timeout: limits.send_timeout,
            requests_per_connection: limits.requests_per_connection,
            streams: limits.streams,
            http2_abuse: (limits.http2_abuse.count, limits.http2_abuse.per),
        },
    }
}
