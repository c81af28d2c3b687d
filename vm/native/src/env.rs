//! What one block's transactions see of their block.

use alloy_primitives::{Address, B256, Bytes, U256};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use revm::context_interface::block::BlobExcessGasAndPrice;

use crate::convert::{Addr, Blob, Hash};

/// Longest `extraData` (Ethereum's limit).
const MAX_EXTRA_DATA: usize = 32;

/// Blob gas as one block prices it; this chain has no blobs, so the price is its minimum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobGas {
    pub(crate) excess: u64,
    pub(crate) price: u128,
}

impl Default for BlobGas {
    fn default() -> Self {
        Self { excess: 0, price: 1 }
    }
}

/// The block; fields as in `vm/_core.pyi`.
#[pyclass(frozen, module = "vm._core")]
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockEnv {
    #[pyo3(get)]
    pub(crate) number: u64,
    #[pyo3(get)]
    pub(crate) timestamp: u64,
    pub(crate) coinbase: Address,
    #[pyo3(get)]
    pub(crate) gas_limit: u64,
    #[pyo3(get)]
    pub(crate) base_fee: u64,
    pub(crate) prev_randao: B256,
    pub(crate) parent_hash: B256,
    pub(crate) origin_hash: B256,
    pub(crate) extra_data: Bytes,
    /// Of a plain block before Paris.
    pub(crate) difficulty: U256,
    pub(crate) blob_gas: BlobGas,
}

impl BlockEnv {
    /// The same for revm.
    pub(crate) fn to_revm(&self) -> revm::context::BlockEnv {
        revm::context::BlockEnv {
            number: U256::from(self.number),
            beneficiary: self.coinbase,
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee: self.base_fee,
            difficulty: self.difficulty,
            prevrandao: Some(self.prev_randao),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice {
                excess_blob_gas: self.blob_gas.excess,
                blob_gasprice: self.blob_gas.price,
            }),
            slot_num: 0,
        }
    }
}

#[pymethods]
impl BlockEnv {
    #[new]
    #[pyo3(signature = (
        *, number, timestamp, coinbase, gas_limit, base_fee, prev_randao, parent_hash, origin_hash, extra_data
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        number: u64,
        timestamp: u64,
        coinbase: Addr,
        gas_limit: u64,
        base_fee: u64,
        prev_randao: Hash,
        parent_hash: Hash,
        origin_hash: Hash,
        extra_data: Blob,
    ) -> PyResult<Self> {
        if extra_data.0.len() > MAX_EXTRA_DATA {
            return Err(PyValueError::new_err("extra data has at most 32 bytes"));
        }
        Ok(Self {
            number,
            timestamp,
            coinbase: coinbase.0,
            gas_limit,
            base_fee,
            prev_randao: prev_randao.0,
            parent_hash: parent_hash.0,
            origin_hash: origin_hash.0,
            extra_data: extra_data.0,
            ..Self::default()
        })
    }

    #[getter]
    fn coinbase(&self) -> &[u8] {
        self.coinbase.as_slice()
    }
    #[getter]
    fn prev_randao(&self) -> &[u8] {
        self.prev_randao.as_slice()
    }
    #[getter]
    fn parent_hash(&self) -> &[u8] {
        self.parent_hash.as_slice()
    }
    #[getter]
    fn origin_hash(&self) -> &[u8] {
        self.origin_hash.as_slice()
    }
    #[getter]
    fn extra_data(&self) -> &[u8] {
        &self.extra_data
    }
}
