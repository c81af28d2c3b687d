//! A node of the trie and its RLP form.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes, keccak256};
use alloy_rlp::{BufMut, EMPTY_STRING_CODE, Encodable, Header};
use alloy_trie::Nibbles;

use super::EMPTY_ROOT;
use crate::error::{Failure, Result};

/// How a parent names a node: by hash, or by its whole RLP where that is shorter than a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Hash(B256),
    Inline(Bytes),
}

/// A place in the tree for a node.
#[derive(Clone, Debug)]
pub(crate) enum Child {
    Empty,
    /// In the store only.
    Stored(B256),
    Loaded(Arc<Node>),
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Leaf { key: Nibbles, value: Bytes },
    Extension { key: Nibbles, child: Child },
    Branch(Box<[Child; 16]>),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// None while the node is new and not yet hashed.
    pub(crate) reference: Option<Reference>,
    /// When the node was made or read; see [`super::prune`].
    pub(crate) epoch: u32,
}

impl Child {
    /// Hash of the trie whose root this is.
    pub(crate) fn root_hash(&self) -> B256 {
        match self {
            Self::Empty => EMPTY_ROOT,
            Self::Stored(hash) => *hash,
            Self::Loaded(node) => match &node.reference {
                Some(Reference::Hash(hash)) => *hash,
                _ => keccak256(node.encode()),
            },
        }
    }

    fn encode_reference(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => out.put_u8(EMPTY_STRING_CODE),
            Self::Stored(hash) => hash.encode(out),
            Self::Loaded(node) => match &node.reference {
                Some(Reference::Hash(hash)) => hash.encode(out),
                Some(Reference::Inline(rlp)) => out.extend_from_slice(rlp),
                None => unreachable!("children are hashed before their parent"),
            },
        }
    }

    fn reference_length(&self) -> usize {
        match self {
            Self::Empty => 1,
            Self::Stored(_) => 33,
            Self::Loaded(node) => match &node.reference {
                Some(Reference::Inline(rlp)) => rlp.len(),
                _ => 33,
            },
        }
    }
}

impl Node {
    pub(crate) fn leaf(key: Nibbles, value: Bytes, epoch: u32) -> Child {
        Child::Loaded(Arc::new(Self { kind: Kind::Leaf { key, value }, reference: None, epoch }))
    }

    pub(crate) fn extension(key: Nibbles, child: Child, epoch: u32) -> Child {
        Child::Loaded(Arc::new(Self { kind: Kind::Extension { key, child }, reference: None, epoch }))
    }

    pub(crate) fn branch(children: [Child; 16], epoch: u32) -> Child {
        Child::Loaded(Arc::new(Self { kind: Kind::Branch(Box::new(children)), reference: None, epoch }))
    }

    /// RLP of the node; its children must be hashed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Leaf { key, value } => {
                let path = hex_prefix(key, true);
                let payload = path.as_slice().length() + value.as_ref().length();
                let mut out = list(payload);
                path.as_slice().encode(&mut out);
                value.as_ref().encode(&mut out);
                out
            }
            Kind::Extension { key, child } => {
                let path = hex_prefix(key, false);
                let mut out = list(path.as_slice().length() + child.reference_length());
                path.as_slice().encode(&mut out);
                child.encode_reference(&mut out);
                out
            }
            Kind::Branch(children) => {
                let payload = children.iter().map(Child::reference_length).sum::<usize>() + 1;
                let mut out = list(payload);
                for child in children.iter() {
                    child.encode_reference(&mut out);
                }
                out.put_u8(EMPTY_STRING_CODE);
                out
            }
        }
    }

    /// Reads a stored node whose hash the parent names.
    pub(crate) fn decode_stored(rlp: &[u8], hash: B256, epoch: u32) -> Result<Arc<Self>> {
        if keccak256(rlp) != hash {
            return Err(Failure::corrupt("a stored trie node does not have the hash its parent names"));
        }
        let kind = decode_kind(rlp, epoch)?;
        Ok(Arc::new(Self { kind, reference: Some(Reference::Hash(hash)), epoch }))
    }

    /// Bytes that the node occupies in memory, roughly.
    pub(crate) fn size(&self) -> usize {
        match &self.kind {
            Kind::Leaf { value, .. } => 192 + value.len(),
            Kind::Extension { .. } => 192,
            Kind::Branch(_) => 192 + 16 * size_of::<Child>(),
        }
    }
}

