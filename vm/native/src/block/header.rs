//! The block header: Ethereum's shape since Prague, with this chain's meanings (docs/spec/block.md).

use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256, b256, keccak256};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{Failure, Result};

/// keccak256 of the RLP of an empty list: no ommers.
const NO_OMMERS: B256 = b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");

/// The fields in the order of their RLP.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct HeaderFields {
    pub(crate) parent_hash: B256,
    pub(crate) ommers_hash: B256,
    pub(crate) coinbase: Address,
    pub(crate) state_root: B256,
    pub(crate) transactions_root: B256,
    pub(crate) receipts_root: B256,
    pub(crate) logs_bloom: Bloom,
    pub(crate) difficulty: U256,
    pub(crate) number: u64,
    pub(crate) gas_limit: u64,
    pub(crate) gas_used: u64,
    pub(crate) timestamp: u64,
    pub(crate) extra_data: Bytes,
    pub(crate) prev_randao: B256,
    pub(crate) nonce: B64,
    pub(crate) base_fee: u64,
    pub(crate) withdrawals_root: B256,
    pub(crate) blob_gas_used: u64,
    pub(crate) excess_blob_gas: u64,
    pub(crate) parent_beacon_block_root: B256,
    pub(crate) requests_hash: B256,
}

impl Default for HeaderFields {
    /// The fields that are the same in every block.
    fn default() -> Self {
        Self {
            parent_hash: B256::ZERO,
            ommers_hash: NO_OMMERS,
            coinbase: Address::ZERO,
            state_root: B256::ZERO,
            transactions_root: B256::ZERO,
            receipts_root: B256::ZERO,
            logs_bloom: Bloom::ZERO,
            difficulty: U256::ZERO,
            number: 0,
            gas_limit: 0,
            gas_used: 0,
            timestamp: 0,
            extra_data: Bytes::new(),
            prev_randao: B256::ZERO,
            nonce: B64::ZERO,
            base_fee: 0,
            withdrawals_root: B256::ZERO,
            blob_gas_used: 0,
            excess_blob_gas: 0,
            parent_beacon_block_root: B256::ZERO,
            requests_hash: B256::ZERO,
        }
    }
}

impl HeaderFields {
    fn decode(rlp: &[u8]) -> Result<Self> {
        let malformed = || Failure::new("header.malformed", "not a header of this chain's shape");
        let fields: Self = alloy_rlp::decode_exact(rlp).map_err(|_| malformed())?;
        let constant = fields.ommers_hash == NO_OMMERS
            && fields.difficulty.is_zero()
            && fields.nonce.is_zero()
            && fields.blob_gas_used == 0
            && fields.excess_blob_gas == 0
            && fields.extra_data.len() <= 32;
        if constant { Ok(fields) } else { Err(malformed()) }
    }
}

/// A header, for Python.
#[pyclass(frozen, module = "vm._core")]
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) fields: HeaderFields,
    pub(crate) rlp: Bytes,
    pub(crate) hash: B256,
}

impl From<HeaderFields> for Header {
    fn from(fields: HeaderFields) -> Self {
        let rlp = Bytes::from(alloy_rlp::encode(&fields));
        Self { fields, hash: keccak256(&rlp), rlp }
    }
}

#[pymethods]
impl Header {
    #[staticmethod]
    fn decode(rlp: &[u8]) -> PyResult<Self> {
        Ok(HeaderFields::decode(rlp)?.into())
    }
    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.rlp)
    }
    #[getter]
    fn hash(&self) -> &[u8] {
        self.hash.as_slice()
    }
    #[getter]
    fn parent_hash(&self) -> &[u8] {
        self.fields.parent_hash.as_slice()
    }
    #[getter]
    fn ommers_hash(&self) -> &[u8] {
        self.fields.ommers_hash.as_slice()
    }
    #[getter]
    fn coinbase(&self) -> &[u8] {
        self.fields.coinbase.as_slice()
    }
    #[getter]
    fn state_root(&self) -> &[u8] {
        self.fields.state_root.as_slice()
    }
    #[getter]
    fn transactions_root(&self) -> &[u8] {
        self.fields.transactions_root.as_slice()
    }
    #[getter]
    fn receipts_root(&self) -> &[u8] {
        self.fields.receipts_root.as_slice()
    }
    #[getter]
    fn logs_bloom(&self) -> &[u8] {
        self.fields.logs_bloom.as_slice()
    }
    #[getter]
    fn number(&self) -> u64 {
        self.fields.number
    }
    #[getter]
    fn gas_limit(&self) -> u64 {
        self.fields.gas_limit
    }
    #[getter]
    fn gas_used(&self) -> u64 {
        self.fields.gas_used
    }
    #[getter]
    fn timestamp(&self) -> u64 {
        self.fields.timestamp
    }
    #[getter]
    fn extra_data(&self) -> &[u8] {
        &self.fields.extra_data
    }
    #[getter]
    fn prev_randao(&self) -> &[u8] {
        self.fields.prev_randao.as_slice()
    }
    #[getter]
    fn base_fee(&self) -> u64 {
        self.fields.base_fee
    }
    #[getter]
    fn withdrawals_root(&self) -> &[u8] {
        self.fields.withdrawals_root.as_slice()
    }
    #[getter]
    fn parent_beacon_block_root(&self) -> &[u8] {
        self.fields.parent_beacon_block_root.as_slice()
    }
    #[getter]
    fn requests_hash(&self) -> &[u8] {
        self.fields.requests_hash.as_slice()
    }
}
