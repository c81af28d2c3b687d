//! Hashes of new nodes, bottom up, and the list of those that get a key of their own.

use std::sync::Arc;

use alloy_primitives::{Bytes, keccak256};
use alloy_trie::Nibbles;
use rayon::prelude::*;

use super::node::{Child, Kind, Node, Reference};

/// Levels from the root that may be split over threads: 16 and 256 subtrees.
const PARALLEL_DEPTH: usize = 2;

/// Batches smaller than this are hashed on one thread.
const PARALLEL_CHANGES: usize = 128;

type Written = Vec<(Nibbles, Bytes)>;

/// Hashes the new nodes under `root`; answers the finished tree and the nodes to store by path.
pub(super) fn commit(root: Child, changes: usize) -> (Child, Written) {
    let mut written = Vec::with_capacity(changes * 2);
    let depth = if changes >= PARALLEL_CHANGES { PARALLEL_DEPTH } else { 0 };
    let root = finish(root, Nibbles::new(), depth, &mut written);
    (root, written)
}

fn finish(child: Child, path: Nibbles, parallel: usize, written: &mut Written) -> Child {
    let Child::Loaded(node) = &child else { return child };
    if node.reference.is_some() {
        return child;
    }
    let Child::Loaded(node) = child else { return child };
    // New nodes have one owner; the clone is for a caller that kept the tree.
    let mut node = Arc::unwrap_or_clone(node);
    node.kind = match node.kind {
        Kind::Leaf { .. } => node.kind,
        Kind::Extension { key, child } => {
            Kind::Extension { key, child: finish(child, path.join(&key), parallel, written) }
        }
        Kind::Branch(children) if parallel > 0 => {
            Kind::Branch(finish_in_parallel(children, path, parallel - 1, written))
        }
        Kind::Branch(mut children) => {
            for (nibble, child) in children.iter_mut().enumerate() {
                let taken = std::mem::replace(child, Child::Empty);
                *child = finish(taken, below(path, nibble), 0, written);
            }
            Kind::Branch(children)
        }
    };
    node.reference = Some(refer(&node, path, written));
    Child::Loaded(Arc::new(node))
}

fn finish_in_parallel(
    children: Box<[Child; 16]>,
    path: Nibbles,
    parallel: usize,
    written: &mut Written,
) -> Box<[Child; 16]> {
    let parts: Vec<_> = children
        .into_par_iter()
        .enumerate()
        .map(|(nibble, child)| {
            let mut part = Vec::new();
            let child = finish(child, below(path, nibble), parallel, &mut part);
            (child, part)
        })
        .collect();
    let mut children = [const { Child::Empty }; 16];
    for (place, (child, part)) in children.iter_mut().zip(parts) {
        *place = child;
        written.extend(part);
    }
    Box::new(children)
}

fn refer(node: &Node, path: Nibbles, written: &mut Written) -> Reference {
    let rlp = Bytes::from(node.encode());
    if rlp.len() < 32 && !path.is_empty() {
        return Reference::Inline(rlp);
    }
    let hash = keccak256(&rlp);
    written.push((path, rlp));
    Reference::Hash(hash)
}

fn below(path: Nibbles, nibble: usize) -> Nibbles {
    let mut path = path;
    path.push(nibble as u8);
    path
}
