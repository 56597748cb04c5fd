//! Regular expressions on paths and fields: compiled within limits, matched in linear time, and always against the whole text.
//!
//! A host's path expressions are tried together, in one pass over the path, however many there are.

use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, MatchKind, PatternSet, meta};
use regex_syntax::hir::{Hir, Look};

use super::paths::{Best, Ranks};
use super::{Captures, Params, Rank};

/// An expression that a route asks the path to match.
pub(super) struct PathRegex {
    whole: Hir,
    groups: Groups,
}

impl PathRegex {
    /// Without Unicode classes: normalised paths are ASCII, and `\w` is 50 times smaller so.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.is_ascii() {
            return Err(format!(
                "`{text}` would never match, because paths arrive in ASCII; write escapes, such as `%C3%A9` for `é`"
            ));
        }
        let (whole, regex) = compile(text, syntax::Config::new().unicode(false).utf8(false))?;
        let names = regex
            .group_info()
            .pattern_names(regex_automata::PatternID::ZERO)
            .enumerate()
            .filter_map(|(group, name)| Some((name?.into(), group)))
            .collect();
        Ok(Self { whole, groups: Groups { regex, names } })
    }

    pub(super) fn into_captures(self) -> Captures {
        if self.groups.names.is_empty() { Captures::Nothing } else { Captures::Regex(self.groups) }
    }
}

/// The named groups of one expression.
pub(super) struct Groups {
    regex: meta::Regex,
    /// Names with the numbers of their groups.
    names: Box<[(Box<str>, usize)]>,
}

impl Groups {
    /// What the groups took from `path`, which matches. A group that took no part gives no parameter.
    pub(super) fn params<'r>(&'r self, path: &'r str) -> Params<'r> {
        let mut captures = self.regex.create_captures();
        self.regex.search_captures(&whole(path.as_bytes()), &mut captures);
        let mut params = Params::default();
        for (name, group) in &self.names {
            let span = captures.get_group(*group);
            // Only a path that is not normalised could be cut inside a character.
            if let Some(value) = span.and_then(|span| path.get(span.range())) {
                params.push(name, value);
            }
        }
        params
    }
}

/// All path expressions of one host.
#[derive(Default)]
pub(super) struct RegexSet {
    /// Nearly always one. Their ranks ascend from each to the next.
    parts: Vec<Part>,
}

impl RegexSet {
    /// `regexes` run from best to worst.
    pub(super) fn build(regexes: Vec<(Rank, &PathRegex)>) -> Self {
        let mut parts = Vec::new();
        if !regexes.is_empty() {
            add_parts(&regexes, &mut parts);
        }
        Self { parts }
    }

    /// Offers the ranks of all expressions that match `path`.
    pub(super) fn offer(&self, path: &str, best: &mut Best<'_>) {
        for part in &self.parts {
            part.offer(path, best);
        }
    }
}

/// As many expressions as fit into one automaton.
struct Part {
    regex: meta::Regex,
    /// By the number of the pattern; never empty.
    ranks: Ranks,
}

impl Part {
    fn offer(&self, path: &str, best: &mut Best<'_>) {
        if !best.wants(self.ranks[0]) {
            return;
        }
        let mut matched = PatternSet::new(self.ranks.len());
        self.regex.which_overlapping_matches(&whole(path.as_bytes()), &mut matched);
        for pattern in matched.iter() {
            best.offer(&self.ranks[pattern.as_usize()..][..1]);
        }
    }
}

/// Puts all of `regexes` into one part, or halves them until they fit.
fn add_parts(regexes: &[(Rank, &PathRegex)], parts: &mut Vec<Part>) {
    let hirs: Vec<&Hir> = regexes.iter().map(|(_, regex)| &regex.whole).collect();
    // All matches are wanted, not the first: a route whose expression matches may still fail by a predicate.
    let config = config(SET_NFA_BYTES_MAX).match_kind(MatchKind::All);
    match meta::Builder::new().configure(config).build_many_from_hir(&hirs) {
        Ok(regex) => parts.push(Part { regex, ranks: regexes.iter().map(|&(rank, _)| rank).collect() }),
        Err(error) => {
            assert!(regexes.len() > 1, "an expression that compiled alone fits into a set: {error}");
            let (better, worse) = regexes.split_at(regexes.len() / 2);
            add_parts(better, parts);
            add_parts(worse, parts);
        }
    }
}

