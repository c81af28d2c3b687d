//! `trace_block` of `vm/_core.pyi`: one or all transactions of a block that exists.

use std::time::Duration;

use alloy_primitives::B256;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::inspector::NoOpInspector;

use super::budget::Budget;
use super::replay::{Ran, Replay, Step, diverged};
use super::shape::{Page, Place, Shown, shape};
use super::wanted::Wanted;
use super::watcher::Watcher;
use crate::convert::Hash;
use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::infer::host::Host;
use crate::infer::lane::Lane;
use crate::rules::Rules;
use crate::state::store::Snapshot;
use crate::state::world::{State, read};

/// `trace_block` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (
    state, rules, env, host, transactions, request, *, block_hash, gas_used, only = None, limit_bytes, limit_ms
))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
pub(crate) fn trace_block<'py>(
    py: Python<'py>,
    state: &Bound<'py, State>,
    rules: &Bound<'py, Rules>,
    env: &Bound<'py, BlockEnv>,
    host: &Bound<'py, Host>,
    transactions: Vec<Bound<'py, PyAny>>,
    request: &[u8],
    block_hash: Hash,
    gas_used: Vec<u64>,
    only: Option<usize>,
    limit_bytes: usize,
    limit_ms: u64,
) -> PyResult<Bound<'py, PyBytes>> {
    let steps = transactions.iter().map(Step::from_python).collect::<PyResult<Vec<_>>>()?;
    let wanted = Wanted::parse(request)?;
    let (rules, env, callbacks) = (rules.get().clone(), env.get().clone(), host.get().callbacks.clone());
    let json = read(py, &state.get().store, |snapshot| {
        let job = Job {
            wanted: &wanted,
            steps: &steps,
            gas_used: &gas_used,
            block_hash: block_hash.0,
            budget: Budget::new(limit_bytes, Duration::from_millis(limit_ms)),
        };
        let lane = Lane::new(rules.clone(), callbacks.clone());
        job.run(snapshot, env.clone(), lane, only)
    })?;
    Ok(PyBytes::new(py, &json))
}

/// A block to trace.
struct Job<'a> {
    wanted: &'a Wanted,
    steps: &'a [Step],
    /// Of the receipts, against which each transaction is checked.
    gas_used: &'a [u64],
    block_hash: B256,
    budget: Budget,
}

impl<'a> Job<'a> {
    fn run(mut self, snapshot: Snapshot, env: BlockEnv, lane: Lane, only: Option<usize>) -> Result<Vec<u8>> {
        let mut page = Page::new(self.budget.limit());
        let mut replay = Replay::open(snapshot, env, lane)?;
        if let Some(only) = only {
            for index in 0..only {
                self.pass(&mut replay, index)?;
            }
            let shown = self.show(&mut replay, only)?;
            page.write(&shown)?;
            return Ok(page.into_bytes());
        }
        let mut entries = 0;
        page.put("[");
        for index in 0..self.steps.len() {
            let shown = self.show(&mut replay, index)?;
            write_entry(self.wanted, &mut page, &mut entries, &self.steps[index].hash(), &shown)?;
        }
        page.put("]");
        Ok(page.into_bytes())
    }

    /// Runs a transaction that nobody wants to see.
    fn pass(&self, replay: &mut Replay, index: usize) -> Result<()> {
        let (ran, _) = replay.run(self.step(index)?, NoOpInspector)?;
        check(self.gas_used, index, &ran)?;
        replay.apply(ran.state)
    }

    /// Runs a transaction and tells what it did.
    fn show(&mut self, replay: &mut Replay, index: usize) -> Result<Shown> {
        let step = self.step(index)?;
        let watcher = Watcher::new(
            self.wanted.tracer()?,
            self.wanted.costs(),
            self.budget.clone(),
            self.wanted.frames_opcode(),
        );
        let (ran, watcher) = replay.run(step, watcher)?;
        check(self.gas_used, index, &ran)?;
        self.budget = watcher.budget.clone();
        let env = replay.env.clone();
        let place = Place {
            env: &env,
            block_hash: Some(self.block_hash),
            index: Some(index),
            hash: Some(step.hash()),
        };
        let shown = shape(self.wanted, watcher, &ran, replay.reader()?, &place)?;
        replay.apply(ran.state)?;
        Ok(shown)
    }

    fn step(&self, index: usize) -> Result<&'a Step> {
        self.steps.get(index).ok_or_else(|| Failure::order("the block has no such transaction"))
    }
}

/// Adds what one transaction adds to the list of a block.
fn write_entry(
    wanted: &Wanted,
    page: &mut Page,
    entries: &mut usize,
    hash: &B256,
    shown: &Shown,
) -> Result<()> {
    if let (Wanted::Localized, Shown::Flat(flat)) = (wanted, shown) {
        for entry in flat {
            separate(page, entries);
            page.write(entry)?;
        }
        return Ok(());
    }
    separate(page, entries);
    if matches!(wanted, Wanted::Parity(_)) {
        return page.write(shown);
    }
    page.put(&format!("{{\"txHash\":\"{hash}\",\"result\":"));
    page.write(shown)?;
    page.put("}");
    Ok(())
}

fn separate(page: &mut Page, entries: &mut usize) {
    if *entries > 0 {
        page.put(",");
    }
    *entries += 1;
}

fn check(gas_used: &[u64], index: usize, ran: &Ran) -> Result<()> {
    let now = ran.result.tx_gas_used();
    match gas_used.get(index) {
        Some(then) if *then == now => Ok(()),
        then => Err(diverged(format!("transaction {index} used {now} gas, its receipt says {then:?}"))),
    }
}
