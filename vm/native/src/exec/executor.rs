//! `BlockExecutor` of `vm/_core.pyi`: the stages of making one block.

use std::sync::{Arc, Mutex};

use alloy_primitives::B256;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList, PyMapping};

use super::outcome::Outcome;
use super::pending::Pending;
use crate::block::receipt::Receipt;
use crate::block::records;
use crate::block::sealed::{Commitments, SealedBlock, Sealing, seal};
use crate::convert::{Addr, Blob, Hash, Int};
use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::infer::host::{Host, Tier, parse_answer};
use crate::infer::lane::{Answers, Lane, Missing};
use crate::rules::Rules;
use crate::state::store::{Promotion, Snapshot};
use crate::state::world::State;
use crate::trie::EMPTY_ROOT;
use crate::tx::system::SystemTransaction;
use crate::tx::transaction::{Transaction, Tx};

enum Stage {
    Open(Box<Pending>),
    Sealed(Snapshot, Box<Promotion>),
    Done,
}

/// Builds one block on top of a state.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct BlockExecutor {
    stage: Mutex<Stage>,
}

impl BlockExecutor {
    /// Runs `work` on the stage without the GIL; refuses a second user instead of waiting for ever.
    fn with_stage<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Stage) -> Result<T> + Send,
    ) -> PyResult<T> {
        Ok(py.detach(|| {
            let mut stage = self.stage.try_lock().map_err(|_| Failure::order("the executor is in use"))?;
            work(&mut stage)
        })?)
    }

    fn with_open<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Pending) -> Result<T> + Send,
    ) -> PyResult<T> {
        self.with_stage(py, |stage| match stage {
            Stage::Open(pending) => work(pending),
            _ => Err(Failure::order("the block is sealed or abandoned")),
        })
    }

    /// As `with_open`, for what only a block of plain Ethereum may do.
    fn with_plain<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Pending) -> Result<T> + Send,
    ) -> PyResult<T> {
        self.with_open(py, |pending| {
            if pending.lane()?.rules.plain.is_none() {
                return Err(Failure::order("only a block of plain Ethereum can do this"));
            }
            work(pending)
        })
    }
}

#[pymethods]
impl BlockExecutor {
    #[new]
    fn new(
        py: Python<'_>,
        state: &Bound<'_, State>,
        rules: &Bound<'_, Rules>,
        env: &Bound<'_, BlockEnv>,
        host: &Bound<'_, Host>,
    ) -> PyResult<Self> {
        let lane = Lane::new(rules.get().clone(), host.get().callbacks.clone());
        let (store, env) = (state.get().store.clone(), env.get().clone());
        let pending = py.detach(|| Pending::open(store.snapshot(), env, lane))?;
        Ok(Self { stage: Mutex::new(Stage::Open(Box::new(pending))) })
    }

