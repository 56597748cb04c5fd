//! The choice of a certificate: by the name that the client asks for, and among several for that name by what it can verify.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::challenges::Challenges;

/// The certificates of a listener, found by name.
#[derive(Debug)]
pub(super) struct Choice {
    certificates: Vec<Arc<Certificate>>,
    /// By name: places among `certificates`, those with cheaper signatures first. A wildcard is found by what follows its `*`.
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// For clients that ask for no name, or for one that is not here.
    default: Vec<usize>,
    /// There where the gateway orders certificates.
    challenges: Option<Arc<Challenges>>,
}

/// A certificate that no client would ever be shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no client would be shown this certificate: {why}")]
pub struct Unreachable {
    /// Its place among the certificates.
    pub place: usize,
    why: String,
}

impl Choice {
    /// A choice among at least one. Where two of one kind have the same name, the first has it.
    pub(super) fn new(
        certificates: Vec<Arc<Certificate>>,
        challenges: Option<Arc<Challenges>>,
    ) -> Result<Self, Vec<Unreachable>> {
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut unreachable = Vec::new();
        for (place, certificate) in certificates.iter().enumerate() {
            let mut taken_by = None;
            let mut is_reachable = place == 0;
            for name in &certificate.names {
                let found = by_name.entry(key_of(name).into()).or_default();
                match found.iter().find(|other| certificates[**other].scheme == certificate.scheme) {
                    Some(other) => taken_by = Some(*other),
                    None => {
                        found.push(place);
                        is_reachable = true;
                    }
                }
            }
            if !is_reachable {
                let why = match taken_by {
                    Some(other) => format!("`{}` comes first with all its names", certificates[other].name),
                    None => "it has no DNS name".to_owned(),
                };
                unreachable.push(Unreachable { place, why });
            }
        }
        if !unreachable.is_empty() {
            return Err(unreachable);
        }
        let cheapest_first = |places: &mut Vec<usize>| places.sort_by_key(|place| is_rsa(&certificates[*place]));
        by_name.values_mut().for_each(cheapest_first);
        let first = certificates.first().and_then(|first| first.names.first());
        let default = first.and_then(|name| by_name.get(key_of(name))).cloned().unwrap_or_else(|| vec![0]);
        Ok(Self { certificates, by_name, default, challenges })
    }

    pub(super) fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// Whether a client that was shown the certificate for `shown` has come to the wrong place with a request for `wanted`: there
    /// is another certificate for that name, and the one it was shown is not for it. Both names in lower case.
    pub(super) fn is_misdirected(&self, shown: &str, wanted: &str) -> bool {
        if shown == wanted || self.named(wanted).next().is_none() {
            return false;
        }
        let mut shown = self.named(shown).peekable();
        match shown.peek() {
            Some(_) => !shown.any(|certificate| certificate.covers(wanted)),
            None => !self.default.iter().any(|place| self.certificates[*place].covers(wanted)),
        }
    }

    /// Certificates for a name: those that say it, then those with a wildcard for it.
    fn named(&self, name: &str) -> impl Iterator<Item = &Arc<Certificate>> {
        let exact = self.by_name.get(name);
        let wild = name.find('.').and_then(|dot| self.by_name.get(&name[dot..]));
        exact.into_iter().chain(wild).flatten().map(|place| &self.certificates[*place])
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(answer) = self.challenges.as_ref().and_then(|challenges| challenges.answer(&hello)) {
            return answer;
        }
        let can_verify =
            |certificate: &&Arc<Certificate>| certificate.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let mut named = name.iter().flat_map(|name| self.named(name)).peekable();
        // One that the client cannot verify says at least why it fails.
        let chosen = match named.peek().copied() {
            Some(first) => named.find(can_verify).unwrap_or(first),
            None => {
                let mut default = self.default.iter().map(|place| &self.certificates[*place]);
                default.find(can_verify).or_else(|| self.certificates.first())?
            }
        };
        Some(chosen.key.clone())
    }
}

/// A wildcard's key begins with a dot, as no name does.
fn key_of(name: &str) -> &str {
    name.strip_prefix('*').unwrap_or(name)
}

/// RSA takes the gateway some ten times as long to sign with.
fn is_rsa(certificate: &Certificate) -> bool {
    certificate.key.key.algorithm() == rustls::SignatureAlgorithm::RSA
}
