//! Why a request ended as it did, in the short words of the access log.

use std::fmt;

/// A reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// No route matches.
    NoRoute,
    /// No endpoint takes requests.
    NoEndpoint,
    /// A circuit breaker is open.
    BreakerOpen,
    /// No connection to the upstream.
    ConnectFailure,
    /// The upstream took too long.
    UpstreamTimeout,
    /// A rate limit was reached.
    RateLimited,
    /// A plugin failed.
    PluginError,
    /// A plugin answered with an error of its own.
    PluginDenied,
    /// A limit of the gateway or of the upstream was reached.
    Overload,
    /// The upstream's connection or stream broke, or carried no HTTP.
    UpstreamReset,
    /// The client went away.
    ClientGone,
    /// The request is malformed, too large for this listener, or took too long to arrive.
    BadRequest,
}

/// The reasons of one request; most have none. Displayed as `UF,UT`, in the order of [`Flag`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flag {
    pub const ALL: [Self; 12] = [
        Self::NoRoute,
        Self::NoEndpoint,
        Self::BreakerOpen,
        Self::ConnectFailure,
        Self::UpstreamTimeout,
        Self::RateLimited,
        Self::PluginError,
        Self::PluginDenied,
        Self::Overload,
        Self::UpstreamReset,
        Self::ClientGone,
        Self::BadRequest,
    ];

    /// Two letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoRoute => "NR",
            Self::NoEndpoint => "UH",
            Self::BreakerOpen => "UO",
            Self::ConnectFailure => "UF",
            Self::UpstreamTimeout => "UT",
            Self::RateLimited => "RL",
            Self::PluginError => "PE",
            Self::PluginDenied => "PD",
            Self::Overload => "OV",
            Self::UpstreamReset => "UR",
            Self::ClientGone => "DC",
            Self::BadRequest => "BR",
        }
    }
}

impl Flags {
    pub fn insert(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u16;
    }

    pub fn contains(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u16) != 0
    }

    /// Whether any of these is among `others`.
    pub fn meet(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.contains(*flag))
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, flag) in self.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}", flag.code())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_a_set_in_their_own_order() {
        let mut flags = Flags::default();
        assert_eq!(flags.to_string(), "");
        for flag in [Flag::ClientGone, Flag::ConnectFailure, Flag::ConnectFailure] {
            flags.insert(flag);
        }
        assert_eq!(flags.to_string(), "UF,DC");
        assert!(flags.contains(Flag::ClientGone) && !flags.contains(Flag::NoRoute));
        Flag::ALL.into_iter().for_each(|flag| flags.insert(flag));
        assert_eq!(flags.iter().count(), Flag::ALL.len());
    }
}
