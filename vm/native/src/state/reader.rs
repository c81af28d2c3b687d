//! What revm reads during one block, and what each thing was when the block began.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::Database;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{AddressMap, AddressSet, HashMap};
use revm::state::{AccountInfo, Bytecode, EvmState};

use super::account::Account;
use super::store::Snapshot;
use crate::error::{Failure, Result};
use crate::infer::host::Callbacks;
use crate::plain::Plain;
use crate::trie::EMPTY_ROOT;

/// One account's replaced parts, for calls on a hypothetical state.
#[derive(Clone, Default)]
pub(crate) struct Override {
    pub(crate) balance: Option<U256>,
    pub(crate) nonce: Option<u64>,
    pub(crate) code: Option<Bytecode>,
    /// All slots, if the storage is replaced as a whole.
    pub(crate) storage: Option<HashMap<U256, U256>>,
    pub(crate) storage_diff: HashMap<U256, U256>,
}

/// What transactions before the one that runs have made of the snapshot.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    accounts: AddressMap<LayerAccount>,
}

#[derive(Clone, Default)]
struct LayerAccount {
    /// None: there is no such account any more.
    info: Option<AccountInfo>,
    /// Slots below count no more: the account was made or destroyed here.
    fresh: bool,
    slots: HashMap<U256, U256>,
}

impl Layer {
    /// Lays a transaction's changes over it.
    pub(crate) fn apply(&mut self, state: EvmState) {
        for (address, account) in state {
            if !account.is_touched() {
                continue;
            }
            let entry = self.accounts.entry(address).or_default();
            let gone = account.is_selfdestructed() || account.is_empty();
            if gone || account.is_created() {
                entry.fresh = true;
                entry.slots.clear();
            }
            entry.info = (!gone).then_some(account.info);
            if !gone {
                let slots = account.storage.into_iter();
                entry.slots.extend(slots.map(|(slot, value)| (slot, value.present_value)));
            }
        }
    }
}

/// Reads a snapshot for revm and keeps the originals.
///
/// revm's journal holds what a block has changed so far and asks here only once for each thing.
pub(crate) struct Reader {
    snapshot: Snapshot,
    callbacks: Arc<Callbacks>,
    pub(crate) accounts: AddressMap<Option<Account>>,
    pub(crate) slots: HashMap<(Address, U256), U256>,
    block_hashes: HashMap<u64, B256>,
    overrides: AddressMap<Override>,
    /// Accounts whose storage was replaced as a whole, for simulations that compute a root.
    pub(crate) replaced: AddressSet,
    guards_storage: bool,
    knows_delegations: bool,
    pub(crate) layer: Layer,
}

impl Reader {
    pub(crate) fn new(snapshot: Snapshot, callbacks: Arc<Callbacks>) -> Self {
        Self {
            snapshot,
            callbacks,
            accounts: AddressMap::default(),
            slots: HashMap::default(),
            block_hashes: HashMap::default(),
            overrides: AddressMap::default(),
            replaced: AddressSet::default(),
            guards_storage: false,
            knows_delegations: true,
            layer: Layer::default(),
        }
    }

    /// Reads for a block of plain Ethereum, if it is one: of states that our own chain cannot come to.
    ///
    /// No contract is created over storage that is there (EIP-7610). revm looks at nonce and code alone, so such an
    /// account is shown with a code hash that no code has. Before Prague a delegation is code like any other; revm
    /// knows it in every fork.
    pub(crate) fn under(mut self, plain: Option<Plain>) -> Self {
        self.guards_storage = plain.is_some();
        self.knows_delegations = plain.is_none_or(|plain| plain.spec.is_enabled_in(SpecId::PRAGUE));
        self
    }

    pub(crate) fn with_overrides(mut self, overrides: AddressMap<Override>) -> Self {
        self.overrides = overrides;
        self
    }

    /// Forgets the storage of a loaded account: from now on it has these slots and no other.
    pub(crate) fn replace_storage(&mut self, address: Address, storage: HashMap<U256, U256>) {
        self.slots.retain(|(holder, _), _| *holder != address);
        if let Some(Some(account)) = self.accounts.get_mut(&address) {
            account.storage_root = EMPTY_ROOT;
        }
        self.overrides.insert(address, Override { storage: Some(storage), ..Override::default() });
        self.replaced.insert(address);
    }

    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn info(&self, account: &Account) -> AccountInfo {
        let mut info = account.info();
        if self.guards_storage && account.has_only_storage() {
            info.code_hash = B256::ZERO;
            info.code = Some(Bytecode::default());
        }
        info
    }

    /// An account without overrides.
    fn account(&mut self, address: Address) -> Result<Option<AccountInfo>> {
        if let Some(entry) = self.layer.accounts.get(&address) {
            return Ok(entry.info.clone());
        }
        let account = self.snapshot.account(&address)?;
        self.accounts.insert(address, account);
        Ok(account.map(|account| self.info(&account)))
    }

    fn ask_block_hash(&self, number: u64) -> Result<B256> {
        Python::attach(|py| {
            let answer = self.callbacks.block_hash.call1(py, (number,))?;
            if answer.is_none(py) {
                return Ok(B256::ZERO);
            }
            let bytes = answer.bind(py).cast::<PyBytes>().map_err(PyErr::from)?;
            B256::try_from(bytes.as_bytes())
                .map_err(|_| Failure::new("core.bad_answer", "block_hash must answer 32 bytes"))
        })
    }
}

impl Database for Reader {
    type Error = Failure;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>> {
        let account = self.account(address)?;
        let Some(replaced) = self.overrides.get(&address) else {
            return Ok(account);
        };
        let mut info = account.unwrap_or_default();
        info.balance = replaced.balance.unwrap_or(info.balance);
        info.nonce = replaced.nonce.unwrap_or(info.nonce);
        if let Some(code) = &replaced.code {
            info.code_hash = code.hash_slow();
            info.code = Some(code.clone());
        }
        Ok(Some(info))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode> {
        let code = self.snapshot.code(&code_hash)?;
        if code.is_eip7702() && !self.knows_delegations {
            return Ok(Bytecode::new_legacy(code.original_bytes()));
        }
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256> {
        if let Some(replaced) = self.overrides.get(&address) {
            if let Some(value) = replaced.storage_diff.get(&slot) {
                return Ok(*value);
            }
            if let Some(storage) = &replaced.storage {
                return Ok(storage.get(&slot).copied().unwrap_or_default());
            }
        }
        if let Some(entry) = self.layer.accounts.get(&address) {
            if let Some(value) = entry.slots.get(&slot) {
                return Ok(*value);
            }
            if entry.fresh {
                return Ok(U256::ZERO);
            }
        }
        let value = self.snapshot.slot(&address, &slot)?;
        self.slots.insert((address, slot), value);
        Ok(value)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256> {
        if let Some(hash) = self.block_hashes.get(&number) {
            return Ok(*hash);
        }
        let hash = self.ask_block_hash(number)?;
        self.block_hashes.insert(number, hash);
        Ok(hash)
    }
}
