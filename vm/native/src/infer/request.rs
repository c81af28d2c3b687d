//! One INFER call and the hash that names it.

use alloy_primitives::{B256, Bytes, Keccak256, keccak256};
use pyo3::prelude::*;

use crate::convert::{Blob, Hash};

/// What a contract asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) model_id: B256,
    pub(crate) input: Bytes,
    pub(crate) params: Bytes,
    pub(crate) max_output: u32,
    pub(crate) seed: B256,
    pub(crate) hash: B256,
    /// Index among the neuron-tier calls of the transaction.
    pub(crate) ordinal: u32,
    pub(crate) macs: u64,
    /// Price, charged before the model runs.
    pub(crate) gas: u64,
}

/// Hash that binds everything an answer depends on.
pub(crate) fn hash(model_id: &B256, input: &[u8], params: &[u8], max_output: u32, seed: &B256) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(b"BitAI/request");
    hasher.update(model_id);
    hasher.update(keccak256(input));
    hasher.update(keccak256(params));
    hasher.update(max_output.to_be_bytes());
    hasher.update(seed);
    hasher.finalize()
}

/// `request_hash` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (model_id, input, params, max_output, seed=None))]
pub(crate) fn request_hash(
    py: Python<'_>,
    model_id: Hash,
    input: Blob,
    params: Blob,
    max_output: u32,
    seed: Option<Hash>,
) -> Bound<'_, pyo3::types::PyBytes> {
    let seed = seed.map_or(B256::ZERO, |seed| seed.0);
    let hash = hash(&model_id.0, &input.0, &params.0, max_output, &seed);
    pyo3::types::PyBytes::new(py, hash.as_slice())
}

/// A neuron-tier call, for Python.
#[pyclass(frozen, name = "InferenceRequest", module = "vm._core")]
pub(crate) struct InferenceRequest(pub(crate) Request);

#[pymethods]
impl InferenceRequest {
    #[getter]
    fn ordinal(&self) -> u32 {
        self.0.ordinal
    }
    #[getter]
    fn model_id(&self) -> &[u8] {
        self.0.model_id.as_slice()
    }
    #[getter]
    fn input(&self) -> &[u8] {
        &self.0.input
    }
    #[getter]
    fn params(&self) -> &[u8] {
        &self.0.params
    }
    #[getter]
    fn max_output(&self) -> u32 {
        self.0.max_output
    }
    #[getter]
    fn seed(&self) -> &[u8] {
        self.0.seed.as_slice()
    }
    #[getter]
    fn request_hash(&self) -> &[u8] {
        self.0.hash.as_slice()
    }
    #[getter]
    fn macs(&self) -> u64 {
        self.0.macs
    }
    #[getter]
    fn gas(&self) -> u64 {
        self.0.gas
    }
}
