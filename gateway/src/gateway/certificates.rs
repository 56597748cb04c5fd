//! Certificates that are followed: when the files of a listener's TLS change, a snapshot with the new ones takes the old one's place.
//!
//! Files are looked at every two seconds, by their path: so it does not matter how new ones were put there, in their place or behind a
//! symbolic link. Connections that are open stay as they were made.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Shared, record};
use crate::config::model::Listener;
use crate::snapshot::{self, Renewal};
use crate::telemetry::{CertificateSample, HandshakeSample};
use crate::tls::{Certificate, HandshakeOutcome};

/// Follows certificates from here on, as long as the gateway lives.
pub(super) fn start(shared: &Arc<Shared>) {
    tokio::spawn(keep_following(Arc::downgrade(shared)));
}

async fn keep_following(shared: Weak<Shared>) {
    let mut seen = Seen::new();
    // What was told of a file is told again only when it is something else.
    let mut told = Told::new();
    loop {
        let Some(gateway) = shared.upgrade() else { return };
        let listeners = gateway.running.lock().await.config.listeners.clone();
        let (changed, now) = changed(listeners, &seen).await;
        for listener in changed {
            gateway.renew(listener, &mut told).await;
        }
        seen = now;
        drop(gateway);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// By listener and file, why it is not taken.
type Told = BTreeMap<(String, String), String>;

/// By file, what told it from its former selves when it was last looked at.
type Seen = BTreeMap<PathBuf, Option<Stamp>>;

/// What tells that a file was written or another put in its place, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            bytes: found.len(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// The listeners with files that are not as they were, or that were never looked at, and how all files are now.
async fn changed(listeners: Vec<Listener>, seen: &Seen) -> (Vec<Listener>, Seen) {
    let seen = seen.clone();
    // A file system may take its time.
    let look = move || {
        let mut now = Seen::new();
        let mut is_changed = |listener: &Listener| {
            let files = snapshot::tls_files(listener);
            files.into_iter().fold(false, |is_changed, path| {
                let stamp = *now.entry(path.to_owned()).or_insert_with(|| Stamp::of(path));
                is_changed || seen.get(path) != Some(&stamp)
            })
        };
        let changed = listeners.into_iter().filter(|listener| is_changed(listener)).collect();
        (changed, now)
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

impl Shared {
    /// Takes up the files of a listener as they are now.
    async fn renew(&self, listener: Listener, told: &mut Told) {
        let before = self.current.load_full();
        let Some(old) = before.listeners.iter().find(|old| *old.name == *listener.name).cloned() else { return };
        let secrets = before.resources.secrets.clone();
        let name = listener.name.clone();
        let read = tokio::task::spawn_blocking(move || (snapshot::renewed(&listener, &old, &secrets), old)).await;
        let Ok((Renewal { listener, renewed, refused }, old)) = read else { return };
        let is_refused = |file: &String| refused.iter().any(|(refused, _)| refused == file);
        told.retain(|(of, file), _| *of != name || is_refused(file));
        for (file, why) in refused {
            let of = (name.clone(), file.clone());
            if told.get(&of) != Some(&why) {
                tracing::error!(
                    listener = name,
                    file,
                    error = why,
                    "a certificate is not taken: the last good one serves on"
                );
                self.metrics.certificate_renewed(&name, "failed");
                let event = [("listener", name.as_str().into()), ("file", file.into()), ("error", why.as_str().into())];
                self.event("certificate", event);
                told.insert(of, why);
            }
        }
        let Some(new) = listener else { return };
        let mut running = self.running.lock().await;
        let snapshot = self.current.load_full();
        // Whoever has put another listener in its place since has read the files since.
        if !snapshot.listeners.iter().any(|known| Arc::ptr_eq(known, &old)) {
            return;
        }
        let (config, overrides) = (running.config.clone(), running.overrides.clone());
        let before = snapshot.generation;
        let after = match self.commit(&mut running, snapshot.with_listener(new), config, overrides).await {
            Ok(snapshot) => snapshot.generation,
            Err(error) => return tracing::error!(listener = name, %error, "new certificates cannot serve"),
        };
        record::certificates(&name, [before, after]);
        for certificate in renewed {
            self.tell_renewed(&name, &certificate);
        }
    }

    fn tell_renewed(&self, listener: &str, certificate: &Certificate) {
        let until = humantime::format_rfc3339_seconds(since_epoch(certificate.not_after)).to_string();
        let file = &*certificate.name;
        tracing::info!(listener, certificate = file, not_after = until, "a certificate is renewed");
        self.metrics.certificate_renewed(listener, "ok");
        let of = [("listener", listener.into()), ("certificate", file.into()), ("not_after", until.into())];
        self.event("certificate", of);
    }

    pub(super) fn certificate_samples(&self) -> Vec<CertificateSample> {
        let snapshot = self.current.load_full();
        let listeners = snapshot.listeners.iter().filter_map(|listener| Some((listener, listener.tls.as_ref()?)));
        let samples = listeners.flat_map(|(listener, tls)| {
            tls.certificates().iter().map(|certificate| CertificateSample {
                listener: listener.name.to_string(),
                certificate: certificate.name.to_string(),
                not_after: certificate.not_after,
            })
        });
        samples.collect()
    }

    pub(super) fn handshake_samples(&self) -> Vec<HandshakeSample> {
        let snapshot = self.current.load_full();
        let listeners = snapshot.listeners.iter().filter_map(|listener| Some((listener, listener.tls.as_ref()?)));
        let samples = listeners.map(|(listener, tls)| HandshakeSample {
            listener: listener.name.to_string(),
            outcomes: HandshakeOutcome::ALL.map(|outcome| (outcome.name(), tls.handshakes.counted(outcome))).to_vec(),
        });
        samples.collect()
    }
}

/// A moment of Unix time that a certificate names; none lies before 1970.
fn since_epoch(seconds: i64) -> std::time::SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or_default().min(LAST_SECOND);
    std::time::UNIX_EPOCH + Duration::from_secs(seconds)
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The end of the year 9999, beyond which RFC 3339 has no words.
const LAST_SECOND: u64 = 253_402_300_799;
