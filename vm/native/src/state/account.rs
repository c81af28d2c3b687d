//! An account as the state holds it.

use alloy_primitives::{B256, KECCAK256_EMPTY, U256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use revm::state::AccountInfo;

use crate::error::{Failure, Result};
use crate::trie::EMPTY_ROOT;

/// Account; its RLP is both the flat record and the value of its leaf in the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct Account {
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) storage_root: B256,
    pub(crate) code_hash: B256,
}

impl Account {
    /// What an absent account is worth.
    pub(crate) const EMPTY: Self =
        Self { nonce: 0, balance: U256::ZERO, storage_root: EMPTY_ROOT, code_hash: KECCAK256_EMPTY };

    pub(crate) fn decode(rlp: &[u8]) -> Result<Self> {
        alloy_rlp::decode_exact(rlp).map_err(|_| Failure::corrupt("a stored account does not decode"))
    }

    /// Whether there is storage without code or nonce, which only a made-up state has.
    pub(crate) fn has_only_storage(&self) -> bool {
        self.nonce == 0 && self.code_hash == KECCAK256_EMPTY && self.storage_root != EMPTY_ROOT
    }

    /// The part that the EVM reads; code is loaded when it is needed.
    pub(crate) fn info(&self) -> AccountInfo {
        let mut info = AccountInfo { nonce: self.nonce, balance: self.balance, ..AccountInfo::default() };
        if self.code_hash != KECCAK256_EMPTY {
            info.code_hash = self.code_hash;
            info.code = None;
        }
        info
    }
}