/// An expression that a route asks the value of a field to match. Knows Unicode, since decoded query values may hold any text.
pub(super) struct FieldRegex(meta::Regex);

impl FieldRegex {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (_, regex) = compile(text, syntax::Config::new().utf8(false))?;
        Ok(Self(regex))
    }

    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        self.0.is_match(whole(value))
    }
}

/// The expression, made to match whole texts only, and compiled alone.
///
/// The anchors are joined to what was parsed, not to its text, where `a|b` or a comment would escape them.
fn compile(text: &str, syntax: syntax::Config) -> Result<(Hir, meta::Regex), String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the regex is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let parsed = syntax::parse_with(text, &syntax.nest_limit(NEST_MAX))
        .map_err(|error| format!("`{text}` is not a regex: {}", reason(&error)))?;
    let hir = Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]);
    let regex = meta::Builder::new().configure(config(NFA_BYTES_MAX)).build_from_hir(&hir).map_err(|_| {
        format!("`{text}` needs more than {NFA_BYTES_MAX} bytes when compiled; repeat less, or use narrower classes")
    })?;
    Ok((hir, regex))
}

/// The first line of what the parser says, without the drawing it adds.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        other => other.to_string(),
    }
}

fn config(nfa_bytes_max: usize) -> meta::Config {
    meta::Config::new().nfa_size_limit(Some(nfa_bytes_max)).hybrid_cache_capacity(DFA_CACHE_BYTES_MAX)
}

/// A search that may only match from the first byte; the end is in the expression.
fn whole(text: &[u8]) -> Input<'_> {
    Input::new(text).anchored(Anchored::Yes)
}

/// Text of one expression.
const TEXT_BYTES_MAX: usize = 4096;

/// Groups inside groups.
const NEST_MAX: u32 = 64;

/// One expression, compiled.
pub(super) const NFA_BYTES_MAX: usize = 1 << 20;

/// The expressions of one host, compiled together; more than that are tried in several passes.
const SET_NFA_BYTES_MAX: usize = 4 << 20;

/// States of the lazy automaton, per expression or set and per thread that searches at once; when full it starts over.
const DFA_CACHE_BYTES_MAX: usize = 2 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// All ranks whose expressions match `path`, in the order in which they are offered.
    fn matching(set: &RegexSet, path: &str) -> Vec<Rank> {
        let offered = std::cell::RefCell::new(Vec::new());
        let admits = |rank| {
            offered.borrow_mut().push(rank);
            false
        };
        set.offer(path, &mut Best::new(&admits));
        offered.into_inner()
    }

    #[test]
    fn all_expressions_that_match_are_offered_from_best_to_worst() {
        let texts = ["/a.*", "/b", "/(a|b)", "/ab", "/a"];
        let regexes = texts.map(|text| PathRegex::parse(text).unwrap());
        let set = RegexSet::build((10..).zip(&regexes).collect());
        assert_eq!(set.parts.len(), 1);
        assert_eq!(matching(&set, "/a"), [10, 12, 14]);
        assert_eq!(matching(&set, "/b"), [11, 12]);
        assert_eq!(matching(&set, "/ab"), [10, 13]);
        assert_eq!(matching(&set, "/c"), [] as [Rank; 0]);
    }

    #[test]
    fn expressions_that_exceed_one_set_are_parted() {
        let regexes: Vec<_> =
            (0..10).map(|at| PathRegex::parse(&format!("/{at}(x|[a-z]{{8000}})|/all")).unwrap()).collect();
        let set = RegexSet::build((0..).zip(&regexes).collect());
        assert!(set.parts.len() > 1);
        assert_eq!(matching(&set, "/9x"), [9]);
        assert_eq!(matching(&set, "/all"), Vec::from_iter(0..10));
    }
}