/// An empty buffer that begins with the header of a list.
fn list(payload_length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload_length + 4);
    Header { list: true, payload_length }.encode(&mut out);
    out
}

/// Compact form of a path: flag nibble (1 odd, 2 leaf), then the nibbles.
fn hex_prefix(key: &Nibbles, leaf: bool) -> Vec<u8> {
    let odd = key.len() % 2;
    let flag = u8::from(leaf) << 1 | odd as u8;
    let mut out = Vec::with_capacity(key.len() / 2 + 1);
    out.push(if odd == 1 { flag << 4 | key.get_unchecked(0) } else { flag << 4 });
    for at in (odd..key.len()).step_by(2) {
        out.push(key.get_unchecked(at) << 4 | key.get_unchecked(at + 1));
    }
    out
}

/// Inverse of [`hex_prefix`]: the path and whether it ends in a leaf.
fn decode_path(bytes: &[u8]) -> Option<(Nibbles, bool)> {
    let (first, rest) = bytes.split_first()?;
    let flag = first >> 4;
    if flag > 3 || (flag & 1 == 0 && first & 0xf != 0) || rest.len() * 2 + usize::from(flag & 1) > 64 {
        return None;
    }
    let mut path = Nibbles::new();
    if flag & 1 == 1 {
        path.push(first & 0xf);
    }
    path.extend(&Nibbles::unpack(rest));
    Some((path, flag & 2 != 0))
}

fn malformed() -> Failure {
    Failure::corrupt("a stored trie node does not decode")
}

fn decode_kind(rlp: &[u8], epoch: u32) -> Result<Kind> {
    let items = list_items(rlp)?;
    match items.as_slice() {
        [path, second] => {
            let (key, is_leaf) = string(path).and_then(decode_path).ok_or_else(malformed)?;
            if is_leaf {
                let value = Bytes::copy_from_slice(string(second).ok_or_else(malformed)?);
                return Ok(Kind::Leaf { key, value });
            }
            Ok(Kind::Extension { key, child: decode_child(second, epoch)? })
        }
        items if items.len() == 17 => {
            if items[16] != [EMPTY_STRING_CODE] {
                return Err(malformed());
            }
            let mut children = [const { Child::Empty }; 16];
            for (child, item) in children.iter_mut().zip(items) {
                *child = decode_child(item, epoch)?;
            }
            Ok(Kind::Branch(Box::new(children)))
        }
        _ => Err(malformed()),
    }
}

fn decode_child(item: &[u8], epoch: u32) -> Result<Child> {
    match string(item) {
        Some([]) => Ok(Child::Empty),
        Some(hash) => B256::try_from(hash).map(Child::Stored).map_err(|_| malformed()),
        None => {
            let node = Node {
                kind: decode_kind(item, epoch)?,
                reference: Some(Reference::Inline(Bytes::copy_from_slice(item))),
                epoch,
            };
            Ok(Child::Loaded(Arc::new(node)))
        }
    }
}

/// The items of a list, each with its header.
fn list_items(rlp: &[u8]) -> Result<Vec<&[u8]>> {
    let mut rest = rlp;
    let header = Header::decode(&mut rest).map_err(|_| malformed())?;
    if !header.list || rest.len() != header.payload_length {
        return Err(malformed());
    }
    let mut items = Vec::with_capacity(17);
    while !rest.is_empty() {
        let mut body = rest;
        let header = Header::decode(&mut body).map_err(|_| malformed())?;
        let length = rest.len() - body.len() + header.payload_length;
        if length > rest.len() || items.len() == 17 {
            return Err(malformed());
        }
        let (item, tail) = rest.split_at(length);
        items.push(item);
        rest = tail;
    }
    Ok(items)
}

/// Payload of a string item; None for a list.
fn string(item: &[u8]) -> Option<&[u8]> {
    let mut body = item;
    let header = Header::decode(&mut body).ok()?;
    (!header.list).then(|| &body[..header.payload_length])
}
