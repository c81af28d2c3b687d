//! One state shared by its readers: what is cached, and how it moves from block to block.
//!
//! Readers hold a [`Snapshot`], a number that must still be the state's when they read. A move (commit, reset) takes
//! three steps: announce, let the caller write the store, promote. While it lasts new readers wait; a reader from
//! before is told that its snapshot is stale and starts again. So nobody sees half a block, although the store itself
//! has no snapshots. The lock is never held while Python runs.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use alloy_trie::Nibbles;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use revm::primitives::AddressMap;
use revm::state::Bytecode;

use super::account::Account;
use super::cache::Cache;
use crate::error::{Failure, Result};
use crate::keys::{self, TrieId};
use crate::trie::{self, Child, EMPTY_ROOT, NodeSource};

/// Bytes that one cached entry takes with its key and the tables' slack; code counts as [`CODE_BYTES`].
const ACCOUNT_BYTES: usize = 192;
const SLOT_BYTES: usize = 160;
const CODE_BYTES: usize = 24_576;

/// Nodes untouched for this many blocks are the first to be forgotten.
const PRUNE_AGES: [u32; 4] = [256, 32, 4, 0];

/// State of the state.
struct Inner {
    /// Number of the snapshot that may read.
    generation: u64,
    moving: bool,
    accounts: Cache<Address, Option<Account>>,
    slots: Cache<(Address, U256), U256>,
    codes: Cache<B256, Bytecode>,
    /// None until it was read once.
    root: Option<Child>,
    storage: AddressMap<Child>,
    /// Counts commits; new trie nodes carry it.
    epoch: u32,
    trie_bytes: usize,
}

/// What a block makes of the cache.
#[derive(Default)]
pub(crate) struct Promotion {
    pub(crate) accounts: Vec<(Address, Option<Account>)>,
    pub(crate) slots: Vec<((Address, U256), U256)>,
    pub(crate) codes: Vec<(B256, Bytecode)>,
    pub(crate) root: Option<Child>,
    pub(crate) storage: Vec<(Address, Child)>,
    /// Trie bytes made.
    pub(crate) trie_bytes: usize,
}

/// The shared state.
pub(crate) struct Store {
    /// None: nothing is stored.
    read: Option<Py<PyAny>>,
    inner: Mutex<Inner>,
    moved: Condvar,
    trie_budget: usize,
}

impl Store {
    pub(crate) fn new(read: Py<PyAny>, cache_bytes: usize) -> Self {
        Self::over(Some(read), cache_bytes)
    }

    /// A state without accounts.
    pub(crate) fn empty() -> Self {
        Self::over(None, 0)
    }

    fn over(read: Option<Py<PyAny>>, cache_bytes: usize) -> Self {
        // Half for the trie, three eighths for accounts and slots, the rest for code.
        let flat = cache_bytes / 16 * 3;
        let inner = Inner {
            generation: 0,
            moving: false,
            accounts: Cache::new((flat / ACCOUNT_BYTES).max(64)),
            slots: Cache::new((flat / SLOT_BYTES).max(64)),
            codes: Cache::new((cache_bytes / 8 / CODE_BYTES).max(16)),
            root: None,
            storage: HashMap::default(),
            epoch: 0,
            trie_bytes: 0,
        };
        Self { read, inner: Mutex::new(inner), moved: Condvar::new(), trie_budget: cache_bytes / 2 }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves whole entries behind, so the cache stays right.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot of the state as it is, after any move under way.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let guard = self.lock();
        let guard =
            self.moved.wait_while(guard, |inner| inner.moving).unwrap_or_else(PoisonError::into_inner);
        Snapshot { store: self.clone(), generation: guard.generation }
    }

