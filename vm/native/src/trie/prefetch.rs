//! Reading the nodes that batches of changes will pass through, level by level, for many tries at once.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use alloy_trie::Nibbles;
use rayon::prelude::*;
use revm::primitives::HashMap;

use super::Change;
use super::node::{Child, Kind, Node};
use super::update::with_prefix;
use crate::error::Result;

/// Nodes read ahead, by path.
pub(crate) type Ahead = HashMap<Nibbles, Arc<Node>>;

/// A trie and the changes it is about to get; their values are not looked at.
pub(crate) struct Visit<'a> {
    pub(crate) root: &'a Child,
    pub(crate) changes: &'a [Change],
}

/// A stored node that some changes pass through.
struct Wanted<'a> {
    trie: usize,
    path: Nibbles,
    hash: B256,
    changes: &'a [Change],
}

/// Reads what `visits` need with one `fetch` a level; `fetch` answers the nodes at (trie, path) in order.
pub(crate) fn prefetch(
    visits: &[Visit<'_>],
    epoch: u32,
    fetch: impl Fn(&[(usize, Nibbles)]) -> Result<Vec<Bytes>>,
) -> Result<Vec<Ahead>> {
    let mut ahead: Vec<Ahead> = visits.iter().map(|_| Ahead::default()).collect();
    let mut wanted = Vec::new();
    for (trie, visit) in visits.iter().enumerate() {
        if !visit.changes.is_empty() {
            gather(visit.root, trie, Nibbles::new(), visit.changes, &mut wanted);
        }
    }
    while !wanted.is_empty() {
        let places: Vec<_> = wanted.iter().map(|node| (node.trie, node.path)).collect();
        let stored = fetch(&places)?;
        let nodes: Vec<_> = stored
            .par_iter()
            .zip(&wanted)
            .with_min_len(32)
            .map(|(rlp, node)| Node::decode_stored(rlp, node.hash, epoch))
            .collect::<Result<_>>()?;
        let mut next = Vec::new();
        for (node, place) in nodes.into_iter().zip(wanted) {
            descend(&node, place.trie, place.path, place.changes, &mut next);
            ahead[place.trie].insert(place.path, node);
        }
        wanted = next;
    }
    Ok(ahead)
}

/// Adds the nodes that are needed next; there is at least one change.
fn gather<'a>(
    child: &Child,
    trie: usize,
    path: Nibbles,
    changes: &'a [Change],
    wanted: &mut Vec<Wanted<'a>>,
) {
    match child {
        Child::Empty => {}
        Child::Stored(hash) => wanted.push(Wanted { trie, path, hash: *hash, changes }),
        Child::Loaded(node) => descend(node, trie, path, changes, wanted),
    }
}

fn descend<'a>(node: &Node, trie: usize, path: Nibbles, changes: &'a [Change], wanted: &mut Vec<Wanted<'a>>) {
    match &node.kind {
        Kind::Leaf { .. } => {}
        Kind::Extension { key, child } => {
            let end = path.join(key);
            let changes = with_prefix(changes, &end);
            if !changes.is_empty() {
                gather(child, trie, end, changes, wanted);
            }
        }
        Kind::Branch(children) => {
            let depth = path.len();
            for group in changes.chunk_by(|a, b| a.key.get_unchecked(depth) == b.key.get_unchecked(depth)) {
                let nibble = group[0].key.get_unchecked(depth);
                let mut below = path;
                below.push(nibble);
                gather(&children[usize::from(nibble)], trie, below, group, wanted);
            }
        }
    }
}
