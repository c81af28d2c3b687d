//! `SimulatedChain` of `vm/_core.pyi`: blocks upon blocks that nobody keeps, over one state.

use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, Bytes};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use revm::context::{CfgEnv, Journal, TxEnv};
use revm::context_interface::JournalTr;
use revm::primitives::HashMap;

use super::call::{AccountOverride, CallResult, Message};
use super::evm::{Error, UserHandler, build, configuration, watched};
use super::executor::{parse_answers, parse_missing};
use super::system::open_block;
use super::transfers::Transfers;
use crate::block::header::Header;
use crate::block::receipt::ReceiptFacts;
use crate::block::sealed::simulated_header;
use crate::convert::Addr;
use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::infer::host::{Callbacks, Host};
use crate::infer::lane::{Answers, Lane, Missing};
use crate::rules::Rules;
use crate::state::changes::change_set;
use crate::state::reader::{Override, Reader};
use crate::state::world::State;

/// Precompiles that a block has elsewhere, and those it has not.
type Moves = (HashMap<Address, Address>, Vec<Address>);

/// What a simulation has made so far; revm's own parts exist only while a method runs.
struct Simulated {
    rules: Rules,
    callbacks: Arc<Callbacks>,
    validate: bool,
    trace_transfers: bool,
    /// Taken while something runs; a failure loses it.
    journal: Option<Journal<Reader>>,
    block: Option<OpenBlock>,
}

/// The block in the making.
struct OpenBlock {
    env: BlockEnv,
    cfg: CfgEnv,
    /// Taken while something runs.
    lane: Option<Lane>,
    moves: Moves,
    gas_used: u64,
    receipts: Vec<Arc<ReceiptFacts>>,
}

fn lost() -> Failure {
    Failure::order("the simulation ended with an exception, or has no open block")
}

impl Simulated {
    /// Opens the next block: replaces what is to be replaced, then makes the calls before its first transaction.
    fn open(&mut self, env: BlockEnv, overrides: &[(Address, Override)], moves: Moves) -> Result<()> {
        let mut journal = self.journal.take().ok_or_else(lost)?;
        for (address, parts) in overrides {
            replace(&mut journal, *address, parts)?;
        }
        let lane = Lane::new(self.rules.clone(), self.callbacks.clone());
        let cfg = self.configuration();
        let mut evm = build(journal, lane, &env, cfg.clone());
        open_block(&mut evm, &env).map_err(stopped)?;
        self.journal = Some(evm.ctx.journaled_state);
        let lane = Some(evm.ctx.chain);
        self.block = Some(OpenBlock { env, cfg, lane, moves, gas_used: 0, receipts: Vec::new() });
        Ok(())
    }

    /// Fees are taken in any case; without validation any sender may send what no block could hold.
    fn configuration(&self) -> CfgEnv {
        let mut cfg = configuration(self.rules.chain_id);
        cfg.tx_chain_id_check = false;
        if !self.validate {
            cfg.disable_nonce_check = true;
            cfg.disable_eip3607 = true;
            cfg.disable_base_fee = true;
        }
        cfg
    }

    /// Nonce of an account as it is now.
    fn nonce(&mut self, address: Address) -> Result<u64> {
        let journal = self.journal.as_mut().ok_or_else(lost)?;
        Ok(journal.load_account(address)?.data.info.nonce)
    }

    /// Runs one message as the block's next transaction.
    fn run(&mut self, tx: TxEnv, answers: Option<Arc<Answers>>, missing: Missing) -> Result<CallResult> {
        let journal = self.journal.take().ok_or_else(lost)?;
        let block = self.block.as_mut().ok_or_else(lost)?;
        let mut lane = block.lane.take().ok_or_else(lost)?;
        lane.begin(missing, answers, Some(block.receipts.len()));
        let watcher = Transfers::new(self.trace_transfers);
        let mut evm = watched(journal, lane, &block.env, block.cfg.clone(), watcher);
        evm.precompiles.rearrange(&block.moves.0, &block.moves.1);
        let tx_type = tx.tx_type;
        evm.ctx.tx = tx;
        let executed = UserHandler::transact(&mut evm);
        let logs = executed.as_ref().map(|result| result.logs().to_vec()).unwrap_or_default();
        let mut lane = evm.ctx.chain;
        let mut result = CallResult::concluded(executed, &mut lane)?;
        if result.is_included() {
            block.gas_used += result.gas_used;
            let success = result.is_success();
            block.receipts.push(receipt(tx_type, success, block.gas_used, logs));
            result.replace_logs(evm.inspector.into_logs(), self.trace_transfers);
            lane.end();
        }
        block.lane = Some(lane);
        self.journal = Some(evm.ctx.journaled_state);
        Ok(result)
    }

    /// Ends the block.
    fn seal(&mut self, transactions: &[Bytes]) -> Result<Header> {
        let block = self.block.take().ok_or_else(lost)?;
        let journal = self.journal.as_ref().ok_or_else(lost)?;
        let changes = change_set(&journal.database, &journal.inner.state, true)?;
        Ok(simulated_header(&block.env, changes.state_root, transactions, &block.receipts))
    }
}

