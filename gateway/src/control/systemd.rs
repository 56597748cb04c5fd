//! What the service manager is told (`sd_notify(3)`). Without one, as `NOTIFY_SOCKET` says, nothing is.

use std::time::Duration;

use sd_notify::NotifyState;

/// What has become of this process.
#[derive(Debug, Clone, Copy)]
pub enum News<'a> {
    /// It serves.
    Ready,
    /// It reads its configuration again; [`News::Reloaded`] says that this is over.
    Reloading,
    /// It serves on, and this is how it went.
    Reloaded(&'a str),
    /// It is about to end.
    Stopping,
    /// This process serves in its place.
    HandedOn(u32),
    /// It can still answer.
    Alive,
}

/// Tells the service manager. One that does not listen is no reason to serve less.
pub fn tell(news: News<'_>) {
    let told = match news {
        News::Ready => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving")]),
        News::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now, NotifyState::Status("reloading")])),
        News::Reloaded(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        News::Stopping => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("draining")]),
        News::HandedOn(pid) => sd_notify::notify(&[NotifyState::MainPid(pid), NotifyState::Status("serving")]),
        News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = told {
        tracing::warn!(%error, ?news, "the service manager cannot be told");
    }
}

/// How often the service manager wants to hear [`News::Alive`]: twice as often as it gives up.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|interval| !interval.is_zero())
}
