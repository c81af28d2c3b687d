//! What became of a user transaction at its turn.

use std::sync::Arc;

use alloy_primitives::{Bytes, U256};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::context::result::InvalidTransaction;

use crate::block::receipt::{Receipt, ReceiptFacts};
use crate::convert::optional_bytes;
use crate::infer::request::{InferenceRequest, Request};

/// The three ends of a turn.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Included { receipt: Arc<ReceiptFacts>, output: Bytes, index: u64, used_records: Vec<u64> },
    Skipped { code: &'static str, message: String },
    Parked(Box<Request>),
}

impl Ended {
    pub(crate) fn skipped(code: &'static str, message: impl Into<String>) -> Self {
        Self::Skipped { code, message: message.into() }
    }

    /// The end of a transaction that the state does not allow.
    pub(crate) fn invalid(error: &InvalidTransaction) -> Self {
        Self::skipped(code_of(error), error.to_string())
    }
}

/// Stable code of a transaction that cannot be included.
pub(crate) fn code_of(error: &InvalidTransaction) -> &'static str {
    use InvalidTransaction as Invalid;
    match error {
        Invalid::NonceTooLow { .. } => "tx.nonce_too_low",
        Invalid::NonceTooHigh { .. } => "tx.nonce_too_high",
        Invalid::NonceOverflowInTransaction => "tx.nonce_overflow",
        Invalid::LackOfFundForMaxFee { .. } => "tx.insufficient_funds",
        Invalid::OverflowPaymentInTransaction => "tx.fee_overflow",
        Invalid::GasPriceLessThanBasefee => "tx.fee_cap_below_base_fee",
        Invalid::PriorityFeeGreaterThanMaxFee => "tx.priority_above_fee_cap",
        Invalid::RejectCallerWithCode => "tx.sender_is_contract",
        Invalid::CallerGasLimitMoreThanBlock => "tx.block_gas",
        Invalid::CallGasCostMoreThanGasLimit { .. } => "tx.intrinsic_gas",
        Invalid::GasFloorMoreThanGasLimit { .. } => "tx.floor_gas",
        Invalid::TxGasLimitGreaterThanCap { .. } => "tx.gas_cap",
        Invalid::CreateInitCodeSizeLimit => "tx.init_code_size",
        Invalid::InvalidChainId | Invalid::MissingChainId => "tx.wrong_chain",
        Invalid::EmptyAuthorizationList | Invalid::AuthorizationListInvalidFields => "tx.authorization_list",
        Invalid::BlobGasPriceGreaterThanMax { .. } => "tx.blob_fee",
        Invalid::EmptyBlobs => "tx.no_blobs",
        Invalid::BlobVersionNotSupported => "tx.blob_version",
        Invalid::TooManyBlobs { .. } => "tx.too_many_blobs",
        _ => "tx.type_not_supported",
    }
}

/// A cost that can be compared: what a sender must hold.
pub(crate) fn cost(gas_limit: u64, gas_price: u128, value: U256) -> Option<U256> {
    (U256::from(gas_limit) * U256::from(gas_price)).checked_add(value)
}

/// An outcome, for Python.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct Outcome(pub(crate) Ended);

#[pymethods]
impl Outcome {
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0 {
            Ended::Included { .. } => "included",
            Ended::Skipped { .. } => "skipped",
            Ended::Parked(_) => "parked",
        }
    }
    #[getter]
    fn code(&self) -> Option<&'static str> {
        match self.0 {
            Ended::Skipped { code, .. } => Some(code),
            _ => None,
        }
    }
    #[getter]
    fn message(&self) -> Option<&str> {
        match &self.0 {
            Ended::Skipped { message, .. } => Some(message),
            _ => None,
        }
    }
    #[getter]
    fn receipt(&self) -> Option<Receipt> {
        match &self.0 {
            Ended::Included { receipt, .. } => Some(Receipt(receipt.clone())),
            _ => None,
        }
    }
    #[getter]
    fn output<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.0 {
            Ended::Included { output, .. } => optional_bytes(py, Some(output)),
            _ => None,
        }
    }
    #[getter]
    fn index(&self) -> Option<u64> {
        match &self.0 {
            Ended::Included { index, .. } => Some(*index),
            _ => None,
        }
    }
    #[getter]
    fn used_records(&self) -> Vec<u64> {
        match &self.0 {
            Ended::Included { used_records, .. } => used_records.clone(),
            _ => Vec::new(),
        }
    }
    #[getter]
    fn request(&self) -> Option<InferenceRequest> {
        match &self.0 {
            Ended::Parked(request) => Some(InferenceRequest((**request).clone())),
            _ => None,
        }
    }
    fn __repr__(&self) -> String {
        match &self.0 {
            Ended::Included { index, .. } => format!("<Outcome included at {index}>"),
            Ended::Skipped { code, .. } => format!("<Outcome skipped {code}>"),
            Ended::Parked(request) => format!("<Outcome parked {}>", request.hash),
        }
    }
}