    fn system<'py>(
        &self,
        py: Python<'py>,
        transactions: Vec<Bound<'py, SystemTransaction>>,
    ) -> PyResult<Bound<'py, PyList>> {
        let transactions: Vec<_> = transactions.iter().map(|tx| tx.get().clone()).collect();
        let receipts = self.with_open(py, |pending| pending.system(&transactions))?;
        PyList::new(py, receipts.into_iter().map(Receipt))
    }

    #[pyo3(signature = (transactions, answers = None, missing = "skip"))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        transactions: Vec<Bound<'py, Transaction>>,
        answers: Option<Vec<Option<Bound<'py, PyAny>>>>,
        missing: &str,
    ) -> PyResult<Bound<'py, PyList>> {
        let transactions: Vec<Arc<Tx>> = transactions.iter().map(|tx| tx.get().0.clone()).collect();
        let answers = match answers {
            None => vec![None; transactions.len()],
            Some(answers) if answers.len() == transactions.len() => {
                answers.into_iter().map(parse_answers).collect::<PyResult<_>>()?
            }
            Some(_) => return Err(PyValueError::new_err("answers must have one entry a transaction")),
        };
        let missing = parse_missing(missing)?;
        let ended = self.with_open(py, |pending| pending.run(&transactions, answers, missing))?;
        PyList::new(py, ended.into_iter().map(Outcome))
    }

    fn system_call<'py>(
        &self,
        py: Python<'py>,
        contract: Addr,
        data: Blob,
    ) -> PyResult<(bool, bool, Bound<'py, PyBytes>)> {
        let call = self.with_plain(py, |pending| pending.system_call(contract.0, data.0))?;
        Ok((call.has_code, call.success, PyBytes::new(py, &call.output)))
    }

    fn run_traced(
        &self,
        py: Python<'_>,
        transaction: &Bound<'_, Transaction>,
        write: Py<PyAny>,
    ) -> PyResult<Outcome> {
        let tx = transaction.get().0.clone();
        Ok(Outcome(self.with_plain(py, |pending| pending.run_traced(&tx, write))?))
    }

    fn credit(&self, py: Python<'_>, amounts: Vec<(Addr, Int)>) -> PyResult<()> {
        let amounts: Vec<_> = amounts.into_iter().map(|(address, amount)| (address.0, amount.0)).collect();
        self.with_plain(py, |pending| pending.credit(&amounts))
    }

    #[getter]
    fn gas_left(&self, py: Python<'_>) -> PyResult<u64> {
        self.with_open(py, |pending| Ok(pending.gas_left()))
    }

    #[getter]
    fn ordinary_gas_used(&self, py: Python<'_>) -> PyResult<u64> {
        self.with_open(py, |pending| Ok(pending.ordinary_gas()))
    }

    #[getter]
    fn transaction_count(&self, py: Python<'_>) -> PyResult<usize> {
        self.with_open(py, |pending| Ok(pending.progress.transactions.len()))
    }

    #[getter]
    fn on_chain_macs_left(&self, py: Python<'_>) -> PyResult<u64> {
        self.with_open(py, |pending| Ok(pending.lane()?.macs_left(Tier::OnChain)))
    }

    #[getter]
    fn neuron_macs_left(&self, py: Python<'_>) -> PyResult<u64> {
        self.with_open(py, |pending| Ok(pending.lane()?.macs_left(Tier::Neuron)))
    }

    #[pyo3(signature = (records = Vec::new(), withdrawals_root = None))]
    fn seal(
        &self,
        py: Python<'_>,
        records: Vec<PyBackedBytes>,
        withdrawals_root: Option<Hash>,
    ) -> PyResult<SealedBlock> {
        let commitments = Commitments {
            records_root: (!records.is_empty()).then(|| records::root(&records)),
            withdrawals_root: withdrawals_root.map_or(EMPTY_ROOT, |root| root.0),
        };
        self.with_stage(py, |stage| match std::mem::replace(stage, Stage::Done) {
            Stage::Open(pending) => {
                let Sealing { block, snapshot, promotion } = seal(*pending, &commitments)?;
                *stage = Stage::Sealed(snapshot, Box::new(promotion));
                Ok(block)
            }
            other => {
                *stage = other;
                Err(Failure::order("a block is sealed once"))
            }
        })
    }

    #[pyo3(signature = (persist = None))]
    fn commit(&self, py: Python<'_>, persist: Option<Py<PyAny>>) -> PyResult<()> {
        self.with_stage(py, |stage| {
            let Stage::Sealed(snapshot, promotion) = stage else {
                return Err(Failure::order("only a sealed block is committed"));
            };
            snapshot.commit(|| call(persist), promotion)?;
            *stage = Stage::Done;
            Ok(())
        })
    }

    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        self.with_stage(py, |stage| {
            *stage = Stage::Done;
            Ok(())
        })
    }
}

/// Calls a Python callable without arguments, if there is one.
pub(crate) fn call(callable: Option<Py<PyAny>>) -> Result<()> {
    match callable {
        None => Ok(()),
        Some(callable) => Python::attach(|py| callable.call0(py).map(drop)).map_err(Failure::from),
    }
}

pub(crate) fn parse_missing(word: &str) -> PyResult<Missing> {
    match word {
        "park" => Ok(Missing::Park),
        "skip" => Ok(Missing::Skip),
        "unavailable" => Ok(Missing::Unavailable),
        _ => Err(PyValueError::new_err("missing is park, skip or unavailable")),
    }
}

/// Answers of one transaction from a mapping of request hash to tuple.
pub(crate) fn parse_answers(mapping: Option<Bound<'_, PyAny>>) -> PyResult<Option<Arc<Answers>>> {
    let Some(mapping) = mapping else { return Ok(None) };
    let items = mapping.cast::<PyMapping>()?.items()?;
    let mut answers = Answers::default();
    for item in items.iter() {
        let (hash, answer): (Hash, Bound<'_, PyAny>) = item.extract()?;
        answers.insert(B256::from(hash.0), parse_answer(&answer)?);
    }
    Ok((!answers.is_empty()).then(|| Arc::new(answers)))
}