    /// Announces a move: new readers wait, old ones become stale when it succeeds.
    ///
    /// Fails if `from` is given and no longer the state's number.
    fn begin(&self, from: Option<u64>) -> Result<Move<'_>> {
        let guard = self.lock();
        let mut inner =
            self.moved.wait_while(guard, |inner| inner.moving).unwrap_or_else(PoisonError::into_inner);
        if from.is_some_and(|from| from != inner.generation) {
            return Err(Failure::Stale);
        }
        inner.moving = true;
        Ok(Move(self))
    }

    /// Moves the state from snapshot `from` to the block that `promotion` describes, if `persist` succeeds.
    pub(crate) fn commit(
        &self,
        from: u64,
        persist: impl FnOnce() -> Result<()>,
        promotion: &mut Promotion,
    ) -> Result<()> {
        let moving = self.begin(Some(from))?;
        persist()?;
        let mut inner = self.lock();
        inner.generation += 1;
        inner.promote(std::mem::take(promotion));
        inner.prune(self.trie_budget);
        drop(inner);
        drop(moving);
        Ok(())
    }

    /// Forgets everything cached, around a change of the store by `persist`.
    ///
    /// If `persist` fails the store may have changed all the same, so the cache goes either way.
    pub(crate) fn reset(&self, persist: impl FnOnce() -> Result<()>) -> Result<()> {
        let moving = self.begin(None)?;
        let result = persist();
        let mut inner = self.lock();
        inner.generation += 1;
        inner.clear();
        drop(inner);
        drop(moving);
        result
    }

    /// Bytes cached, estimated.
    pub(crate) fn size(&self) -> usize {
        let inner = self.lock();
        inner.accounts.len() * ACCOUNT_BYTES
            + inner.slots.len() * SLOT_BYTES
            + inner.codes.len() * CODE_BYTES / 4
            + inner.trie_bytes
    }

    /// Asks Python for values.
    fn fetch(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let Some(read) = &self.read else { return Ok(vec![None; keys.len()]) };
        Python::attach(|py| {
            let list = PyList::new(py, keys.iter().map(|key| PyBytes::new(py, key)))?;
            let values: Vec<Option<Vec<u8>>> = read
                .call1(py, (list,))?
                .bind(py)
                .try_iter()?
                .map(|value| {
                    let value = value?;
                    if value.is_none() {
                        return Ok(None);
                    }
                    Ok(Some(value.cast::<PyBytes>()?.as_bytes().to_vec()))
                })
                .collect::<PyResult<_>>()?;
            if values.len() != keys.len() {
                return Err(Failure::corrupt("the read callback answered another number of values"));
            }
            Ok(values)
        })
    }
}

/// A move under way; readers may go on when it is dropped.
struct Move<'a>(&'a Store);

impl Drop for Move<'_> {
    fn drop(&mut self) {
        self.0.lock().moving = false;
        self.0.moved.notify_all();
    }
}

impl Inner {
    fn promote(&mut self, promotion: Promotion) {
        self.epoch += 1;
        for (address, account) in promotion.accounts {
            self.accounts.insert(address, account);
        }
        for (key, value) in promotion.slots {
            self.slots.insert(key, value);
        }
        for (hash, code) in promotion.codes {
            self.codes.insert(hash, code);
        }
        self.root = promotion.root.or(self.root.take());
        self.storage.extend(promotion.storage);
        self.trie_bytes += promotion.trie_bytes;
    }

    fn clear(&mut self) {
        self.accounts.clear();
        self.slots.clear();
        self.codes.clear();
        self.root = None;
        self.storage.clear();
        self.trie_bytes = 0;
    }

    /// Brings the trie well below its budget when it is above, oldest nodes first.
    ///
    /// `trie_bytes` counts what blocks made and not what they replaced, so the first look is also a recount.
    fn prune(&mut self, budget: usize) {
        if self.trie_bytes <= budget {
            return;
        }
        for age in PRUNE_AGES {
            let oldest = self.epoch.saturating_sub(age);
            self.trie_bytes = 0;
            let mut prune = |child: &mut Child| {
                let (kept, bytes) = trie::prune(child, oldest);
                *child = kept;
                self.trie_bytes += bytes;
            };
            self.root.iter_mut().for_each(&mut prune);
            self.storage.values_mut().for_each(&mut prune);
            self.storage.retain(|_, child| matches!(child, Child::Loaded(_)));
            if self.trie_bytes <= budget / 4 * 3 {
                return;
            }
        }
        self.root = None;
        self.storage.clear();
        self.trie_bytes = 0;
    }
}

