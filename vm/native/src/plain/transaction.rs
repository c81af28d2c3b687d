//! A transaction from its fields, whoever signed it.

use std::sync::Arc;

use alloy_primitives::{Bytes, TxKind, U256, keccak256};
use pyo3::prelude::*;
use revm::context::TxEnv;

use crate::convert::{Addr, Blob, Hash, Int};
use crate::tx::transaction::{Authorization, Transaction, Tx, access_list};

/// `plain_transaction` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (
    *, r#type, sender, nonce, gas_limit, max_fee, to = None, value = Int(U256::ZERO), input = Blob(Bytes::new()),
    chain_id = None, priority_fee = None, access_list = Vec::new(), blob_hashes = Vec::new(), max_blob_fee = 0,
    authorizations = Vec::new(), raw = Blob(Bytes::new())
))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
pub(crate) fn plain_transaction(
    r#type: u8,
    sender: Addr,
    nonce: u64,
    gas_limit: u64,
    max_fee: u128,
    to: Option<Addr>,
    value: Int,
    input: Blob,
    chain_id: Option<u64>,
    priority_fee: Option<u128>,
    access_list: Vec<(Addr, Vec<Hash>)>,
    blob_hashes: Vec<Hash>,
    max_blob_fee: u128,
    authorizations: Vec<Bound<'_, Authorization>>,
    raw: Blob,
) -> Transaction {
    let env = TxEnv {
        tx_type: r#type,
        caller: sender.0,
        gas_limit,
        gas_price: max_fee,
        gas_priority_fee: priority_fee,
        kind: to.map_or(TxKind::Create, |to| TxKind::Call(to.0)),
        value: value.0,
        data: input.0,
        nonce,
        chain_id,
        access_list: self::access_list(access_list),
        blob_hashes: blob_hashes.into_iter().map(|hash| hash.0).collect(),
        max_fee_per_blob_gas: max_blob_fee,
        authorization_list: authorizations.iter().map(|entry| entry.get().to_revm()).collect(),
    };
    Transaction(Arc::new(Tx {
        hash: keccak256(&raw.0),
        raw: raw.0,
        env,
        odd_y: false,
        v: U256::ZERO,
        r: U256::ZERO,
        s: U256::ZERO,
        data_size: 0,
        intrinsic_gas: 0,
        floor_gas: 0,
    }))
}
