//! A block's transactions again, one at a time, each on what those before it left.

use alloy_primitives::{B256, Bytes};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use revm::context::result::{ExecutionResult, HaltReason};
use revm::context::{CfgEnv, Journal, TxEnv};
use revm::context_interface::JournalTr;
use revm::inspector::NoOpInspector;
use revm::state::EvmState;
use std::sync::Arc;

use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::exec::data_fee::DataPrice;
use crate::exec::evm::{Error, UserHandler, Watch, block_configuration, watched};
use crate::exec::pending::prepare;
use crate::exec::system;
use crate::infer::lane::{Lane, Missing, Stop};
use crate::state::reader::Reader;
use crate::state::store::Snapshot;
use crate::tx::system::SystemTransaction;
use crate::tx::transaction::{Transaction, Tx};

/// A transaction of a block.
#[derive(Clone)]
pub(crate) enum Step {
    System(Box<SystemTransaction>),
    User(Arc<Tx>),
}

impl Step {
    /// Takes one from Python.
    pub(crate) fn from_python(transaction: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(system) = transaction.cast::<SystemTransaction>() {
            return Ok(Self::System(Box::new(system.get().clone())));
        }
        match transaction.cast::<Transaction>() {
            Ok(user) => Ok(Self::User(user.get().0.clone())),
            Err(_) => Err(PyTypeError::new_err("a block holds Transaction and SystemTransaction")),
        }
    }

    pub(crate) fn hash(&self) -> B256 {
        match self {
            Self::System(tx) => tx.hash,
            Self::User(tx) => tx.hash,
        }
    }
}

/// A transaction that ran.
pub(crate) struct Ran {
    pub(crate) result: ExecutionResult<HaltReason>,
    pub(crate) tx: TxEnv,
    /// What it changed; not yet laid over the reader.
    pub(crate) state: EvmState,
}

impl Ran {
    pub(crate) fn output(&self) -> Bytes {
        self.result.output().cloned().unwrap_or_default()
    }
}

/// The state between two transactions of a block.
pub(crate) struct Replay {
    pub(crate) env: BlockEnv,
    cfg: CfgEnv,
    /// Taken while a transaction runs; a failure loses it.
    parts: Option<(Reader, Lane)>,
    /// User transactions so far: what the host counts.
    users: usize,
}

impl Replay {
    /// Opens the block on the state before it: makes the calls before its first transaction.
    pub(crate) fn open(snapshot: Snapshot, env: BlockEnv, lane: Lane) -> Result<Self> {
        let reader = Reader::new(snapshot, lane.callbacks());
        let cfg = block_configuration(&lane.rules);
        if lane.rules.plain.is_some() {
            return Ok(Self { env, cfg, parts: Some((reader, lane)), users: 0 });
        }
        let mut evm = watched(Journal::new(reader), lane, &env, cfg.clone(), NoOpInspector);
        system::open_block(&mut evm, &env).map_err(|error| stopped(error, None))?;
        let state = evm.ctx.journaled_state.finalize();
        let (lane, mut reader) = (evm.ctx.chain, evm.ctx.journaled_state.database);
        reader.layer.apply(state);
        Ok(Self { env, cfg, parts: Some((reader, lane)), users: 0 })
    }

    /// Runs one transaction before a watcher.
    pub(crate) fn run<W: Watch>(&mut self, step: &Step, watcher: W) -> Result<(Ran, W)> {
        let (reader, mut lane) =
            self.parts.take().ok_or_else(|| Failure::order("the replay ended with a failure"))?;
        match step {
            Step::System(_) => lane.begin(Missing::Unavailable, None, None),
            Step::User(_) => {
                lane.begin(Missing::Skip, None, Some(self.users));
                self.users += 1;
            }
        }
        let mut evm = watched(Journal::new(reader), lane, &self.env, self.cfg.clone(), watcher);
        let (executed, tx) = match step {
            Step::System(tx) => {
                let env = tx.to_revm();
                (system::run(&mut evm, env.clone(), tx.fields.mint).and_then(|ran| ran.0), env)
            }
            Step::User(tx) => {
                let price = DataPrice::of_block(&mut evm.ctx)?;
                prepare(&mut evm.ctx, tx, price);
                (UserHandler::transact(&mut evm), tx.env.clone())
            }
        };
        evm.inspector.verdict()?;
        let result = executed.map_err(|error| stopped(error, evm.ctx.chain.turn.stop.take()))?;
        let state = evm.ctx.journaled_state.finalize();
        let mut lane = evm.ctx.chain;
        lane.end();
        self.parts = Some((evm.ctx.journaled_state.database, lane));
        Ok((Ran { result, tx, state }, evm.inspector))
    }

    /// The state before the transaction that ran last.
    pub(crate) fn reader(&mut self) -> Result<&mut Reader> {
        let parts = self.parts.as_mut();
        parts.map(|parts| &mut parts.0).ok_or_else(|| Failure::order("the replay ended with a failure"))
    }

    /// Goes on with what a transaction changed.
    pub(crate) fn apply(&mut self, state: EvmState) -> Result<()> {
        self.reader()?.layer.apply(state);
        Ok(())
    }

    /// The state after the transactions so far, and the lane.
    pub(crate) fn into_parts(self) -> Result<(Reader, Lane)> {
        self.parts.ok_or_else(|| Failure::order("the replay ended with a failure"))
    }
}

/// A transaction that was included and now is not: our fault, or a corrupt store.
pub(crate) fn diverged(what: impl std::fmt::Display) -> Failure {
    Failure::new("trace.diverged", format!("the block does not run again as it ran: {what}"))
}

fn stopped(error: Error, stop: Option<Stop>) -> Failure {
    match (stop, error) {
        (Some(Stop::Fail(failure)), _) | (None, Error::Database(failure)) => failure,
        (Some(Stop::Park(request)), _) => diverged(format!("no answer for request {}", request.hash)),
        (Some(Stop::Skip(code, _)), _) => diverged(code),
        (None, other) => diverged(other),
    }
}
