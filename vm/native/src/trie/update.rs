//! Structure of the trie after a batch of sorted changes; hashes come later, in `commit`.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use alloy_trie::Nibbles;
use rayon::prelude::*;

use super::node::{Child, Kind, Node, Reference};
use super::{Ahead, Change, NodeSource};
use crate::error::Result;

/// Groups smaller than this are not worth another thread.
const PARALLEL_CHANGES: usize = 128;

/// Applies changes below one node and remembers the stored nodes that this replaces.
pub(super) struct Updater<'a> {
    source: &'a dyn NodeSource,
    epoch: u32,
    ahead: &'a Ahead,
    replaced: Vec<(Nibbles, Bytes)>,
}

impl<'a> Updater<'a> {
    pub(super) fn new(source: &'a dyn NodeSource, epoch: u32, ahead: &'a Ahead) -> Self {
        Self { source, epoch, ahead, replaced: Vec::new() }
    }

    /// Stored nodes that are no longer what or where they were.
    pub(super) fn into_replaced(self) -> Vec<(Nibbles, Bytes)> {
        self.replaced
    }

    /// The subtree at `path` after `changes`, whose keys all begin with `path`; None if it stays the same.
    pub(super) fn apply(&mut self, at: &Child, path: Nibbles, changes: &[Change]) -> Result<Option<Child>> {
        if changes.is_empty() {
            return Ok(None);
        }
        match at {
            Child::Empty => {
                let leaves: Vec<_> = changes.iter().filter_map(inserted).collect();
                Ok((!leaves.is_empty()).then(|| self.build(&leaves, path.len())))
            }
            Child::Stored(hash) => {
                let node = self.load(&path, *hash)?;
                self.apply_to_node(&node, path, changes)
            }
            Child::Loaded(node) => self.apply_to_node(node, path, changes),
        }
    }

    fn apply_to_node(&mut self, node: &Node, path: Nibbles, changes: &[Change]) -> Result<Option<Child>> {
        let changed = match &node.kind {
            Kind::Leaf { key, value } => self.apply_to_leaf(path, key, value, changes),
            Kind::Extension { key, child } => self.apply_to_extension(path, key, child, changes)?,
            Kind::Branch(children) => {
                let updated = self.apply_to_children(children, path, changes)?;
                updated.map(|children| self.normalise(children, path)).transpose()?
            }
        };
        if changed.is_some() {
            self.replace(path, node);
        }
        Ok(changed)
    }

    fn apply_to_leaf(
        &self,
        path: Nibbles,
        key: &Nibbles,
        value: &Bytes,
        changes: &[Change],
    ) -> Option<Child> {
        let here = path.join(key);
        let mut leaves: Vec<_> = changes.iter().filter_map(inserted).collect();
        match changes.binary_search_by_key(&here, |change| change.key) {
            Ok(at) if changes.len() == 1 && changes[at].value.as_ref() == Some(value) => return None,
            Ok(_) => {}
            Err(_) if leaves.is_empty() => return None,
            Err(_) => {
                let at = leaves.partition_point(|leaf| leaf.0 < here);
                leaves.insert(at, (here, value));
            }
        }
        Some(self.build(&leaves, path.len()))
    }

    fn apply_to_extension(
        &mut self,
        path: Nibbles,
        key: &Nibbles,
        child: &Child,
        changes: &[Change],
    ) -> Result<Option<Child>> {
        let shared = changes
            .iter()
            .filter(|change| change.value.is_some())
            .map(|change| change.key.slice(path.len()..).common_prefix_length(key))
            .min()
            .unwrap_or(key.len());
        let end = path.join(&key.slice(..shared));
        let changes = with_prefix(changes, &end);
        if shared == key.len() {
            let changed = self.apply(child, end, changes)?;
            return changed.map(|child| self.extend(path, *key, child)).transpose();
        }
        // An insertion leaves the extension's path: a branch grows where it does.
        let mut children = [const { Child::Empty }; 16];
        let below = if shared + 1 == key.len() {
            child.clone()
        } else {
            Node::extension(key.slice(shared + 1..), child.clone(), self.epoch)
        };
        children[usize::from(key.get_unchecked(shared))] = below;
        let children = self.apply_to_children(&children, end, changes)?.unwrap_or(children);
        let split = self.normalise(children, end)?;
        self.extend(path, key.slice(..shared), split).map(Some)
    }

