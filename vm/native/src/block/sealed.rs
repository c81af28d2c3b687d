//! A finished block and what it changes.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, Bytes, I256, U256};
use alloy_trie::root::ordered_trie_root_encoded;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use rayon::prelude::*;

use super::header::{Header, HeaderFields};
use super::receipt::{self, Receipt, ReceiptFacts};
use super::{records, undo};
use crate::convert::{Int, optional_bytes};
use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::exec::pending::{Pending, Progress};
use crate::state::changes::{ChangeSet, KeyChange, change_set};
use crate::state::store::{Promotion, Snapshot};
use crate::trie::EMPTY_ROOT;

/// A finished block, for Python.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct SealedBlock {
    header: Header,
    ordinary_gas_used: u64,
    minted: U256,
    destroyed: U256,
    transactions: Vec<Bytes>,
    receipts: Vec<Arc<ReceiptFacts>>,
    records_root: Option<B256>,
    keys: Vec<KeyChange>,
    wiped: Vec<Address>,
}

/// A finished block and how the state moves to it.
pub(crate) struct Sealing {
    pub(crate) block: SealedBlock,
    pub(crate) snapshot: Snapshot,
    pub(crate) promotion: Promotion,
}

/// What the header commits to beside the transactions.
pub(crate) struct Commitments {
    pub(crate) records_root: Option<B256>,
    pub(crate) withdrawals_root: B256,
}

/// Finishes a block: state root, roots of the lists, header.
pub(crate) fn seal(pending: Pending, commitments: &Commitments) -> Result<Sealing> {
    let plain = pending.lane()?.rules.plain;
    let clears_empty = plain.is_none_or(|plain| plain.clears_empty());
    let (env, journal, progress) = pending.into_parts()?;
    let reader = journal.database;
    let state = journal.inner.state;
    let (changes, lists) = rayon::join(|| change_set(&reader, &state, clears_empty), || Lists::of(&progress));
    let changes = changes?;
    // Plain Ethereum makes coin by rewards and burns fees.
    let destroyed = match plain {
        Some(_) => U256::ZERO,
        None => destroyed(progress.minted, changes.supply_change)?,
    };
    let ordinary_gas_used = progress.gas_used - progress.infer_gas;
    let header = header(&env, commitments, changes.state_root, &lists, progress.gas_used);
    let ChangeSet { keys, promotion, wiped, .. } = changes;
    let block = SealedBlock {
        header: header.into(),
        ordinary_gas_used,
        minted: progress.minted,
        destroyed,
        transactions: progress.transactions,
        receipts: progress.receipts,
        records_root: commitments.records_root,
        keys,
        wiped,
    };
    Ok(Sealing { block, snapshot: reader.snapshot().clone(), promotion })
}

/// A first block: no transactions, all of `changes` in its state.
pub(crate) fn seal_genesis(env: &BlockEnv, withdrawals_root: B256, changes: ChangeSet) -> SealedBlock {
    let commitments = Commitments { records_root: None, withdrawals_root };
    let lists = Lists { transactions_root: EMPTY_ROOT, receipts_root: EMPTY_ROOT, bloom: Bloom::ZERO };
    // Nothing was there before, so this is the sum of what is there now.
    let minted = changes.supply_change.into_raw();
    SealedBlock {
        header: header(env, &commitments, changes.state_root, &lists, 0).into(),
        ordinary_gas_used: 0,
        minted,
        destroyed: U256::ZERO,
        transactions: Vec::new(),
        receipts: Vec::new(),
        records_root: None,
        keys: changes.keys,
        wiped: Vec::new(),
    }
}

/// The header of a block that nobody keeps.
pub(crate) fn simulated_header(
    env: &BlockEnv,
    state_root: B256,
    transactions: &[Bytes],
    receipts: &[Arc<ReceiptFacts>],
) -> Header {
    let commitments = Commitments { records_root: None, withdrawals_root: EMPTY_ROOT };
    let gas_used = receipts.last().map_or(0, |receipt| receipt.cumulative_gas_used);
    header(env, &commitments, state_root, &Lists::over(transactions, receipts), gas_used).into()
}

