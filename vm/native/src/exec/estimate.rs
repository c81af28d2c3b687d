//! The least gas with which a call succeeds.

use alloy_primitives::U256;
use pyo3::prelude::*;

use super::call::{AccountOverride, CallResult, Message, Simulation, simulation};
use crate::env::BlockEnv;
use crate::error::Result;
use crate::infer::host::Host;
use crate::rules::Rules;
use crate::state::store::Snapshot;
use crate::state::world::{State, read};
use crate::tx::decode;

/// Gas that CALL with value lends its callee (EIP-150 world): a first guess must leave room for it.
const CALL_STIPEND: u64 = 2_300;

/// `estimate_gas` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (
    state, rules, env, host, message, *, answers = None, missing = "park", overrides = Vec::new(),
    tolerance_gas = 0
))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
pub(crate) fn estimate_gas(
    py: Python<'_>,
    state: &Bound<'_, State>,
    rules: &Bound<'_, Rules>,
    env: &Bound<'_, BlockEnv>,
    host: &Bound<'_, Host>,
    message: &Bound<'_, Message>,
    answers: Option<Bound<'_, PyAny>>,
    missing: &str,
    overrides: Vec<Bound<'_, AccountOverride>>,
    tolerance_gas: u64,
) -> PyResult<(Option<u64>, CallResult)> {
    let simulation = simulation(rules, env, host, message, answers, missing, overrides, false)?;
    read(py, &state.get().store, |snapshot| estimate(&simulation, &snapshot, tolerance_gas))
}

fn estimate(
    simulation: &Simulation,
    snapshot: &Snapshot,
    tolerance: u64,
) -> Result<(Option<u64>, CallResult)> {
    let most = affordable(simulation, snapshot)?;
    let (result, mut lane) = simulation.run(snapshot.clone(), simulation.lane(), most)?;
    if !result.is_success() {
        return Ok((None, result));
    }
    let (intrinsic, floor) = decode::gas(&simulation.tx);
    // Succeeds with `enough`, fails with `short`.
    let mut enough = (most, result);
    let mut short = intrinsic.max(floor).saturating_sub(1);
    let spent = enough.1.gas_used + enough.1.gas_refunded;
    let mut guess = (spent + CALL_STIPEND) / 63 * 64;
    while enough.0 > short.saturating_add(1).saturating_add(tolerance) {
        let gas = if (short + 1..enough.0).contains(&guess) { guess } else { short.midpoint(enough.0) };
        guess = 0;
        let (result, kept) = simulation.run(snapshot.clone(), lane, gas)?;
        lane = kept;
        if result.is_success() {
            enough = (gas, result);
        } else {
            short = gas;
        }
    }
    Ok((Some(enough.0), enough.1))
}

/// The most gas that the message, the block, the cap and the sender's balance allow.
fn affordable(simulation: &Simulation, snapshot: &Snapshot) -> Result<u64> {
    let most = simulation.gas_limit.min(simulation.transaction_gas_cap());
    if simulation.tx.gas_price == 0 {
        return Ok(most);
    }
    let balance = simulation.sender_balance(snapshot)?;
    let left = balance.saturating_sub(simulation.tx.value).saturating_sub(simulation.data_fee(snapshot)?);
    let gas = left / U256::from(simulation.tx.gas_price);
    Ok(u64::try_from(gas).unwrap_or(u64::MAX).min(most))
}
