//! Readings of a gateway's metrics (Prometheus's text format, version 0.0.4), and what became of them in between.

use std::collections::{BTreeMap, HashMap};

/// One reading.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    samples: Vec<Sample>,
    /// Values by the series as it is written.
    values: HashMap<String, f64>,
}

#[derive(Debug)]
struct Sample {
    series: String,
    name: String,
    labels: BTreeMap<String, String>,
}

/// What grew from one reading to the next, by the second.
pub(super) struct Rates<'s> {
    pub(super) before: &'s Scrape,
    pub(super) after: &'s Scrape,
    pub(super) seconds: f64,
}

/// Labels that a series must have.
pub(super) type Labels<'l> = &'l [(&'l str, &'l str)];

impl Scrape {
    /// Lines that are no samples are passed over.
    pub(super) fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let sample = Sample { series: series.to_owned(), name: name.to_owned(), labels: labels_of(labels) };
            scrape.values.insert(sample.series.clone(), value);
            scrape.samples.push(sample);
        }
        scrape
    }

    /// The sum of all series of this name with these labels.
    pub(super) fn sum(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.of(name, labels).filter_map(|sample| self.values.get(&sample.series)).sum()
    }

    fn of<'s>(&'s self, name: &'s str, labels: Labels<'s>) -> impl Iterator<Item = &'s Sample> {
        let has =
            |sample: &Sample, (label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|v| v == value);
        self.samples.iter().filter(move |sample| sample.name == name && labels.iter().all(|label| has(sample, label)))
    }
}

impl Rates<'_> {
    pub(super) fn of(&self, name: &str, labels: Labels<'_>) -> f64 {
        self.after.of(name, labels).map(|sample| self.growth(sample)).sum::<f64>() / self.seconds
    }

    /// The same over the series whose label begins so: `code` with `5`.
    pub(super) fn beginning(&self, name: &str, labels: Labels<'_>, label: &str, start: &str) -> f64 {
        let begins = |sample: &&Sample| sample.labels.get(label).is_some_and(|value| value.starts_with(start));
        self.after.of(name, labels).filter(begins).map(|sample| self.growth(sample)).sum::<f64>() / self.seconds
    }

    /// A quantile of a histogram, linear within a bucket, as Prometheus takes it; `None` when nothing was counted.
    pub(super) fn quantile(&self, share: f64, name: &str, labels: Labels<'_>) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.after.of(&format!("{name}_bucket"), labels) {
            let bound: f64 = sample.labels.get("le")?.parse().ok()?;
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += self.growth(sample),
                None => buckets.push((bound, self.growth(sample))),
            }
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let wanted = share * buckets.last()?.1;
        if wanted <= 0.0 {
            return None;
        }
        let at = buckets.iter().position(|(_, count)| *count >= wanted)?;
        let (below, counted) = if at > 0 { buckets[at - 1] } else { (0.0, 0.0) };
        let (bound, count) = buckets[at];
        let within = if bound.is_finite() { (bound - below) * (wanted - counted) / (count - counted) } else { 0.0 };
        Some(below + within)
    }

    /// A counter that fell began anew.
    fn growth(&self, sample: &Sample) -> f64 {
        let value = |scrape: &Scrape| scrape.values.get(&sample.series).copied().unwrap_or_default();
        let (before, after) = (value(self.before), value(self.after));
        if after >= before { after - before } else { after }
    }
}

/// `a="b",c="d"}`: values have `\\`, `\"` and `\n` escaped.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, other)) => value.push(other),
                    None => break after.len(),
                },
                Some((_, other)) => value.push(other),
                None => break after.len(),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = after.get(end + 1..).unwrap_or_default();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP a b\n# TYPE a counter\na{route=\"x\",code=\"200\"} 10\na{route=\"y\",code=\"503\"} 5\n\
                          h_bucket{le=\"0.1\"} 0\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 0\nplain 3\n";
    const AFTER: &str = "a{route=\"x\",code=\"200\"} 30\na{route=\"x\",code=\"503\"} 4\na{route=\"y\",code=\"503\"} 2\n\
                         h_bucket{le=\"0.1\"} 50\nh_bucket{le=\"1\"} 90\nh_bucket{le=\"+Inf\"} 100\nplain 4\n";

    #[test]
    fn rates_are_growth_by_the_second() {
        let (before, after) = (Scrape::read(BEFORE), Scrape::read(AFTER));
        let rates = Rates { before: &before, after: &after, seconds: 2.0 };
        assert_eq!(rates.of("a", &[("route", "x")]), 12.0, "a new series grew from nothing");
        assert_eq!(rates.of("a", &[("route", "y")]), 1.0, "a counter that fell began anew");
        assert_eq!(rates.beginning("a", &[], "code", "5"), 3.0);
        assert_eq!((after.sum("plain", &[]), after.sum("none", &[])), (4.0, 0.0));
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let (before, after) = (Scrape::read(BEFORE), Scrape::read(AFTER));
        let rates = Rates { before: &before, after: &after, seconds: 2.0 };
        assert_eq!(rates.quantile(0.5, "h", &[]), Some(0.1));
        assert_eq!(rates.quantile(0.7, "h", &[]), Some(0.55));
        assert_eq!(rates.quantile(0.99, "h", &[]), Some(1.0), "what is beyond the last bound has no other");
        assert_eq!(rates.quantile(0.5, "g", &[]), None);
    }

    #[test]
    fn labels_are_read_as_they_were_meant() {
        let labels = labels_of(r#"a="x",b="q\"u\\o\nte",c=""}"#);
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(pairs, [("a", "x"), ("b", "q\"u\\o\nte"), ("c", "")]);
        assert!(labels_of("a=\"x").contains_key("a"));
    }
}
