//! The state's Merkle-Patricia trie, kept as a partial tree in memory over nodes stored by path.
//!
//! Nodes are immutable and shared: an update makes new nodes along the changed paths and leaves the old tree as it
//! was, so a block can be abandoned by dropping its root. A branch of the tree that is not in memory is a hash; it is
//! read when a change passes through it. Keys are 32 bytes long, so no branch holds a value.

mod commit;
mod node;
mod prefetch;
mod proof;
mod prune;
mod update;

#[cfg(test)]
mod tests;

use alloy_primitives::{B256, Bytes, b256};
use alloy_trie::Nibbles;

use crate::error::Result;
pub(crate) use node::Child;
pub(crate) use prefetch::{Ahead, Visit, prefetch};
pub(crate) use proof::prove;
pub(crate) use prune::prune;

/// Root of a trie without leaves: keccak256 of the RLP of an empty string.
pub(crate) const EMPTY_ROOT: B256 = b256!("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");

/// Where nodes that are not in memory are read from.
pub(crate) trait NodeSource: Sync {
    /// RLP of the stored node at `path`.
    fn node(&self, path: &Nibbles) -> Result<Bytes>;
}

/// What becomes of one key; `None` deletes it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Nibbles,
    pub(crate) value: Option<Bytes>,
}

impl Change {
    pub(crate) fn new(key: &B256, value: Option<Bytes>) -> Self {
        Self { key: Nibbles::unpack_array(&key.0), value }
    }
}

/// A stored node before and after a batch; `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeChange {
    pub(crate) path: Nibbles,
    pub(crate) before: Option<Bytes>,
    pub(crate) after: Option<Bytes>,
}

/// The trie after a batch of changes.
pub(crate) struct Updated {
    pub(crate) root: Child,
    pub(crate) hash: B256,
    /// Stored nodes that differ, sorted by path, each once.
    pub(crate) nodes: Vec<NodeChange>,
}

/// Root of the trie whose root hash is known and whose nodes are all in the store.
pub(crate) fn stored(root: B256) -> Child {
    if root == EMPTY_ROOT { Child::Empty } else { Child::Stored(root) }
}

/// Applies changes, sorted by key and each key once, to the trie under `root`.
///
/// Nodes come from `ahead` (see [`prefetch`]) where it has them. New nodes carry `epoch`, the number that [`prune`]
/// later tells old ones by.
pub(crate) fn apply(
    source: &dyn NodeSource,
    root: &Child,
    changes: &[Change],
    epoch: u32,
    ahead: &Ahead,
) -> Result<Updated> {
    debug_assert!(changes.windows(2).all(|pair| pair[0].key < pair[1].key));
    let mut updater = update::Updater::new(source, epoch, ahead);
    let changed = updater.apply(root, Nibbles::new(), changes)?;
    let (root, after) = match changed {
        Some(child) => commit::commit(child, changes.len()),
        None => (root.clone(), Vec::new()),
    };
    let hash = root.root_hash();
    Ok(Updated { root, hash, nodes: merge(updater.into_replaced(), after) })
}

/// Pairs the nodes that were with the nodes that are.
fn merge(mut before: Vec<(Nibbles, Bytes)>, mut after: Vec<(Nibbles, Bytes)>) -> Vec<NodeChange> {
    before.sort_unstable_by_key(|entry| entry.0);
    after.sort_unstable_by_key(|entry| entry.0);
    let mut merged = Vec::with_capacity(after.len() + 16);
    let mut old = before.into_iter().peekable();
    for (path, node) in after {
        while let Some((path, gone)) = old.next_if(|entry| entry.0 < path) {
            merged.push(NodeChange { path, before: Some(gone), after: None });
        }
        let replaced = old.next_if(|entry| entry.0 == path).map(|entry| entry.1);
        if replaced.as_ref() != Some(&node) {
            merged.push(NodeChange { path, before: replaced, after: Some(node) });
        }
    }
    merged.extend(old.map(|(path, gone)| NodeChange { path, before: Some(gone), after: None }));
    merged
}
