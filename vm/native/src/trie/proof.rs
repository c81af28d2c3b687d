//! Proofs of presence and absence: the stored nodes on the way to a key.

use alloy_primitives::{B256, Bytes};
use alloy_trie::Nibbles;

use super::NodeSource;
use super::node::{Child, Kind, Node, Reference};
use crate::error::Result;

/// RLP of the nodes from the root towards `key`, those inside their parent left out; empty for an empty trie.
///
/// The last node either holds the key or shows that nothing does.
pub(crate) fn prove(source: &dyn NodeSource, root: &Child, key: &B256) -> Result<Vec<Bytes>> {
    let key = Nibbles::unpack_array(&key.0);
    let mut proof = Vec::new();
    let mut depth = 0;
    let mut at = root.clone();
    loop {
        let node = match &at {
            Child::Empty => return Ok(proof),
            Child::Stored(hash) => {
                let path = key.slice(..depth);
                Node::decode_stored(&source.node(&path)?, *hash, 0)?
            }
            Child::Loaded(node) => node.clone(),
        };
        if depth == 0 || !matches!(node.reference, Some(Reference::Inline(_))) {
            proof.push(node.encode().into());
        }
        at = match &node.kind {
            Kind::Leaf { .. } => return Ok(proof),
            Kind::Extension { key: part, child } => {
                if !key.slice(depth..).starts_with(part) {
                    return Ok(proof);
                }
                depth += part.len();
                child.clone()
            }
            Kind::Branch(children) => {
                depth += 1;
                children[usize::from(key.get_unchecked(depth - 1))].clone()
            }
        };
    }
}
