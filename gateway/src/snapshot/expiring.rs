//! Certificates whose time is over, or soon will be: what only the files tell, once a snapshot has read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Snapshot;
use crate::config::model::Config;
use crate::config::{At, Fault};

/// Warnings of the certificates of listeners.
pub fn expiring(config: &Config, snapshot: &Snapshot) -> Vec<Fault> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut warnings = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let serving = snapshot.listeners.iter().find(|serving| *serving.name == listener.name);
        let files = listener.tls.iter().flat_map(|tls| &tls.certificates).enumerate();
        // What is ordered by the gateway itself is renewed by it, and told of where that fails.
        for (place, files) in files.filter(|(_, files)| !files.name.starts_with("acme:")) {
            let mut certificates =
                serving.and_then(|serving| serving.tls.as_ref()).into_iter().flat_map(|tls| tls.certificates());
            let Some(certificate) = certificates.find(|certificate| *certificate.name == *files.name) else { continue };
            let left = u64::try_from(certificate.not_after).unwrap_or(0).checked_sub(now.as_secs());
            let message = match left {
                None => format!("the certificate `{}` has expired", files.name),
                Some(left) if left < SOON.as_secs() => {
                    format!("the certificate `{}` expires in {} days", files.name, left / 86_400)
                }
                Some(_) => continue,
            };
            let at = At::ROOT.key("listeners");
            let at = at.item(index).key("tls").key("certificates").item(place).key("cert").to_string();
            let help = "put a new one in its place: it is taken up without a reload";
            warnings.push(Fault::value(at, message).help(help));
        }
    }
    warnings
}

/// Less is not long enough to find out why nobody has renewed it.
const SOON: Duration = Duration::from_secs(14 * 86_400);