    /// The children of a branch at `path` after `changes`; None if all stay the same.
    fn apply_to_children(
        &mut self,
        children: &[Child; 16],
        path: Nibbles,
        changes: &[Change],
    ) -> Result<Option<[Child; 16]>> {
        let groups: Vec<_> = changes
            .chunk_by(|a, b| a.key.get_unchecked(path.len()) == b.key.get_unchecked(path.len()))
            .map(|group| (group[0].key.get_unchecked(path.len()), group))
            .collect();
        let results: Vec<_> = if changes.len() >= PARALLEL_CHANGES && groups.len() > 1 {
            let (source, epoch, ahead) = (self.source, self.epoch, self.ahead);
            let parts: Vec<_> = groups
                .par_iter()
                .map(|(nibble, group)| {
                    let mut part = Updater::new(source, epoch, ahead);
                    let result = part.apply(&children[usize::from(*nibble)], below(path, *nibble), group);
                    (*nibble, result, part.replaced)
                })
                .collect();
            parts
                .into_iter()
                .map(|(nibble, result, replaced)| {
                    self.replaced.extend(replaced);
                    (nibble, result)
                })
                .collect()
        } else {
            groups
                .iter()
                .map(|(nibble, group)| {
                    let child = &children[usize::from(*nibble)];
                    (*nibble, self.apply(child, below(path, *nibble), group))
                })
                .collect()
        };
        let mut updated = None;
        for (nibble, result) in results {
            if let Some(child) = result? {
                updated.get_or_insert_with(|| children.clone())[usize::from(nibble)] = child;
            }
        }
        Ok(updated)
    }

    /// The node that holds these children: a branch, or what is left when one or none remains.
    fn normalise(&mut self, children: [Child; 16], path: Nibbles) -> Result<Child> {
        let mut occupied = (0u8..16).filter(|nibble| !matches!(children[usize::from(*nibble)], Child::Empty));
        match (occupied.next(), occupied.next()) {
            (None, _) => Ok(Child::Empty),
            (Some(only), None) => {
                self.extend(path, Nibbles::from_nibbles([only]), children[usize::from(only)].clone())
            }
            _ => Ok(Node::branch(children, self.epoch)),
        }
    }

    /// The node at `path` from which `key` leads to `child`; joins the paths of leaves and extensions.
    fn extend(&mut self, path: Nibbles, key: Nibbles, child: Child) -> Result<Child> {
        if key.is_empty() {
            return Ok(child);
        }
        let below = path.join(&key);
        let node = match &child {
            Child::Empty => return Ok(Child::Empty),
            Child::Stored(hash) => self.load(&below, *hash)?,
            Child::Loaded(node) => node.clone(),
        };
        match &node.kind {
            Kind::Branch(_) => Ok(Node::extension(key, child, self.epoch)),
            Kind::Leaf { key: rest, value } => {
                self.replace(below, &node);
                Ok(Node::leaf(key.join(rest), value.clone(), self.epoch))
            }
            Kind::Extension { key: rest, child } => {
                self.replace(below, &node);
                Ok(Node::extension(key.join(rest), child.clone(), self.epoch))
            }
        }
    }

    /// A fresh subtree of sorted leaves whose keys share their first `depth` nibbles.
    fn build(&self, leaves: &[(Nibbles, &Bytes)], depth: usize) -> Child {
        let (first, last) = match leaves {
            [] => return Child::Empty,
            [(key, value)] => return Node::leaf(key.slice(depth..), (*value).clone(), self.epoch),
            [first, .., last] => (first.0, last.0),
        };
        let fork = first.common_prefix_length(&last);
        let groups: Vec<_> =
            leaves.chunk_by(|a, b| a.0.get_unchecked(fork) == b.0.get_unchecked(fork)).collect();
        let build =
            |group: &&[(Nibbles, &Bytes)]| (group[0].0.get_unchecked(fork), self.build(group, fork + 1));
        let built: Vec<_> = if leaves.len() >= PARALLEL_CHANGES {
            groups.par_iter().map(build).collect()
        } else {
            groups.iter().map(build).collect()
        };
        let mut children = [const { Child::Empty }; 16];
        for (nibble, child) in built {
            children[usize::from(nibble)] = child;
        }
        let branch = Node::branch(children, self.epoch);
        if fork == depth { branch } else { Node::extension(first.slice(depth..fork), branch, self.epoch) }
    }

    fn load(&self, path: &Nibbles, hash: B256) -> Result<Arc<Node>> {
        if let Some(node) = self.ahead.get(path) {
            return Ok(node.clone());
        }
        Node::decode_stored(&self.source.node(path)?, hash, self.epoch)
    }

    fn replace(&mut self, path: Nibbles, node: &Node) {
        let has_own_key = match node.reference {
            Some(Reference::Hash(_)) => true,
            Some(Reference::Inline(_)) => path.is_empty(),
            None => false,
        };
        if has_own_key {
            self.replaced.push((path, node.encode().into()));
        }
    }
}

fn inserted(change: &Change) -> Option<(Nibbles, &Bytes)> {
    change.value.as_ref().map(|value| (change.key, value))
}

fn below(path: Nibbles, nibble: u8) -> Nibbles {
    let mut path = path;
    path.push(nibble);
    path
}

/// The run of sorted changes whose keys begin with `prefix`.
pub(super) fn with_prefix<'c>(changes: &'c [Change], prefix: &Nibbles) -> &'c [Change] {
    let start = changes.partition_point(|change| change.key.slice(..prefix.len()) < *prefix);
    let length = changes[start..].partition_point(|change| change.key.starts_with(prefix));
    &changes[start..start + length]
}
