//! Certificates that the gateway orders by itself: when that is due, and what is told of it. Once they are in their files they are
//! followed like all others.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Shared;
use crate::config::model::{Acme, Listener};
use crate::control::CertificateOrder;
use crate::tls::Termination;

/// Orders certificates from here on, as long as the gateway lives.
pub(super) fn start(shared: &Arc<Shared>) {
    tokio::spawn(keep_ordering(Arc::downgrade(shared)));
}

/// When an order may be tried again, and how many have failed in a row.
struct Next {
    try_at: Instant,
    failures: u32,
}

async fn keep_ordering(shared: Weak<Shared>) {
    // By what is ordered, so that other wishes are other orders.
    let mut next: BTreeMap<(String, Vec<String>), Next> = BTreeMap::new();
    loop {
        let Some(gateway) = shared.upgrade() else { return };
        let listeners = gateway.running.lock().await.config.listeners.clone();
        for listener in &listeners {
            let Some(acme) = listener.tls.as_ref().and_then(|tls| tls.acme.as_ref()) else { continue };
            let order = (acme.directory.clone(), acme.domains.clone());
            let failures = match next.get(&order) {
                Some(next) if next.try_at > Instant::now() => continue,
                Some(next) => next.failures,
                None => 0,
            };
            let Some(tls) = gateway.tls_of(&listener.name).filter(|tls| is_due(acme, tls)) else { continue };
            let is_placed = gateway.order(listener, acme, &tls).await;
            let failures = if is_placed { 0 } else { failures + 1 };
            // Authorities count failures, too.
            let wait = (RETRY_MIN * 2_u32.pow(failures.min(10))).min(RETRY_MAX);
            next.insert(order, Next { try_at: Instant::now() + wait, failures });
        }
        drop(gateway);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Whether there is none yet, not for all names, or the last third of its time has begun.
fn is_due(acme: &Acme, tls: &Termination) -> bool {
    let serving = tls.certificates().last();
    let Some(certificate) = serving.filter(|_| acme.file.exists()) else { return true };
    let is_for = |domain: &String| certificate.names.iter().any(|name| **name == *domain);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = certificate.not_after - i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    !acme.domains.iter().all(is_for) || left < (certificate.not_after - certificate.not_before) / 3
}

impl Shared {
    fn tls_of(&self, listener: &str) -> Option<Arc<Termination>> {
        let snapshot = self.current.load_full();
        snapshot.listeners.iter().find(|known| *known.name == *listener)?.tls.clone()
    }

    /// Whether a certificate has come.
    async fn order(&self, listener: &Listener, acme: &Acme, tls: &Termination) -> bool {
        let Some(challenges) = tls.challenges() else { return false };
        let Acme { domains, contact, directory, folder, file } = acme.clone();
        let order = CertificateOrder { domains, contact, directory, folder, file };
        let (name, domains) = (listener.name.as_str(), acme.domains.join(", "));
        tracing::info!(listener = name, domains, "ordering a certificate");
        match order.place(self.runtime.trust(), challenges).await {
            Ok(()) => {
                tracing::info!(listener = name, domains, "a certificate has come");
                true
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(listener = name, domains, error, "a certificate cannot be ordered");
                self.metrics.certificate_renewed(name, "failed");
                let event = [("listener", name.into()), ("domains", domains.into()), ("error", error.into())];
                self.event("certificate", event);
                false
            }
        }
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// After an order, and doubled after each that failed.
const RETRY_MIN: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(6 * 3600);
