//! The keys of the state in the store; `vm/schema.py` is the same table for Python.
//!
//! | key | value |
//! |---|---|
//! | `a` address | account: RLP `[nonce, balance, storage root, code hash]`, the bytes of its leaf in the trie |
//! | `s` address slot | value, big-endian without leading zeros; absent means zero |
//! | `c` code hash | code |
//! | `A` path | node of the account trie: RLP |
//! | `S` address path | node of an account's storage trie: RLP |
//!
//! A path is the nibbles from the root, one a byte; the root's is empty. A node whose RLP is shorter than 32 bytes
//! lives inside its parent and has no key, except a root.

use alloy_primitives::{Address, B256, U256};
use alloy_trie::Nibbles;

pub(crate) fn account(address: &Address) -> Vec<u8> {
    [b"a", address.as_slice()].concat()
}

pub(crate) fn slot(address: &Address, slot: &U256) -> Vec<u8> {
    [b"s", address.as_slice(), &slot.to_be_bytes::<32>()].concat()
}

pub(crate) fn code(hash: &B256) -> Vec<u8> {
    [b"c", hash.as_slice()].concat()
}

/// Whose trie a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrieId {
    Accounts,
    Storage(Address),
}

impl TrieId {
    /// Key of the node at `path`.
    pub(crate) fn key(&self, path: &Nibbles) -> Vec<u8> {
        let mut key = match self {
            Self::Accounts => vec![b'A'],
            Self::Storage(address) => [b"S", address.as_slice()].concat(),
        };
        key.extend(path.iter());
        key
    }
}