/// The right to read the state while it does not move.
#[derive(Clone)]
pub(crate) struct Snapshot {
    store: Arc<Store>,
    generation: u64,
}

impl Snapshot {
    fn lock(&self) -> Result<MutexGuard<'_, Inner>> {
        let inner = self.store.lock();
        if inner.moving || inner.generation != self.generation { Err(Failure::Stale) } else { Ok(inner) }
    }

    fn fetch_one(&self, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        Ok(self.store.fetch(&[key])?.pop().flatten())
    }

    pub(crate) fn account(&self, address: &Address) -> Result<Option<Account>> {
        if let Some(account) = self.lock()?.accounts.get(address) {
            return Ok(account);
        }
        let account = decode_account(self.fetch_one(keys::account(address))?)?;
        self.lock()?.accounts.insert(*address, account);
        Ok(account)
    }

    pub(crate) fn slot(&self, address: &Address, slot: &U256) -> Result<U256> {
        if let Some(value) = self.lock()?.slots.get(&(*address, *slot)) {
            return Ok(value);
        }
        let value = decode_slot(self.fetch_one(keys::slot(address, slot))?)?;
        self.lock()?.slots.insert((*address, *slot), value);
        Ok(value)
    }

    pub(crate) fn code(&self, hash: &B256) -> Result<Bytecode> {
        if *hash == KECCAK256_EMPTY {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.lock()?.codes.get(hash) {
            return Ok(code);
        }
        let code = decode_code(self.fetch_one(keys::code(hash))?)?;
        self.lock()?.codes.insert(*hash, code.clone());
        Ok(code)
    }

    /// Which of these code hashes the store lacks.
    pub(crate) fn missing_codes(&self, hashes: &[B256]) -> Result<Vec<bool>> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = hashes.iter().map(keys::code).collect();
        let values = self.store.fetch(&keys)?;
        drop(self.lock()?);
        Ok(values.iter().map(Option::is_none).collect())
    }

    /// Reads accounts and slots that are not cached in one batch, then the code of `called` accounts in another.
    pub(crate) fn prefetch(
        &self,
        accounts: &[Address],
        called: &[Address],
        slots: &[(Address, U256)],
    ) -> Result<()> {
        let (accounts, slots) = {
            let inner = self.lock()?;
            let accounts: Vec<_> =
                accounts.iter().filter(|address| !inner.accounts.contains(address)).collect();
            let slots: Vec<_> = slots.iter().filter(|slot| !inner.slots.contains(slot)).collect();
            (accounts, slots)
        };
        let mut wanted: Vec<_> = accounts.iter().map(|address| keys::account(address)).collect();
        wanted.extend(slots.iter().map(|(address, slot)| keys::slot(address, slot)));
        if !wanted.is_empty() {
            let mut values = self.store.fetch(&wanted)?.into_iter();
            let mut inner = self.lock()?;
            for (address, value) in accounts.into_iter().zip(values.by_ref()) {
                inner.accounts.insert(*address, decode_account(value)?);
            }
            for (slot, value) in slots.into_iter().zip(values) {
                inner.slots.insert(*slot, decode_slot(value)?);
            }
        }
        self.prefetch_codes(called)
    }

    fn prefetch_codes(&self, called: &[Address]) -> Result<()> {
        let mut hashes = Vec::new();
        {
            let mut inner = self.lock()?;
            for address in called {
                let Some(Some(account)) = inner.accounts.get(address) else { continue };
                if account.code_hash != KECCAK256_EMPTY && !inner.codes.contains(&account.code_hash) {
                    hashes.push(account.code_hash);
                }
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        if hashes.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = hashes.iter().map(keys::code).collect();
        let values = self.store.fetch(&keys)?;
        let mut inner = self.lock()?;
        for (hash, value) in hashes.into_iter().zip(values) {
            inner.codes.insert(hash, decode_code(value)?);
        }
        Ok(())
    }

    /// Root of the account trie.
    pub(crate) fn root(&self) -> Result<Child> {
        if let Some(root) = self.lock()?.root.clone() {
            return Ok(root);
        }
        let rlp = self.fetch_one(TrieId::Accounts.key(&Nibbles::new()))?;
        let hash = rlp.map_or(EMPTY_ROOT, alloy_primitives::keccak256);
        let root = trie::stored(hash);
        self.lock()?.root = Some(root.clone());
        Ok(root)
    }

    /// Root of an account's storage trie, of which the account names the hash.
    pub(crate) fn storage_root(&self, address: &Address, hash: B256) -> Result<Child> {
        let cached = self.lock()?.storage.get(address).cloned();
        match cached {
            Some(root) if root.root_hash() == hash => Ok(root),
            _ => Ok(trie::stored(hash)),
        }
    }

    /// Number that new trie nodes carry.
    pub(crate) fn next_epoch(&self) -> Result<u32> {
        Ok(self.lock()?.epoch + 1)
    }

    /// Stored nodes of any tries, in one batch.
    pub(crate) fn trie_nodes(&self, places: &[(TrieId, Nibbles)]) -> Result<Vec<Bytes>> {
        let keys: Vec<_> = places.iter().map(|(id, path)| id.key(path)).collect();
        let values = self.store.fetch(&keys)?;
        drop(self.lock()?);
        let node = |(rlp, (id, path)): (Option<Vec<u8>>, &(TrieId, Nibbles))| {
            rlp.map(Bytes::from).ok_or_else(|| missing_node(*id, path))
        };
        values.into_iter().zip(places).map(node).collect()
    }

    pub(crate) fn trie(&self, id: TrieId) -> TrieNodes<'_> {
        TrieNodes { snapshot: self, id }
    }

    /// Moves the state on from this snapshot.
    pub(crate) fn commit(
        &self,
        persist: impl FnOnce() -> Result<()>,
        promotion: &mut Promotion,
    ) -> Result<()> {
        self.store.commit(self.generation, persist, promotion)
    }
}

