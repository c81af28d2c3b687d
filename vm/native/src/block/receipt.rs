//! Receipts: the consensus form, the facts JSON-RPC shows beside it, and the form for storage.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, Bytes, Log, U256};
use alloy_rlp::{Decodable, Encodable, Header, RlpDecodable, RlpEncodable};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::bloom::BloomMaker;
use crate::convert::{Int, optional_bytes};
use crate::error::{Failure, Result};
use crate::tx::system::SYSTEM_TYPE;

/// Version byte of the storage form.
const BLOB_VERSION: u8 = 2;
/// The form before: nobody had paid for bytes on Bitcoin.
const BLOB_WITHOUT_DATA: u8 = 1;
/// OP's version of a deposit's receipt since Canyon.
const DEPOSIT_RECEIPT_VERSION: u8 = 1;

/// Bytes paid for on Bitcoin, what they cost in wei, and by which rate and scalar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct DataPaid {
    pub(crate) size: u64,
    pub(crate) fee: U256,
    pub(crate) rate: u64,
    pub(crate) scalar: u64,
}

/// What an included transaction left.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
#[rlp(trailing(no_gaps))]
pub(crate) struct ReceiptFacts {
    pub(crate) tx_type: u8,
    pub(crate) transaction_hash: B256,
    pub(crate) sender: Address,
    /// Empty or an address.
    pub(crate) to: Bytes,
    /// Empty or an address.
    pub(crate) contract_address: Bytes,
    pub(crate) success: bool,
    pub(crate) gas_used: u64,
    pub(crate) infer_gas: u64,
    pub(crate) cumulative_gas_used: u64,
    pub(crate) effective_gas_price: u128,
    pub(crate) logs: Vec<Log>,
    /// Made again from the logs when receipts are read back.
    #[rlp(default, skip)]
    pub(crate) bloom: Bloom,
    /// Stands beside the receipts when they are stored.
    #[rlp(default, skip)]
    pub(crate) data: DataPaid,
    /// Of a system transaction.
    pub(crate) deposit_nonce: Option<u64>,
}

impl ReceiptFacts {
    /// The part of a receipt that a root commits to, of a transaction that nobody signed.
    pub(crate) fn of_simulation(
        tx_type: u8,
        success: bool,
        cumulative_gas_used: u64,
        logs: Vec<Log>,
    ) -> Self {
        Self {
            tx_type,
            transaction_hash: B256::ZERO,
            sender: Address::ZERO,
            to: Bytes::new(),
            contract_address: Bytes::new(),
            success,
            gas_used: 0,
            infer_gas: 0,
            cumulative_gas_used,
            effective_gas_price: 0,
            data: DataPaid::default(),
            bloom: BloomMaker::default().bloom(&logs),
            logs,
            deposit_nonce: None,
        }
    }

    /// Consensus encoding (EIP-2718).
    pub(crate) fn encode_consensus(&self) -> Vec<u8> {
        let mut payload_length = self.success.length()
            + self.cumulative_gas_used.length()
            + self.bloom.length()
            + self.logs.length();
        if let Some(nonce) = self.deposit_nonce {
            payload_length += nonce.length() + DEPOSIT_RECEIPT_VERSION.length();
        }
        let mut out = Vec::with_capacity(payload_length + 8);
        if self.tx_type != 0 {
            out.push(self.tx_type);
        }
        Header { list: true, payload_length }.encode(&mut out);
        self.success.encode(&mut out);
        self.cumulative_gas_used.encode(&mut out);
        self.bloom.encode(&mut out);
        self.logs.encode(&mut out);
        if let Some(nonce) = self.deposit_nonce {
            nonce.encode(&mut out);
            DEPOSIT_RECEIPT_VERSION.encode(&mut out);
        }
        out
    }
}

/// Storage form of a block's receipts: version byte, the RLP list of their facts, that of what each paid for its bytes.
pub(crate) fn encode_blob(receipts: &[Arc<ReceiptFacts>]) -> Vec<u8> {
    let payload_length = receipts.iter().map(|receipt| receipt.length()).sum();
    let mut out = Vec::with_capacity(payload_length + 8);
    out.push(BLOB_VERSION);
    Header { list: true, payload_length }.encode(&mut out);
    for receipt in receipts {
        receipt.encode(&mut out);
    }
    receipts.iter().map(|receipt| receipt.data).collect::<Vec<_>>().encode(&mut out);
    out
}

