//! Derived transactions of type 0x7e: deposits, L1 information, and what else the rules of the chain put in a block.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::context::TxEnv;

use crate::convert::{Addr, Blob, Hash, Int, optional_bytes};
use crate::error::{Failure, Result};

/// Type byte (that of OP's deposits).
pub(crate) const SYSTEM_TYPE: u8 = 0x7e;

/// The fields in the order of their RLP.
#[derive(Clone, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct SystemFields {
    pub(crate) source_hash: B256,
    pub(crate) sender: Address,
    pub(crate) to: TxKind,
    pub(crate) mint: U256,
    pub(crate) value: U256,
    pub(crate) gas_limit: u64,
    /// OP's flag for unmetered gas; always false.
    is_unmetered: bool,
    pub(crate) input: Bytes,
}

/// A derived transaction.
#[pyclass(frozen, module = "vm._core")]
#[derive(Clone, Debug)]
pub(crate) struct SystemTransaction {
    pub(crate) fields: SystemFields,
    pub(crate) raw: Bytes,
    pub(crate) hash: B256,
}

impl SystemTransaction {
    fn from_fields(fields: SystemFields) -> Self {
        let mut raw = vec![SYSTEM_TYPE];
        alloy_rlp::Encodable::encode(&fields, &mut raw);
        Self { fields, hash: keccak256(&raw), raw: raw.into() }
    }

    fn from_raw(raw: &[u8]) -> Result<Self> {
        let malformed = || Failure::new("tx.malformed", "not a canonical system transaction");
        let mut rest = raw.strip_prefix(&[SYSTEM_TYPE]).ok_or_else(malformed)?;
        let fields = SystemFields::decode(&mut rest).map_err(|_| malformed())?;
        if !rest.is_empty() || fields.is_unmetered {
            return Err(malformed());
        }
        Ok(Self::from_fields(fields))
    }

    /// As revm runs it: at no price.
    pub(crate) fn to_revm(&self) -> TxEnv {
        TxEnv {
            tx_type: SYSTEM_TYPE,
            caller: self.fields.sender,
            gas_limit: self.fields.gas_limit,
            gas_price: 0,
            kind: self.fields.to,
            value: self.fields.value,
            data: self.fields.input.clone(),
            ..TxEnv::default()
        }
    }
}

#[pymethods]
impl SystemTransaction {
    #[new]
    #[pyo3(signature = (
        *, source_hash, sender, to, mint = Int(U256::ZERO), value = Int(U256::ZERO), gas_limit,
        input = Blob(Bytes::new())
    ))]
    fn new(
        source_hash: Hash,
        sender: Addr,
        to: Option<Addr>,
        mint: Int,
        value: Int,
        gas_limit: u64,
        input: Blob,
    ) -> Self {
        Self::from_fields(SystemFields {
            source_hash: source_hash.0,
            sender: sender.0,
            to: to.map_or(TxKind::Create, |to| TxKind::Call(to.0)),
            mint: mint.0,
            value: value.0,
            gas_limit,
            is_unmetered: false,
            input: input.0,
        })
    }

    #[staticmethod]
    fn decode(raw: &[u8]) -> PyResult<Self> {
        Ok(Self::from_raw(raw)?)
    }

    #[getter]
    fn hash(&self) -> &[u8] {
        self.hash.as_slice()
    }
    #[getter]
    fn raw(&self) -> &[u8] {
        &self.raw
    }
    #[getter]
    fn source_hash(&self) -> &[u8] {
        self.fields.source_hash.as_slice()
    }
    #[getter]
    fn sender(&self) -> &[u8] {
        self.fields.sender.as_slice()
    }
    #[getter]
    fn to<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        optional_bytes(py, self.fields.to.to().map(|to| to.as_slice()))
    }
    #[getter]
    fn mint(&self) -> Int {
        Int(self.fields.mint)
    }
    #[getter]
    fn value(&self) -> Int {
        Int(self.fields.value)
    }
    #[getter]
    fn gas_limit(&self) -> u64 {
        self.fields.gas_limit
    }
    #[getter]
    fn input(&self) -> &[u8] {
        &self.fields.input
    }
}