/// What the transactions and receipts come to.
struct Lists {
    transactions_root: B256,
    receipts_root: B256,
    bloom: Bloom,
}

impl Lists {
    fn of(progress: &Progress) -> Self {
        Self::over(&progress.transactions, &progress.receipts)
    }

    fn over(transactions: &[Bytes], receipts: &[Arc<ReceiptFacts>]) -> Self {
        let (receipts_root, transactions_root) = rayon::join(
            || {
                let encode = |receipt: &Arc<ReceiptFacts>| receipt.encode_consensus();
                let encoded: Vec<_> = receipts.par_iter().with_min_len(64).map(encode).collect();
                ordered_trie_root_encoded(&encoded)
            },
            || ordered_trie_root_encoded(transactions),
        );
        let mut bloom = Bloom::ZERO;
        for receipt in receipts {
            bloom |= receipt.bloom;
        }
        Self { transactions_root, receipts_root, bloom }
    }
}

fn header(
    env: &BlockEnv,
    commitments: &Commitments,
    state_root: B256,
    lists: &Lists,
    gas_used: u64,
) -> HeaderFields {
    HeaderFields {
        parent_hash: env.parent_hash,
        coinbase: env.coinbase,
        state_root,
        transactions_root: lists.transactions_root,
        receipts_root: lists.receipts_root,
        logs_bloom: lists.bloom,
        number: env.number,
        gas_limit: env.gas_limit,
        gas_used,
        timestamp: env.timestamp,
        extra_data: env.extra_data.clone(),
        prev_randao: env.prev_randao,
        base_fee: env.base_fee,
        withdrawals_root: commitments.withdrawals_root,
        parent_beacon_block_root: env.origin_hash,
        requests_hash: records::requests(commitments.records_root.as_ref()),
        ..HeaderFields::default()
    }
}

/// Coin that SELFDESTRUCT destroyed: what was minted and is not there.
///
/// Fees move coin and burn none, so this is also the proof that the block made none.
fn destroyed(minted: U256, supply_change: I256) -> Result<U256> {
    let missing = I256::try_from(minted).ok().and_then(|minted| minted.checked_sub(supply_change));
    missing
        .and_then(|missing| U256::try_from(missing).ok())
        .ok_or_else(|| Failure::new("core.supply", "a block made native coin"))
}

#[pymethods]
impl SealedBlock {
    #[getter]
    fn header(&self) -> Header {
        self.header.clone()
    }
    #[getter]
    fn header_rlp(&self) -> &[u8] {
        &self.header.rlp
    }
    #[getter]
    fn hash(&self) -> &[u8] {
        self.header.hash.as_slice()
    }
    #[getter]
    fn number(&self) -> u64 {
        self.header.fields.number
    }
    #[getter]
    fn state_root(&self) -> &[u8] {
        self.header.fields.state_root.as_slice()
    }
    #[getter]
    fn gas_used(&self) -> u64 {
        self.header.fields.gas_used
    }
    #[getter]
    fn ordinary_gas_used(&self) -> u64 {
        self.ordinary_gas_used
    }
    #[getter]
    fn minted_wei(&self) -> Int {
        Int(self.minted)
    }
    #[getter]
    fn destroyed_wei(&self) -> Int {
        Int(self.destroyed)
    }
    #[getter]
    fn transactions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.transactions.iter().map(|raw| PyBytes::new(py, raw)))
    }
    #[getter]
    fn receipts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.receipts.iter().map(|receipt| Receipt(receipt.clone())))
    }
    #[getter]
    fn receipts_blob<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &receipt::encode_blob(&self.receipts))
    }
    #[getter]
    fn records_root<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        optional_bytes(py, self.records_root.as_ref().map(|root| root.as_slice()))
    }
    #[getter]
    fn writes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let write = |change: &KeyChange| {
            (PyBytes::new(py, &change.key), change.after.as_ref().map(|value| PyBytes::new(py, value)))
        };
        PyList::new(py, self.keys.iter().map(write))
    }
    #[getter]
    fn wiped<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.wiped.iter().map(|address| PyBytes::new(py, address.as_slice())).collect()
    }
    #[getter]
    fn undo<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &undo::encode(&self.keys))
    }
}