fn stopped(error: Error) -> Failure {
    match error {
        Error::Database(failure) => failure,
        other => Failure::order(format!("the EVM stopped: {other}")),
    }
}

/// What a receipt of a simulated block commits to.
fn receipt(
    tx_type: u8,
    success: bool,
    cumulative_gas_used: u64,
    logs: Vec<alloy_primitives::Log>,
) -> Arc<ReceiptFacts> {
    let logs = if success { logs } else { Vec::new() };
    Arc::new(ReceiptFacts::of_simulation(tx_type, success, cumulative_gas_used, logs))
}

/// Replaces parts of an account in the journal; a replaced storage leaves nothing of the old one.
fn replace(journal: &mut Journal<Reader>, address: Address, parts: &Override) -> Result<()> {
    journal.load_account_with_code(address)?;
    if let Some(storage) = &parts.storage {
        journal.database.replace_storage(address, storage.clone());
    }
    if let Some(account) = journal.inner.state.get_mut(&address) {
        account.mark_touch();
        account.info.balance = parts.balance.unwrap_or(account.info.balance);
        account.info.nonce = parts.nonce.unwrap_or(account.info.nonce);
        if let Some(code) = &parts.code {
            account.info.code_hash = code.hash_slow();
            account.info.code = Some(code.clone());
        }
        if parts.storage.is_some() {
            account.storage.clear();
        }
    }
    let replaced = parts.storage.iter().flatten().chain(&parts.storage_diff);
    for (slot, value) in replaced {
        journal.sload(address, *slot)?;
        let entry = journal.inner.state.get_mut(&address).and_then(|account| account.storage.get_mut(slot));
        if let Some(entry) = entry {
            entry.original_value = *value;
            entry.present_value = *value;
        }
    }
    // What was only looked at is cold for the block's transactions.
    journal.commit_tx();
    Ok(())
}

/// Blocks upon blocks that nobody keeps.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct SimulatedChain {
    inner: Mutex<Simulated>,
}

impl SimulatedChain {
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Simulated) -> Result<T> + Send,
    ) -> PyResult<T> {
        Ok(py.detach(|| {
            let mut inner = self.inner.try_lock().map_err(|_| Failure::order("the simulation is in use"))?;
            work(&mut inner)
        })?)
    }
}

#[pymethods]
impl SimulatedChain {
    #[new]
    #[pyo3(signature = (state, rules, host, *, validate = false, trace_transfers = false))]
    fn new(
        state: &Bound<'_, State>,
        rules: &Bound<'_, Rules>,
        host: &Bound<'_, Host>,
        validate: bool,
        trace_transfers: bool,
    ) -> Self {
        let callbacks = host.get().callbacks.clone();
        let reader = Reader::new(state.get().store.snapshot(), callbacks.clone());
        let inner = Simulated {
            rules: rules.get().clone(),
            callbacks,
            validate,
            trace_transfers,
            journal: Some(Journal::new(reader)),
            block: None,
        };
        Self { inner: Mutex::new(inner) }
    }

    #[pyo3(signature = (env, overrides = Vec::new(), moves = Vec::new(), removed = Vec::new()))]
    fn open(
        &self,
        py: Python<'_>,
        env: &Bound<'_, BlockEnv>,
        overrides: Vec<Bound<'_, AccountOverride>>,
        moves: Vec<(Addr, Addr)>,
        removed: Vec<Addr>,
    ) -> PyResult<()> {
        let env = env.get().clone();
        let overrides: Vec<_> = overrides.iter().map(|entry| entry.get().parts()).collect();
        let moved = moves.into_iter().map(|(from, to)| (to.0, from.0)).collect();
        let removed = removed.into_iter().map(|address| address.0).collect();
        self.with(py, |inner| inner.open(env, &overrides, (moved, removed)))
    }

    fn nonce(&self, py: Python<'_>, address: Addr) -> PyResult<u64> {
        self.with(py, |inner| inner.nonce(address.0))
    }

    #[pyo3(signature = (message, answers = None, missing = "park"))]
    fn run(
        &self,
        py: Python<'_>,
        message: &Bound<'_, Message>,
        answers: Option<Bound<'_, PyAny>>,
        missing: &str,
    ) -> PyResult<CallResult> {
        let (answers, missing) = (parse_answers(answers)?, parse_missing(missing)?);
        let tx = message.get().transaction();
        self.with(py, |inner| inner.run(tx, answers, missing))
    }

    fn seal(&self, py: Python<'_>, transactions: Vec<PyBackedBytes>) -> PyResult<Header> {
        let transactions: Vec<_> = transactions.iter().map(|raw| Bytes::copy_from_slice(raw)).collect();
        self.with(py, |inner| inner.seal(&transactions))
    }
}
