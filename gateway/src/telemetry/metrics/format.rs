//! In which of two formats a scraper gets the metrics: what it asks for by `Accept` (RFC 9110 §12.5.1).

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
    /// What the values of `Accept` ask for. Of two that are as welcome, OpenMetrics says more.
    pub fn accepted<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let (mut text, mut open) = (0.0_f32, 0.0_f32);
        for range in values.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (1.0_f32, "1.0.0");
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name {
                    "q" => weight = value.parse().unwrap_or(0.0),
                    "version" => version = value,
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if version == "1.0.0" => open = open.max(weight),
                "text/plain" | "text/*" | "*/*" => text = text.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_what_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,\
                          text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for (accept, expected) in [
            ("", MetricsFormat::Text),
            ("*/*", MetricsFormat::Text),
            ("text/plain", MetricsFormat::Text),
            (prometheus, MetricsFormat::OpenMetrics),
            ("Application/OpenMetrics-Text", MetricsFormat::OpenMetrics),
            ("application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.8", MetricsFormat::Text),
            ("application/openmetrics-text; version=2.0.0", MetricsFormat::Text),
            ("application/openmetrics-text; q=0", MetricsFormat::Text),
            ("application/openmetrics-text; q=a", MetricsFormat::Text),
        ] {
            assert_eq!(MetricsFormat::accepted([accept].into_iter()), expected, "{accept}");
        }
    }
}