fn decode_blob(blob: &[u8]) -> Result<Vec<ReceiptFacts>> {
    let malformed = || Failure::new("receipts.malformed", "not the storage form of receipts");
    let (&version, mut rest) = blob.split_first().ok_or_else(malformed)?;
    if !matches!(version, BLOB_VERSION | BLOB_WITHOUT_DATA) {
        return Err(malformed());
    }
    let mut receipts: Vec<ReceiptFacts> = Decodable::decode(&mut rest).map_err(|_| malformed())?;
    if version == BLOB_VERSION {
        let paid: Vec<DataPaid> = Decodable::decode(&mut rest).map_err(|_| malformed())?;
        if paid.len() != receipts.len() {
            return Err(malformed());
        }
        for (receipt, data) in receipts.iter_mut().zip(paid) {
            receipt.data = data;
        }
    }
    let mut blooms = BloomMaker::default();
    for receipt in &mut receipts {
        receipt.bloom = blooms.bloom(&receipt.logs);
    }
    let whole = |receipt: &ReceiptFacts| {
        let is_address = |bytes: &Bytes| matches!(bytes.len(), 0 | 20);
        is_address(&receipt.to)
            && is_address(&receipt.contract_address)
            && (receipt.tx_type == SYSTEM_TYPE) == receipt.deposit_nonce.is_some()
    };
    if rest.is_empty() && receipts.iter().all(whole) { Ok(receipts) } else { Err(malformed()) }
}

/// `decode_receipts` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn decode_receipts<'py>(py: Python<'py>, blob: &[u8]) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, decode_blob(blob)?.into_iter().map(|facts| Receipt(Arc::new(facts))).collect::<Vec<_>>())
}

/// A receipt, for Python.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct Receipt(pub(crate) Arc<ReceiptFacts>);

#[pymethods]
impl Receipt {
    #[getter]
    fn r#type(&self) -> u8 {
        self.0.tx_type
    }
    #[getter]
    fn transaction_hash(&self) -> &[u8] {
        self.0.transaction_hash.as_slice()
    }
    #[getter]
    fn sender(&self) -> &[u8] {
        self.0.sender.as_slice()
    }
    #[getter]
    fn to<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        optional_bytes(py, (!self.0.to.is_empty()).then_some(&*self.0.to))
    }
    #[getter]
    fn contract_address<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        optional_bytes(py, (!self.0.contract_address.is_empty()).then_some(&*self.0.contract_address))
    }
    #[getter]
    fn status(&self) -> u8 {
        self.0.success.into()
    }
    #[getter]
    fn gas_used(&self) -> u64 {
        self.0.gas_used
    }
    #[getter]
    fn infer_gas(&self) -> u64 {
        self.0.infer_gas
    }
    #[getter]
    fn cumulative_gas_used(&self) -> u64 {
        self.0.cumulative_gas_used
    }
    #[getter]
    fn effective_gas_price(&self) -> u128 {
        self.0.effective_gas_price
    }
    #[getter]
    fn data_size(&self) -> u64 {
        self.0.data.size
    }
    #[getter]
    fn data_fee(&self) -> Int {
        Int(self.0.data.fee)
    }
    #[getter]
    fn data_rate(&self) -> u64 {
        self.0.data.rate
    }
    #[getter]
    fn data_scalar(&self) -> u64 {
        self.0.data.scalar
    }
    #[getter]
    fn logs(&self) -> Vec<LogView> {
        self.0.logs.iter().cloned().map(LogView).collect()
    }
    #[getter]
    fn logs_bloom(&self) -> &[u8] {
        self.0.bloom.as_slice()
    }
    #[getter]
    fn deposit_nonce(&self) -> Option<u64> {
        self.0.deposit_nonce
    }
    fn encode<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.encode_consensus())
    }
}

/// A log, for Python.
#[pyclass(frozen, name = "Log", module = "vm._core")]
pub(crate) struct LogView(pub(crate) Log);

#[pymethods]
impl LogView {
    #[getter]
    fn address(&self) -> &[u8] {
        self.0.address.as_slice()
    }
    #[getter]
    fn topics<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.topics().iter().map(|topic| PyBytes::new(py, topic.as_slice())).collect()
    }
    #[getter]
    fn data(&self) -> &[u8] {
        &self.0.data.data
    }
}
