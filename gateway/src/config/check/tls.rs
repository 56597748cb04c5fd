//! Checks of a listener's `tls`. Whether files can be read, and hold what they should, is not asked here.

use http::HeaderName;
use rustls::pki_types::DnsName;

use super::super::fault::Fault;
use super::super::model::{Acme, CertificateFiles, ClientCertificates, KeySource, ListenerTls, TlsVersion};
use super::super::path::At;
use super::super::raw::{Entries, Items, RawAcme, RawCertificate, RawClientCertificates, RawListenerTls};
use super::{Check, Seen, entries, items};
use crate::message::is_framing;
use crate::tls::{Alpn, Part};

impl Check<'_> {
    pub(super) fn listener_tls(&mut self, at: &At<'_>, raw: &RawListenerTls) -> ListenerTls {
        let given = match &raw.acme {
            None => self.required(at, "certificates", raw.certificates.as_ref()),
            Some(_) => raw.certificates.as_ref(),
        };
        let mut certificates = self.certificates(&at.key("certificates"), given);
        let acme = raw.acme.as_ref().and_then(|acme| self.acme(&at.key("acme"), acme, raw));
        certificates.extend(acme.as_ref().map(|acme| CertificateFiles {
            name: format!("acme:{}", acme.domains[0]),
            cert: acme.file.clone(),
            key: KeySource::File(acme.file.clone()),
        }));
        ListenerTls {
            certificates,
            acme,
            min_version: raw.min_version.map_or(TlsVersion::default(), |version| version.0),
            alpn: self.alpn(&at.key("alpn"), raw.alpn.as_ref()),
            client_certificates: raw
                .client_certificates
                .as_ref()
                .and_then(|raw| self.client_certificates(&at.key("client_certificates"), raw)),
        }
    }

    fn certificates(&mut self, at: &At<'_>, raw: Option<&Items<RawCertificate>>) -> Vec<CertificateFiles> {
        if raw.is_some_and(Vec::is_empty) {
            let fault = Fault::value(at, "there is no certificate, so that no client could ever connect");
            self.fault(fault.help("write `- { cert: site.pem, key: site.key }`"));
        }
        let mut seen = Seen::new();
        let mut certificates = Vec::new();
        for (index, raw) in items(raw) {
            let at_item = at.item(index);
            let cert = self.required(&at_item, "cert", raw.cert.as_ref());
            let key = self.required(&at_item, "key", raw.key.as_ref());
            let key = key.and_then(|key| match key.starts_with("secret:") {
                true => self.secret_ref(&at_item.key("key"), key).map(KeySource::Secret),
                false => Some(KeySource::File(self.path(&at_item.key("key"), key))),
            });
            if let Some(cert) = cert
                && let Some(first) = seen.before(cert.as_str(), index)
            {
                let fault = Fault::value(at_item.key("cert"), "this certificate is given twice");
                self.duplicate(fault, format!("{at}[{first}].cert"));
            }
            if let (Some(cert), Some(key)) = (cert, key) {
                certificates.push(CertificateFiles {
                    name: cert.clone(),
                    cert: self.path(&at_item.key("cert"), cert),
                    key,
                });
            }
        }
        certificates
    }

    fn acme(&mut self, at: &At<'_>, raw: &RawAcme, tls: &RawListenerTls) -> Option<Acme> {
        if !cfg!(feature = "acme") {
            let fault = Fault::key(at, "this gateway was built without ACME");
            self.fault(fault.help("build it with `--features acme`, or name files in `certificates`"));
            return None;
        }
        let clients = tls.client_certificates.as_ref();
        if clients.is_some_and(|clients| clients.mode.as_deref().is_none_or(|mode| mode == "required")) {
            let fault = Fault::key(at, "the authority shows no certificate, so that it would not be let in to check");
            self.fault(fault.help("write `mode: optional` in `client_certificates`"));
        }
        let domains = self.required(at, "domains", raw.domains.as_ref());
        let domains = self.domains(&at.key("domains"), domains)?;
        let directory = match &raw.directory {
            Some(url) => self.fetched(&at.key("directory"), url)?,
            None => LETS_ENCRYPT.to_owned(),
        };
        let folder = match (&raw.folder, &self.state_dir) {
            (Some(folder), _) => self.path(&at.key("folder"), folder),
            (None, Some(state_dir)) => state_dir.join("acme"),
            (None, None) => {
                let fault = Fault::key(at, "there is no place for certificates and keys");
                self.fault(fault.help("name a `folder` here, or a `state_dir` at top level"));
                return None;
            }
        };
        let contact = items(raw.contact.as_ref()).map(|(_, address)| address.clone()).collect();
        let file = folder.join(format!("{}.pem", domains[0]));
        Some(Acme { domains, contact, directory, folder, file })
    }

    /// Names of DNS that an authority can look at: none with a wildcard (RFC 8737 §3).
    fn domains(&mut self, at: &At<'_>, raw: Option<&Items<String>>) -> Option<Vec<String>> {
        if raw.is_some_and(Vec::is_empty) {
            self.fault(Fault::value(at, "a certificate needs a name"));
        }
        let mut domains = Vec::new();
        for (index, text) in items(raw) {
            match DnsName::try_from(text.as_str()) {
                Ok(_) if !text.ends_with('.') => domains.push(text.to_ascii_lowercase()),
                _ => {
                    let fault = Fault::value(at.item(index), format!("`{text}` is not a name that can be ordered"));
                    self.fault(fault.help("write names of DNS, without a wildcard"));
                }
            }
        }
        (!domains.is_empty()).then_some(domains)
    }

    fn alpn(&mut self, at: &At<'_>, raw: Option<&Items<String>>) -> Vec<Alpn> {
        let Some(list) = raw else { return Alpn::ALL.to_vec() };
        if list.is_empty() {
            let fault = Fault::value(at, "a client that asks for a protocol would get none");
            self.fault(fault.help("write `[h2, http/1.1]`, or one of them"));
        }
        let known = Alpn::ALL.map(|protocol| (protocol.name(), protocol));
        let mut chosen = Vec::new();
        for (index, word) in items(raw) {
            if let Some(protocol) = self.word(&at.item(index), word, &known)
                && !chosen.contains(&protocol)
            {
                chosen.push(protocol);
            }
        }
        chosen
    }

    fn client_certificates(&mut self, at: &At<'_>, raw: &RawClientCertificates) -> Option<ClientCertificates> {
        let ca = self.required(at, "ca", raw.ca.as_ref());
        let mode = raw.mode.as_ref().and_then(|word| {
            let known = [("required", true), ("optional", false)];
            self.word(&at.key("mode"), word, &known)
        });
        let headers = self.identity_headers(&at.key("headers"), raw.headers.as_ref());
        Some(ClientCertificates {
            ca: self.path(&at.key("ca"), ca?),
            crl: raw.crl.as_ref().map(|path| self.path(&at.key("crl"), path)),
            is_required: mode.unwrap_or(true),
            headers,
        })
    }

    fn identity_headers(&mut self, at: &At<'_>, raw: Option<&Entries<String>>) -> Vec<(HeaderName, Part)> {
        let known = Part::ALL.map(|part| (part.name(), part));
        let mut seen = Seen::new();
        let mut headers = Vec::new();
        for (text, word) in entries(raw) {
            let at_header = at.key(text);
            let part = self.word(&at_header, word, &known);
            let name = match HeaderName::from_bytes(text.as_bytes()) {
                Ok(name) if !is_framing(&name) && !IDENTITY.contains(&name.as_str()) => name,
                Ok(_) => {
                    let message = format!("the header `{text}` is the gateway's own and cannot tell who a client is");
                    self.fault(Fault::key(at_header, message));
                    continue;
                }
                Err(_) => {
                    self.fault(Fault::key(at_header, format!("`{text}` cannot be the name of a header")));
                    continue;
                }
            };
            if seen.before(name.clone(), 0).is_some() {
                self.fault(Fault::key(at_header, format!("the header `{name}` is given twice")));
            }
            headers.extend(part.map(|part| (name, part)));
        }
        headers
    }
}

/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Headers that the gateway writes on every request, for which there is another meaning.
const IDENTITY: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"];