/// Stored nodes of one trie.
pub(crate) struct TrieNodes<'a> {
    snapshot: &'a Snapshot,
    id: TrieId,
}

impl NodeSource for TrieNodes<'_> {
    fn node(&self, path: &Nibbles) -> Result<Bytes> {
        let rlp = self.snapshot.fetch_one(self.id.key(path))?;
        drop(self.snapshot.lock()?);
        rlp.map(Bytes::from).ok_or_else(|| missing_node(self.id, path))
    }
}

fn missing_node(id: TrieId, path: &Nibbles) -> Failure {
    Failure::corrupt(format!("no trie node at {id:?} {path:?}"))
}

fn decode_account(value: Option<Vec<u8>>) -> Result<Option<Account>> {
    value.map(|rlp| Account::decode(&rlp)).transpose()
}

fn decode_slot(value: Option<Vec<u8>>) -> Result<U256> {
    let Some(bytes) = value else { return Ok(U256::ZERO) };
    match U256::try_from_be_slice(&bytes) {
        Some(value) if bytes.first().is_some_and(|byte| *byte != 0) => Ok(value),
        _ => Err(Failure::corrupt("a stored slot does not decode")),
    }
}

fn decode_code(value: Option<Vec<u8>>) -> Result<Bytecode> {
    let code = value.ok_or_else(|| Failure::corrupt("the store lacks an account's code"))?;
    Bytecode::new_raw_checked(code.into()).map_err(|_| Failure::corrupt("stored code does not decode"))
}
