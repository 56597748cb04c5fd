//! Control plane: what tells a running gateway to change, and where it keeps what must outlive it.

#[cfg(feature = "acme")]
mod acme;
mod operator;
mod record;
mod admin;
mod judge;
mod overrides;
mod signals;
mod systemd;
mod local_token;
mod state_dir;
mod source;
mod exporter;

#[cfg(feature = "acme")]
pub use acme::{CertificateOrder, OrderError};
pub use admin::{
    Access, AdminError, AdminLimits, AdminRate, AdminServer, AdminToken, BindError, ProbesServer, TokenError,
};
pub use exporter::Exporter;
pub use judge::{Evidence, Judgement, Rules, judge};
pub use local_token::{LOCAL_TOKEN, LocalToken, LocalTokenError};
pub use operator::{
    Answer, Asked, ConfigDocument, ConfigReport, ConfigRollback, ConfigStatus, Event, OperationError, Operator,
    OverrideStatus, PluginStatus, ReloadReport, Status, Swap, SwapMode, SwapReport, SwapSource, UpgradeReport,
};
pub use overrides::{Decision, Override, Overrides, TrialOverride, trial_mode};
pub use record::{Changes, Record, State, Turn};
pub use signals::{Signal, Signals};
pub use source::{Edition, Follower, Found, History, HistoryError, RemoteError, SourceError, Sources};
pub use state_dir::{StateDir, StateDirError};
pub use systemd::{News, tell, watchdog_interval};
