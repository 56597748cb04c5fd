//! The formats in which a scraper may get the metrics.

/// A format of metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MetricsFormat {
    /// Prometheus's text format 0.0.4, for everybody.
    #[default]
    Text,
    /// OpenMetrics 1.0.0, with exemplars, for those who prefer it.
    OpenMetrics,
}

impl MetricsFormat {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}
