//! The questions that execution asks Python.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::lane::Answer;
use super::request::{InferenceRequest, Request};
use crate::convert::{Addr, Blob};
use crate::error::{Failure, Result};

/// Python callables; see `Host` in `vm/_core.pyi`.
pub(crate) struct Callbacks {
    models: Py<PyAny>,
    infer: Py<PyAny>,
    answer: Option<Py<PyAny>>,
    console: Option<Py<PyAny>>,
    pub(crate) block_hash: Py<PyAny>,
}

/// The questions that execution asks Python.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct Host {
    pub(crate) callbacks: Arc<Callbacks>,
}

#[pymethods]
impl Host {
    #[new]
    #[pyo3(signature = (*, models, infer, block_hash, answer = None, console = None))]
    fn new(
        models: Py<PyAny>,
        infer: Py<PyAny>,
        block_hash: Py<PyAny>,
        answer: Option<Py<PyAny>>,
        console: Option<Py<PyAny>>,
    ) -> Self {
        Self { callbacks: Arc::new(Callbacks { models, infer, answer, console, block_hash }) }
    }
}

/// Which lane a model runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    OnChain,
    Neuron,
}

/// What execution needs to know of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelFacts {
    pub(crate) tier: Tier,
    pub(crate) macs: u64,
    /// None: any length.
    pub(crate) input_bytes: Option<u64>,
    pub(crate) output_bytes: u64,
    pub(crate) callable: bool,
}

/// The tuple that the `models` callback answers.
type FactsTuple = (u8, u64, Option<u64>, u64, bool);

/// A model's answer.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) status: u8,
    pub(crate) output: Bytes,
}

impl Callbacks {
    pub(crate) fn model(&self, id: &B256) -> Result<Option<ModelFacts>> {
        Python::attach(|py| {
            let answer = self.models.call1(py, (PyBytes::new(py, id.as_slice()),))?;
            if answer.is_none(py) {
                return Ok(None);
            }
            let (tier, macs, input_bytes, output_bytes, callable): FactsTuple = answer
                .extract(py)
                .map_err(|error| Failure::new("core.bad_answer", format!("models: {error}")))?;
            let tier = match tier {
                0 => Tier::OnChain,
                1 => Tier::Neuron,
                other => return Err(Failure::new("core.bad_answer", format!("models: no tier {other}"))),
            };
            Ok(Some(ModelFacts { tier, macs, input_bytes, output_bytes, callable }))
        })
    }

    /// Answer to a neuron-tier call of the transaction at `position` (None: a system transaction), if the host knows one.
    pub(crate) fn answer(&self, position: Option<usize>, request: &Request) -> Result<Option<Answer>> {
        let Some(callback) = &self.answer else { return Ok(None) };
        Python::attach(|py| {
            let answer = callback.call1(py, (position, InferenceRequest(request.clone())))?;
            if answer.is_none(py) {
                return Ok(None);
            }
            let answer = parse_answer(answer.bind(py))
                .map_err(|error| Failure::new("core.bad_answer", format!("answer: {error}")))?;
            Ok(Some(answer))
        })
    }

    /// Whether somebody reads what contracts print.
    pub(crate) fn has_console(&self) -> bool {
        self.console.is_some()
    }

    /// Hands over what a contract prints: the place of its transaction, how many it printed before, and calldata.
    pub(crate) fn print(&self, position: Option<usize>, ordinal: u32, message: &[u8]) -> Result<()> {
        let Some(console) = &self.console else { return Ok(()) };
        Python::attach(|py| {
            console.call1(py, (position, ordinal, PyBytes::new(py, message)))?;
            Ok(())
        })
    }

    /// Runs an on-chain model.
    pub(crate) fn infer(&self, request: &Request) -> Result<Output> {
        Python::attach(|py| {
            let arguments = (
                PyBytes::new(py, request.model_id.as_slice()),
                PyBytes::new(py, &request.input),
                PyBytes::new(py, &request.params),
                request.max_output,
            );
            let (status, output): (u8, Vec<u8>) = self
                .infer
                .call1(py, arguments)?
                .extract(py)
                .map_err(|error| Failure::new("core.bad_answer", format!("infer: {error}")))?;
            if output.len() as u64 > u64::from(request.max_output) {
                return Err(Failure::new("core.bad_answer", "infer: the output is longer than max output"));
            }
            Ok(Output { status, output: output.into() })
        })
    }
}

/// An answer from the tuple (status, output, neuron, record).
pub(crate) fn parse_answer(answer: &Bound<'_, PyAny>) -> PyResult<Answer> {
    let (status, output, neuron, record): (u8, Blob, Option<Addr>, i64) = answer.extract()?;
    Ok(Answer {
        output: Output { status, output: output.0 },
        neuron: neuron.map(|neuron| neuron.0),
        record: u64::try_from(record).ok(),
    })
}
