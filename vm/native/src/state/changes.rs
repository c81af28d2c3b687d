//! From what revm changed to what the store must write: flat state, code, trie nodes, and the way back.

use alloy_primitives::{Address, B256, Bytes, I256, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::Nibbles;
use rayon::prelude::*;
use revm::state::{Account as Touched, Bytecode, EvmState};

use super::account::Account;
use super::reader::Reader;
use super::store::{Promotion, Snapshot};
use crate::error::Result;
use crate::keys::{self, TrieId};
use crate::trie::{self, Change, Child, NodeChange, Updated, Visit};

/// A key of the store before and after a block; `None` where it is absent.
pub(crate) struct KeyChange {
    pub(crate) key: Vec<u8>,
    pub(crate) before: Option<Bytes>,
    pub(crate) after: Option<Bytes>,
}

/// Everything one block changes.
pub(crate) struct ChangeSet {
    pub(crate) state_root: B256,
    /// Sorted by key, each once.
    pub(crate) keys: Vec<KeyChange>,
    pub(crate) promotion: Promotion,
    /// Sum of all balances after the block less the sum before.
    pub(crate) supply_change: I256,
    /// Accounts whose old slots and trie nodes are still in the store, though nothing leads to them any more.
    pub(crate) wiped: Vec<Address>,
}

/// One account that a block changed.
pub(crate) struct AccountChange {
    pub(crate) address: Address,
    pub(crate) before: Option<Account>,
    /// Its storage root is filled in by [`collect`].
    pub(crate) after: Option<Account>,
    /// (slot, before, after), sorted by slot; only those that differ.
    pub(crate) slots: Vec<(U256, U256, U256)>,
    /// Code that the account did not have before.
    pub(crate) code: Option<Bytecode>,
    /// Whether all that it stored before is gone, as SELFDESTRUCT does it before Cancun.
    pub(crate) wiped: bool,
}

/// Computes the change set of a block from revm's journaled state.
///
/// With `clears_empty` an empty account that was touched goes (EIP-161).
pub(crate) fn change_set(reader: &Reader, state: &EvmState, clears_empty: bool) -> Result<ChangeSet> {
    let mut changes: Vec<_> = state
        .iter()
        .filter(|(_, touched)| touched.is_touched())
        .filter_map(|(address, touched)| differ(reader, *address, touched, clears_empty))
        .collect();
    changes.sort_unstable_by_key(|change| change.address);
    collect(reader.snapshot(), changes)
}

/// Computes the change set from changed accounts, sorted by address.
pub(crate) fn collect(snapshot: &Snapshot, mut changes: Vec<AccountChange>) -> Result<ChangeSet> {
    let epoch = snapshot.next_epoch()?;
    let keys = account_keys(&changes);
    let mut batches = batches(snapshot, &changes, &keys)?;
    let places: Vec<_> = batches.iter().map(|batch| batch.id).collect();
    let visits: Vec<_> =
        batches.iter().map(|batch| Visit { root: &batch.root, changes: &batch.leaves }).collect();
    let ahead = trie::prefetch(&visits, epoch, |wanted| {
        let wanted: Vec<_> = wanted.iter().map(|(trie, path)| (places[*trie], *path)).collect();
        snapshot.trie_nodes(&wanted)
    })?;
    let accounts = batches.remove(0);
    let storage: Vec<_> = batches
        .par_iter()
        .zip(&ahead[1..])
        .map(|(batch, ahead)| trie::apply(&snapshot.trie(batch.id), &batch.root, &batch.leaves, epoch, ahead))
        .collect::<Result<_>>()?;
    let storage = align(&changes, storage);
    for (change, updated) in changes.iter_mut().zip(&storage) {
        if let (Some(after), Some(updated)) = (&mut change.after, updated) {
            after.storage_root = updated.hash;
        }
    }
    let leaf = |(key, at): &(Nibbles, usize)| {
        let rlp = changes[*at].after.map(|account| alloy_rlp::encode(account).into());
        Change { key: *key, value: rlp }
    };
    let leaves: Vec<_> = keys.iter().map(leaf).collect();
    let accounts = trie::apply(&snapshot.trie(TrieId::Accounts), &accounts.root, &leaves, epoch, &ahead[0])?;
    let codes = new_codes(snapshot, &changes)?;
    Ok(assemble(changes, storage, accounts, codes))
}

/// What revm did to an account, if anything is left of it at the end of the block.
fn differ(reader: &Reader, address: Address, touched: &Touched, clears_empty: bool) -> Option<AccountChange> {
    let before = reader.accounts.get(&address).copied().flatten();
    // Destroyed and not loaded since. Since Cancun by a transaction that created it, so the store has no slot of it.
    let destroyed = touched.is_selfdestructed_locally();
    let anew = touched.is_selfdestructed();
    let wiped = anew && before.is_some_and(|account| account.storage_root != trie::EMPTY_ROOT);
    if destroyed || (clears_empty && touched.info.is_empty()) {
        return before.is_some().then(|| AccountChange {
            address,
            before,
            after: None,
            slots: Vec::new(),
            code: None,
            wiped,
        });
    }
    let mut slots: Vec<_> = touched
        .storage
        .iter()
        .filter_map(|(slot, entry)| {
            let stored = reader.slots.get(&(address, *slot)).copied();
            let original = if anew { U256::ZERO } else { stored.unwrap_or_default() };
            (entry.present_value != original).then_some((*slot, original, entry.present_value))
        })
        .collect();
    slots.sort_unstable_by_key(|entry| entry.0);
    let after = Account {
        nonce: touched.info.nonce,
        balance: touched.info.balance,
        storage_root: before.filter(|_| !anew).map_or(trie::EMPTY_ROOT, |account| account.storage_root),
        // Shown without a code hash where storage is guarded, see [`Reader::under`].
        code_hash: if touched.info.code_hash.is_zero() { KECCAK256_EMPTY } else { touched.info.code_hash },
    };
    if before == Some(after) && slots.is_empty() && !reader.replaced.contains(&address) {
        return None;
    }
    let is_new_code =
        after.code_hash != KECCAK256_EMPTY && before.is_none_or(|old| old.code_hash != after.code_hash);
    let code = is_new_code.then(|| touched.info.code.clone()).flatten();
    Some(AccountChange { address, before, after: Some(after), slots, code, wiped })
}

/// One trie and its changes.
struct Batch {
    id: TrieId,
    root: Child,
    leaves: Vec<Change>,
}

/// The account trie's batch, its values still missing, then one for each change with slots, in their order.
fn batches(snapshot: &Snapshot, changes: &[AccountChange], keys: &[(Nibbles, usize)]) -> Result<Vec<Batch>> {
    let leaves = keys.iter().map(|(key, _)| Change { key: *key, value: None }).collect();
    let mut batches = vec![Batch { id: TrieId::Accounts, root: snapshot.root()?, leaves }];
    for change in changes.iter().filter(|change| !change.slots.is_empty()) {
        let hash = change.after.map_or(trie::EMPTY_ROOT, |account| account.storage_root);
        let root = snapshot.storage_root(&change.address, hash)?;
        batches.push(Batch { id: TrieId::Storage(change.address), root, leaves: slot_leaves(&change.slots) });
    }
    Ok(batches)
}

fn slot_leaves(slots: &[(U256, U256, U256)]) -> Vec<Change> {
    let leaf = |(slot, _, value): &(U256, U256, U256)| {
        let rlp = (!value.is_zero()).then(|| alloy_rlp::encode(value).into());
        Change::new(&keccak256(slot.to_be_bytes::<32>()), rlp)
    };
    let mut leaves: Vec<_> = slots.par_iter().with_min_len(64).map(leaf).collect();
    leaves.sort_unstable_by_key(|leaf| leaf.key);
    leaves
}

/// Gives each change its updated storage trie, if it has slots.
fn align(changes: &[AccountChange], storage: Vec<Updated>) -> Vec<Option<Updated>> {
    let mut storage = storage.into_iter();
    changes.iter().map(|change| if change.slots.is_empty() { None } else { storage.next() }).collect()
}

/// Keys of the account trie with the change that each belongs to, sorted.
fn account_keys(changes: &[AccountChange]) -> Vec<(Nibbles, usize)> {
    let key = |(at, change): (usize, &AccountChange)| (Nibbles::unpack(keccak256(change.address)), at);
    let mut keys: Vec<_> = changes.par_iter().enumerate().with_min_len(64).map(key).collect();
    keys.sort_unstable();
    keys
}

/// Code that the store lacks, sorted by hash, each once.
fn new_codes(snapshot: &Snapshot, changes: &[AccountChange]) -> Result<Vec<(B256, Bytecode)>> {
    let mut codes: Vec<_> =
        changes.iter().filter_map(|change| Some((change.after?.code_hash, change.code.clone()?))).collect();
    codes.sort_unstable_by_key(|entry| entry.0);
    codes.dedup_by_key(|entry| entry.0);
    let hashes: Vec<_> = codes.iter().map(|entry| entry.0).collect();
    let mut missing = snapshot.missing_codes(&hashes)?.into_iter();
    codes.retain(|_| missing.next() == Some(true));
    Ok(codes)
}

fn assemble(
    changes: Vec<AccountChange>,
    storage: Vec<Option<Updated>>,
    accounts: Updated,
    codes: Vec<(B256, Bytecode)>,
) -> ChangeSet {
    let mut keys = Vec::with_capacity(changes.len() * 4);
    let mut promotion = Promotion::default();
    let mut supply_change = I256::ZERO;
    let wiped = changes.iter().filter(|change| change.wiped).map(|change| change.address).collect();
    add_nodes(&mut keys, &mut promotion, TrieId::Accounts, accounts.nodes);
    for (change, updated) in changes.iter().zip(storage) {
        supply_change =
            supply_change.wrapping_add(balance(change.after).wrapping_sub(balance(change.before)));
        let encode = |account: Account| Bytes::from(alloy_rlp::encode(account));
        keys.push(KeyChange {
            key: keys::account(&change.address),
            before: change.before.map(encode),
            after: change.after.map(encode),
        });
        promotion.accounts.push((change.address, change.after));
        for (slot, before, after) in &change.slots {
            let key = keys::slot(&change.address, slot);
            keys.push(KeyChange { key, before: slot_value(before), after: slot_value(after) });
            promotion.slots.push(((change.address, *slot), *after));
        }
        if let Some(updated) = updated {
            add_nodes(&mut keys, &mut promotion, TrieId::Storage(change.address), updated.nodes);
            promotion.storage.push((change.address, updated.root));
        }
    }
    for (hash, code) in &codes {
        keys.push(KeyChange { key: keys::code(hash), before: None, after: Some(code.original_bytes()) });
    }
    promotion.codes = codes;
    promotion.root = Some(accounts.root);
    keys.par_sort_unstable_by(|a, b| a.key.cmp(&b.key));
    ChangeSet { state_root: accounts.hash, keys, promotion, supply_change, wiped }
}

fn add_nodes(keys: &mut Vec<KeyChange>, promotion: &mut Promotion, id: TrieId, nodes: Vec<NodeChange>) {
    for node in nodes {
        // A node's size in memory, near enough: a branch's is 1.5 times its RLP.
        promotion.trie_bytes += node.after.as_ref().map_or(0, |rlp| 160 + rlp.len() * 3 / 2);
        keys.push(KeyChange { key: id.key(&node.path), before: node.before, after: node.after });
    }
}

/// Modulo 2**256, so that a sum is right if it fits, whatever its terms.
fn balance(account: Option<Account>) -> I256 {
    I256::from_raw(account.map_or(U256::ZERO, |account| account.balance))
}

/// Stored form of a slot's value.
fn slot_value(value: &U256) -> Option<Bytes> {
    (!value.is_zero()).then(|| value.to_be_bytes_trimmed_vec().into())
}

#[cfg(test)]
mod tests {
    use super::slot_value;
    use crate::trie::Child;
    use alloy_primitives::{Bytes, U256};

    #[test]
    fn slot_values_have_no_leading_zeros() {
        assert_eq!(slot_value(&U256::ZERO), None);
        assert_eq!(slot_value(&U256::from(0x100)), Some(Bytes::from_static(&[1, 0])));
    }

    #[test]
    fn a_child_is_small() {
        // Sixteen of them make a branch: the trie's memory.
        assert!(size_of::<Child>() <= 40);
    }
}
