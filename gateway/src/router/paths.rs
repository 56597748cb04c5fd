//! The paths of one host: finds the best route whose path matches and whose predicates hold.
//!
//! Each kind of pattern has its own structure; what holds them together is that all speak in ranks. Whatever is tried later is tried
//! only with ranks that would win over what was found before.

use super::pattern::PathPattern;
use super::regex::RegexSet;
use super::tree::Tree;
use super::{Map, Rank};

/// Routes from best to worst, with their paths.
pub(super) type RankedPaths<'p> = Vec<(Rank, &'p PathPattern)>;

/// All paths that are routed under one host.
#[derive(Default)]
pub(super) struct Paths {
    exact: Map<Box<str>, Ranks>,
    /// Templates and prefixes.
    tree: Tree,
    regexes: RegexSet,
}

impl Paths {
    /// `ranked` runs from best to worst, so every list of ranks below is sorted by being filled.
    pub(super) fn build(ranked: &RankedPaths<'_>) -> Self {
        let mut paths = Self::default();
        let mut regexes = Vec::new();
        for &(rank, path) in ranked {
            match path {
                PathPattern::Exact(path) => {
                    paths.exact.entry(path.clone()).or_default().push(rank);
                }
                PathPattern::Template(template) => paths.tree.add_template(template, rank),
                PathPattern::Prefix(prefix) => paths.tree.add_prefix(prefix, rank),
                PathPattern::Regex(regex) => regexes.push((rank, regex)),
            }
        }
        paths.regexes = RegexSet::build(regexes);
        paths
    }

    /// The best rank whose path matches `path` and that `admits` lets in.
    ///
    /// A template or a regex may outrank an exact path by its priority, so each structure is asked, unless all it holds would lose.
    pub(super) fn best(&self, path: &str, admits: impl Fn(Rank) -> bool) -> Option<Rank> {
        let mut best = Best::new(&admits);
        if let Some(ranks) = self.exact.get(path) {
            best.offer(ranks);
        }
        self.tree.offer(path, &mut best);
        self.regexes.offer(path, &mut best);
        best.rank
    }
}

/// Ranks that share a pattern, from best to worst.
pub(super) type Ranks = Vec<Rank>;

/// The best route found so far.
pub(super) struct Best<'a> {
    rank: Option<Rank>,
    admits: &'a dyn Fn(Rank) -> bool,
}

impl<'a> Best<'a> {
    pub(super) fn new(admits: &'a dyn Fn(Rank) -> bool) -> Self {
        Self { rank: None, admits }
    }

    /// Takes the first of `ranks`, all of whose paths match, that is better than what was found before and whose predicates hold.
    pub(super) fn offer(&mut self, ranks: &[Rank]) {
        let mut better = ranks.iter().copied().take_while(|&rank| self.wants(rank));
        if let Some(rank) = better.find(|&rank| (self.admits)(rank)) {
            self.rank = Some(rank);
        }
    }

    /// True when `rank` would win over what was found before.
    pub(super) fn wants(&self, rank: Rank) -> bool {
        self.rank.is_none_or(|best| rank < best)
    }
}
