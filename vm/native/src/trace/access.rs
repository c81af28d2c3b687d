//! `create_access_list` of `vm/_core.pyi`: the accounts and slots that a message touches (EIP-2930).

use alloy_primitives::B256;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::context::transaction::{AccessList, AccessListItem};
use revm_inspectors::access_list::AccessListInspector;

use crate::env::BlockEnv;
use crate::error::Result;
use crate::exec::call::{AccountOverride, CallResult, Message, Simulation, simulation};
use crate::exec::evm::Watch;
use crate::infer::host::Host;
use crate::rules::Rules;
use crate::state::store::Snapshot;
use crate::state::world::{State, read};

/// Runs until the list names all it touches: a list changes gas, and gas may change what is touched.
const ROUNDS: usize = 16;

impl Watch for AccessListInspector {}

type Entry<'py> = (Bound<'py, PyBytes>, Vec<Bound<'py, PyBytes>>);

/// `create_access_list` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (state, rules, env, host, message, *, answers = None, missing = "park", overrides = Vec::new()))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
pub(crate) fn create_access_list<'py>(
    py: Python<'py>,
    state: &Bound<'py, State>,
    rules: &Bound<'py, Rules>,
    env: &Bound<'py, BlockEnv>,
    host: &Bound<'py, Host>,
    message: &Bound<'py, Message>,
    answers: Option<Bound<'py, PyAny>>,
    missing: &str,
    overrides: Vec<Bound<'py, AccountOverride>>,
) -> PyResult<(Vec<Entry<'py>>, CallResult)> {
    let mut simulation = simulation(rules, env, host, message, answers, missing, overrides, false)?;
    let given = simulation.tx.access_list.clone();
    let (list, result) = read(py, &state.get().store, |snapshot| {
        simulation.tx.access_list = given.clone();
        settle(&mut simulation, &snapshot)
    })?;
    let bytes = |word: &B256| PyBytes::new(py, word.as_slice());
    let entry = |item: &AccessListItem| {
        (PyBytes::new(py, item.address.as_slice()), item.storage_keys.iter().map(bytes).collect())
    };
    Ok((list.0.iter().map(entry).collect(), result))
}

fn settle(simulation: &mut Simulation, snapshot: &Snapshot) -> Result<(AccessList, CallResult)> {
    let mut rounds = 0;
    loop {
        let given = simulation.tx.access_list.clone();
        let watcher = AccessListInspector::new(given.clone());
        let reader = simulation.reader(snapshot.clone());
        let seen = simulation.observe(reader, simulation.lane(), simulation.gas_limit, watcher)?;
        let mut lane = seen.lane;
        let touched = seen.watcher.into_access_list();
        let result = CallResult::concluded(seen.executed, &mut lane)?;
        rounds += 1;
        if touched == given || rounds == ROUNDS || matches!(result.kind, "parked" | "invalid") {
            return Ok((touched, result));
        }
        if simulation.tx.tx_type == 0 {
            simulation.tx.tx_type = 1;
        }
        simulation.tx.access_list = touched;
    }
}
