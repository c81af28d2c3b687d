//! `trace_call` of `vm/_core.pyi`: a message, on the state after a block or amidst one.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::inspector::NoOpInspector;

use super::budget::Budget;
use super::replay::{Ran, Replay, Step};
use super::shape::{Page, Place, shape};
use super::wanted::Wanted;
use super::watcher::Watcher;
use crate::env::BlockEnv;
use crate::error::Result;
use crate::exec::call::{AccountOverride, CallResult, Message, Seen, Simulation, simulation};
use crate::infer::host::Host;
use crate::rules::Rules;
use crate::state::reader::Reader;
use crate::state::store::Snapshot;
use crate::state::world::{State, read};

/// `trace_call` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (
    state, rules, env, host, message, request, *, answers = None, missing = "park", overrides = Vec::new(),
    amidst = None, limit_bytes, limit_ms
))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
pub(crate) fn trace_call<'py>(
    py: Python<'py>,
    state: &Bound<'py, State>,
    rules: &Bound<'py, Rules>,
    env: &Bound<'py, BlockEnv>,
    host: &Bound<'py, Host>,
    message: &Bound<'py, Message>,
    request: &[u8],
    answers: Option<Bound<'py, PyAny>>,
    missing: &str,
    overrides: Vec<Bound<'py, AccountOverride>>,
    amidst: Option<(Bound<'py, BlockEnv>, Vec<Bound<'py, PyAny>>)>,
    limit_bytes: usize,
    limit_ms: u64,
) -> PyResult<(Option<Bound<'py, PyBytes>>, CallResult)> {
    let simulation = simulation(rules, env, host, message, answers, missing, overrides, false)?;
    let wanted = Wanted::parse(request)?;
    let amidst = amidst
        .map(|(env, transactions)| {
            let steps = transactions.iter().map(Step::from_python).collect::<PyResult<Vec<_>>>()?;
            Ok::<_, PyErr>((env.get().clone(), steps))
        })
        .transpose()?;
    let (json, result) = read(py, &state.get().store, |snapshot| {
        let budget = Budget::new(limit_bytes, Duration::from_millis(limit_ms));
        let reader = match &amidst {
            None => simulation.reader(snapshot),
            Some((env, steps)) => after(&simulation, snapshot, env, steps)?,
        };
        trace(&simulation, reader, &wanted, budget)
    })?;
    Ok((json.map(|json| PyBytes::new(py, &json)), result))
}

/// The state after some transactions of a block.
fn after(simulation: &Simulation, snapshot: Snapshot, env: &BlockEnv, steps: &[Step]) -> Result<Reader> {
    let mut replay = Replay::open(snapshot.clone(), env.clone(), simulation.lane())?;
    for step in steps {
        let (ran, _) = replay.run(step, NoOpInspector)?;
        replay.apply(ran.state)?;
    }
    let mut reader = simulation.reader(snapshot);
    reader.layer = replay.into_parts()?.0.layer;
    Ok(reader)
}

fn trace(
    simulation: &Simulation,
    reader: Reader,
    wanted: &Wanted,
    budget: Budget,
) -> Result<(Option<Vec<u8>>, CallResult)> {
    let mut page = Page::new(budget.limit());
    let watcher = Watcher::new(wanted.tracer()?, wanted.costs(), budget, wanted.frames_opcode());
    let gas_limit = simulation.gas_limit;
    let Seen { executed, mut lane, watcher, state, mut reader } =
        simulation.observe(reader, simulation.lane(), gas_limit, watcher)?;
    let ran = executed.as_ref().ok().cloned();
    let told = CallResult::concluded(executed, &mut lane)?;
    let Some(result) = ran else { return Ok((None, told)) };
    let mut tx = simulation.tx.clone();
    tx.gas_limit = gas_limit;
    let ran = Ran { result, tx, state };
    let place = Place { env: &simulation.env, block_hash: None, index: None, hash: None };
    let shown = shape(wanted, watcher, &ran, &mut reader, &place)?;
    page.write(&shown)?;
    Ok((Some(page.into_bytes()), told))
}
