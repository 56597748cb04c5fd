//! The tree of segments: all templates and prefixes of one host that match a path, in one walk along it.
//!
//! A prefix tree by segments and not by bytes, because patterns match whole segments; our own, because patterns that match the same
//! path are no conflict here: predicates and ranks tell them apart.

use super::paths::{Best, Ranks};
use super::template::{Segment, Template};
use super::{Map, Rank};

/// Templates and prefixes. A node of the tree stands for a way to match the first segments of a path.
#[derive(Default)]
pub(super) struct Tree {
    root: Node,
    /// The best rank in the tree; `None` when it is empty.
    best: Option<Rank>,
}

/// Ranks must be added from best to worst.
impl Tree {
    pub(super) fn add_template(&mut self, template: &Template, rank: Rank) {
        self.best.get_or_insert(rank);
        let mut node = &mut self.root;
        for segment in template.segments() {
            node = match segment {
                Segment::Literal(text) => node.literal.entry(text.clone()).or_default(),
                Segment::Param(_) => node.param.get_or_insert_default(),
                Segment::Rest(_) => return node.rest.push(rank),
            };
        }
        node.end.push(rank);
    }

    /// `prefix` begins with a slash.
    pub(super) fn add_prefix(&mut self, prefix: &str, rank: Rank) {
        self.best.get_or_insert(rank);
        let below = prefix.strip_suffix('/');
        let mut node = &mut self.root;
        for segment in below.unwrap_or(prefix).split('/').skip(1) {
            node = node.literal.entry(segment.into()).or_default();
        }
        match below {
            Some(_) => node.below.push(rank),
            None => node.prefix.push(rank),
        }
    }

    /// Offers the ranks of all patterns that match `path`.
    pub(super) fn offer(&self, path: &str, best: &mut Best<'_>) {
        if self.best.is_some_and(|rank| best.wants(rank)) {
            self.root.offer(path.strip_prefix('/'), best);
        }
    }
}

#[derive(Default)]
struct Node {
    literal: Map<Box<str>, Node>,
    param: Option<Box<Node>>,
    /// Templates that end here.
    end: Ranks,
    /// Templates that take the rest of the path from here.
    rest: Ranks,
    /// Prefixes that end here without a slash.
    prefix: Ranks,
    /// Prefixes that end with the slash behind this node.
    below: Ranks,
}

impl Node {
    /// `left` is what follows the slash behind the segments matched so far; `None` when the path ends without that slash.
    ///
    /// A path has at most one way to each node, so a walk visits no node twice, and only nodes that some route put there: a long
    /// path costs no more than the patterns it runs along.
    fn offer(&self, left: Option<&str>, best: &mut Best<'_>) {
        match left {
            None => best.offer(&self.end),
            Some(left) => {
                self.descend(left, best);
                // An empty rest is nothing that a parameter could be given.
                if !left.is_empty() {
                    best.offer(&self.rest);
                }
                best.offer(&self.below);
            }
        }
        best.offer(&self.prefix);
    }

    /// The most literal way first: it leads to the better rank, unless a priority says otherwise, and so spares the predicates of others.
    fn descend(&self, left: &str, best: &mut Best<'_>) {
        if self.literal.is_empty() && self.param.is_none() {
            return;
        }
        let (segment, left) = match left.split_once('/') {
            Some((segment, left)) => (segment, Some(left)),
            None => (left, None),
        };
        if let Some(node) = self.literal.get(segment) {
            node.offer(left, best);
        }
        if let Some(node) = &self.param
            && !segment.is_empty()
        {
            node.offer(left, best);
        }
    }
}
