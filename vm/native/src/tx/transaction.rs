//! A user transaction as Python sees it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use alloy_primitives::{B256, Bytes, U256};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};
use rayon::prelude::*;
use revm::context::TxEnv;
use revm::context_interface::Transaction as _;
use revm::context_interface::either::Either;
use revm::context_interface::transaction::{RecoveredAuthorization, SignedAuthorization};

use super::decode;
use crate::convert::{Addr, Hash, Int, optional_bytes};

/// A decoded transaction with its sender.
#[derive(Debug)]
pub(crate) struct Tx {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    pub(crate) env: TxEnv,
    pub(crate) odd_y: bool,
    pub(crate) v: U256,
    pub(crate) r: U256,
    pub(crate) s: U256,
    pub(crate) intrinsic_gas: u64,
    pub(crate) floor_gas: u64,
    /// Bytes that it pays for on Bitcoin.
    pub(crate) data_size: u64,
}

/// A signed user transaction.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct Transaction(pub(crate) Arc<Tx>);

/// `decode` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(name = "decode", signature = (raws, chain_id, gas_cap = None, *, impersonated = false))]
pub(crate) fn decode_many(
    py: Python<'_>,
    raws: Vec<PyBackedBytes>,
    chain_id: u64,
    gas_cap: Option<u64>,
    impersonated: bool,
) -> PyResult<Bound<'_, PyList>> {
    let decoded: Vec<_> = py.detach(|| {
        let one = |raw: &PyBackedBytes| {
            decode::decode(Bytes::copy_from_slice(raw), chain_id, gas_cap, impersonated)
        };
        if raws.len() < 4 { raws.iter().map(one).collect() } else { raws.par_iter().map(one).collect() }
    });
    let list = PyList::empty(py);
    for result in decoded {
        match result {
            Ok(tx) => list.append(Transaction(Arc::new(tx)))?,
            Err(refusal) => list.append((refusal.code, refusal.message))?,
        }
    }
    Ok(list)
}

#[pymethods]
impl Transaction {
    #[getter]
    fn hash(&self) -> &[u8] {
        self.0.hash.as_slice()
    }
    #[getter]
    fn sender(&self) -> &[u8] {
        self.0.env.caller.as_slice()
    }
    #[getter]
    fn raw(&self) -> &[u8] {
        &self.0.raw
    }
    #[getter]
    fn r#type(&self) -> u8 {
        self.0.env.tx_type
    }
    #[getter]
    fn chain_id(&self) -> u64 {
        self.0.env.chain_id.unwrap_or_default()
    }
    #[getter]
    fn nonce(&self) -> u64 {
        self.0.env.nonce
    }
    #[getter]
    fn to<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        optional_bytes(py, self.0.env.kind.to().map(|to| to.as_slice()))
    }
    #[getter]
    fn value(&self) -> Int {
        Int(self.0.env.value)
    }
    #[getter]
    fn input(&self) -> &[u8] {
        &self.0.env.data
    }
    #[getter]
    fn gas_limit(&self) -> u64 {
        self.0.env.gas_limit
    }
    #[getter]
    fn gas_price(&self) -> Option<u128> {
        (self.0.env.tx_type < 2).then_some(self.0.env.gas_price)
    }
    #[getter]
    fn max_fee_per_gas(&self) -> u128 {
        self.0.env.gas_price
    }
    #[getter]
    fn max_priority_fee_per_gas(&self) -> u128 {
        self.0.env.gas_priority_fee.unwrap_or(self.0.env.gas_price)
    }
    #[getter]
    fn access_list<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Vec<Bound<'py, PyBytes>>)> {
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        let slots = |slots: &[B256]| slots.iter().map(|slot| bytes(slot.as_slice())).collect();
        let list = self.0.env.access_list.iter();
        list.map(|item| (bytes(item.address.as_slice()), slots(&item.storage_keys))).collect()
    }
    #[getter]
    fn authorization_list(&self) -> PyResult<Vec<Authorization>> {
        // The raw form holds what recovery has consumed.
        if self.0.env.authorization_list.is_empty() {
            return Ok(Vec::new());
        }
        decode::authorizations(&self.0.raw)
            .map(|list| list.into_iter().map(Authorization::from).collect())
            .map_err(|refusal| crate::error::core_error(refusal.code, refusal.message))
    }
    #[getter]
    fn y_parity(&self) -> u8 {
        self.0.odd_y.into()
    }
    #[getter]
    fn v(&self) -> Int {
        Int(self.0.v)
    }
    #[getter]
    fn r(&self) -> Int {
        Int(self.0.r)
    }
    #[getter]
    fn s(&self) -> Int {
        Int(self.0.s)
    }
    #[getter]
    fn intrinsic_gas(&self) -> u64 {
        self.0.intrinsic_gas
    }
    #[getter]
    fn floor_gas(&self) -> u64 {
        self.0.floor_gas
    }
    #[getter]
    fn data_size(&self) -> u64 {
        self.0.data_size
    }
    fn effective_gas_price(&self, base_fee: u64) -> u128 {
        self.0.env.effective_gas_price(base_fee.into())
    }
    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash.hash(&mut hasher);
        hasher.finish()
    }
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().0.hash == self.0.hash)
    }
    fn __repr__(&self) -> String {
        format!("<Transaction {}>", self.0.hash)
    }
}

/// One entry of an EIP-7702 authorization list.
#[pyclass(frozen, module = "vm._core")]
#[derive(Clone)]
pub(crate) struct Authorization {
    signed: SignedAuthorization,
    recovered: RecoveredAuthorization,
}

impl From<SignedAuthorization> for Authorization {
    fn from(signed: SignedAuthorization) -> Self {
        Self { recovered: decode::recover_authority(signed.clone()), signed }
    }
}

impl Authorization {
    /// As revm wants it.
    pub(crate) fn to_revm(&self) -> Either<SignedAuthorization, RecoveredAuthorization> {
        Either::Right(self.recovered.clone())
    }
}

#[pymethods]
impl Authorization {
    #[new]
    #[pyo3(signature = (*, chain_id, address, nonce, y_parity, r, s))]
    fn new(chain_id: Int, address: Addr, nonce: u64, y_parity: u8, r: Int, s: Int) -> Self {
        let inner = revm::context_interface::transaction::Authorization {
            chain_id: chain_id.0,
            address: address.0,
            nonce,
        };
        SignedAuthorization::new_unchecked(inner, y_parity, r.0, s.0).into()
    }
    #[getter]
    fn chain_id(&self) -> Int {
        Int(self.signed.inner().chain_id)
    }
    #[getter]
    fn address(&self) -> &[u8] {
        self.signed.inner().address.as_slice()
    }
    #[getter]
    fn nonce(&self) -> u64 {
        self.signed.inner().nonce
    }
    #[getter]
    fn y_parity(&self) -> u8 {
        self.signed.y_parity()
    }
    #[getter]
    fn r(&self) -> Int {
        Int(self.signed.r())
    }
    #[getter]
    fn s(&self) -> Int {
        Int(self.signed.s())
    }
    #[getter]
    fn authority<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let authority = self.recovered.authority();
        optional_bytes(py, authority.as_ref().map(|address| address.as_slice()))
    }
}

/// An access list from Python.
pub(crate) fn access_list(items: Vec<(Addr, Vec<Hash>)>) -> revm::context_interface::transaction::AccessList {
    let item = |(address, slots): (Addr, Vec<Hash>)| revm::context_interface::transaction::AccessListItem {
        address: address.0,
        storage_keys: slots.into_iter().map(|slot| slot.0).collect(),
    };
    items.into_iter().map(item).collect::<Vec<_>>().into()
}
