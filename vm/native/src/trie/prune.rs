//! Forgetting nodes that no recent block touched; they can be read again.

use std::sync::Arc;

use super::node::{Child, Kind, Reference};

/// The tree without nodes older than `oldest`, and the bytes that what is left occupies.
///
/// A node is never older than its descendants, because every change remakes the way from the root.
pub(crate) fn prune(child: &Child, oldest: u32) -> (Child, usize) {
    let Child::Loaded(node) = child else { return (child.clone(), 0) };
    if node.epoch < oldest
        && let Some(Reference::Hash(hash)) = &node.reference
    {
        return (Child::Stored(*hash), 0);
    }
    let mut bytes = node.size();
    let kind = match &node.kind {
        Kind::Leaf { .. } => return (child.clone(), bytes),
        Kind::Extension { key, child } => {
            let (child, below) = prune(child, oldest);
            bytes += below;
            Kind::Extension { key: *key, child }
        }
        Kind::Branch(children) => Kind::Branch(Box::new(std::array::from_fn(|nibble| {
            let (child, below) = prune(&children[nibble], oldest);
            bytes += below;
            child
        }))),
    };
    let mut node = (**node).clone();
    node.kind = kind;
    (Child::Loaded(Arc::new(node)), bytes)
}
