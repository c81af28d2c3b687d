//! A block in the making.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, TxKind, U256};
use pyo3::prelude::*;
use revm::context::result::{ExecutionResult, HaltReason};
use revm::context::{CfgEnv, Journal, Transaction as _};
use revm::context_interface::JournalTr;

use super::data_fee::DataPrice;
use super::evm::{Context, Error, Evm, UserHandler, Watch, block_configuration, build, watched};
use super::outcome::Ended;
use super::system;
use crate::block::bloom::BloomMaker;
use crate::block::receipt::ReceiptFacts;
use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::infer::lane::{Answers, Lane, Missing, Stop};
use crate::plain::{self, block::SystemCall, steps::Steps};
use crate::state::reader::Reader;
use crate::state::store::Snapshot;
use crate::tx::system::{SYSTEM_TYPE, SystemTransaction};
use crate::tx::transaction::Tx;

/// What the block holds so far.
pub(crate) struct Progress {
    pub(crate) gas_used: u64,
    /// Gas declared by transactions that replay ran and left out: free for them, not for the nodes that ran them.
    wasted_gas: u64,
    pub(crate) infer_gas: u64,
    pub(crate) minted: U256,
    pub(crate) receipts: Vec<Arc<ReceiptFacts>>,
    pub(crate) transactions: Vec<Bytes>,
    bloom: BloomMaker,
    /// Known from the first user transaction on.
    data_price: Option<DataPrice>,
}

/// A block in the making; revm's own parts exist only while a method runs, because they stay on one thread.
pub(crate) struct Pending {
    pub(crate) env: BlockEnv,
    cfg: CfgEnv,
    /// revm's journal holds what the block has changed so far. Taken while transactions run; a failure loses it.
    parts: Option<(Journal<Reader>, Lane)>,
    pub(crate) progress: Progress,
}

impl Pending {
    /// Opens a block: makes the calls before its first transaction.
    pub(crate) fn open(snapshot: Snapshot, env: BlockEnv, lane: Lane) -> Result<Self> {
        let plain = lane.rules.plain;
        let reader = Reader::new(snapshot, lane.callbacks()).under(plain);
        let cfg = block_configuration(&lane.rules);
        let progress = Progress {
            gas_used: 0,
            wasted_gas: 0,
            infer_gas: 0,
            minted: U256::ZERO,
            receipts: Vec::new(),
            transactions: Vec::new(),
            bloom: BloomMaker::default(),
            data_price: None,
        };
        let mut pending = Self { env, cfg, parts: Some((Journal::new(reader), lane)), progress };
        if plain.is_none() {
            pending.with_evm(|evm, env, _| system::open_block(evm, env).map_err(failure))?;
        }
        Ok(pending)
    }

    pub(crate) fn lane(&self) -> Result<&Lane> {
        self.parts.as_ref().map(|parts| &parts.1).ok_or_else(lost)
    }

    /// Gas that transactions may still declare.
    pub(crate) fn gas_left(&self) -> u64 {
        self.progress.gas_left(&self.env)
    }

    pub(crate) fn ordinary_gas(&self) -> u64 {
        self.progress.gas_used - self.progress.infer_gas
    }

    /// The journal, for the end of the block.
    pub(crate) fn into_parts(self) -> Result<(BlockEnv, Journal<Reader>, Progress)> {
        let (journal, _) = self.parts.ok_or_else(lost)?;
        Ok((self.env, journal, self.progress))
    }

    fn with_evm<T>(
        &mut self,
        run: impl FnOnce(&mut Evm, &BlockEnv, &mut Progress) -> Result<T>,
    ) -> Result<T> {
        let (journal, lane) = self.parts.take().ok_or_else(lost)?;
        let mut evm = build(journal, lane, &self.env, self.cfg.clone());
        // On failure the parts go with the EVM: what it had half done must not be sealed.
        let value = run(&mut evm, &self.env, &mut self.progress)?;
        self.parts = Some((evm.ctx.journaled_state, evm.ctx.chain));
        Ok(value)
    }

    /// Calls a contract as the system of plain Ethereum does.
    pub(crate) fn system_call(&mut self, contract: Address, data: Bytes) -> Result<SystemCall> {
        self.with_evm(|evm, _, _| plain::block::system_call(evm, contract, data).map_err(failure))
    }

    /// Runs one transaction and writes down every step of it.
    pub(crate) fn run_traced(&mut self, tx: &Tx, write: Py<PyAny>) -> Result<Ended> {
        let (journal, lane) = self.parts.take().ok_or_else(lost)?;
        let mut evm = watched(journal, lane, &self.env, self.cfg.clone(), Steps::new(write));
        evm.ctx.chain.begin(Missing::Unavailable, None, Some(0));
        let ended = run_user(&mut evm, &self.env, &mut self.progress, tx)?;
        evm.inspector.finish()?;
        self.parts = Some((evm.ctx.journaled_state, evm.ctx.chain));
        Ok(ended)
    }

    /// Adds coin to accounts: withdrawals and rewards of plain Ethereum.
    pub(crate) fn credit(&mut self, amounts: &[(Address, U256)]) -> Result<()> {
        self.with_evm(|evm, _, _| plain::block::credit(evm, amounts).map_err(failure))
    }

    /// Runs derived transactions.
    pub(crate) fn system(&mut self, transactions: &[SystemTransaction]) -> Result<Vec<Arc<ReceiptFacts>>> {
        if self.progress.receipts.last().is_some_and(|receipt| receipt.tx_type != SYSTEM_TYPE) {
            return Err(Failure::order("system transactions come before user transactions"));
        }
        self.with_evm(|evm, _, progress| {
            transactions.iter().map(|tx| run_system(evm, progress, tx)).collect()
        })
    }

    /// Runs user transactions in order.
    pub(crate) fn run(
        &mut self,
        transactions: &[Arc<Tx>],
        answers: Vec<Option<Arc<Answers>>>,
        missing: Missing,
    ) -> Result<Vec<Ended>> {
        self.prefetch(transactions)?;
        self.with_evm(|evm, env, progress| {
            let turns = transactions.iter().zip(answers).enumerate();
            turns
                .map(|(position, (tx, answers))| {
                    evm.ctx.chain.begin(missing, answers, Some(position));
                    run_user(evm, env, progress, tx)
                })
                .collect()
        })
    }

    /// Reads what the transactions surely touch in one batch instead of one by one.
    fn prefetch(&self, transactions: &[Arc<Tx>]) -> Result<()> {
        let (journal, _) = self.parts.as_ref().ok_or_else(lost)?;
        let known = |address: &Address| journal.inner.state.contains_key(address);
        let mut accounts = Vec::with_capacity(transactions.len() * 2);
        let mut called = Vec::new();
        let mut slots = Vec::new();
        for tx in transactions {
            accounts.push(tx.env.caller);
            accounts.extend(tx.env.kind.to());
            called.extend(tx.env.kind.to());
            for item in tx.env.access_list.iter() {
                accounts.push(item.address);
                let keys = item.storage_keys.iter().map(|slot| U256::from_be_bytes(slot.0));
                slots.extend(keys.map(|slot| (item.address, slot)));
            }
        }
        for list in [&mut accounts, &mut called] {
            list.retain(|address| !known(address));
            list.sort_unstable();
            list.dedup();
        }
        slots.sort_unstable();
        slots.dedup();
        journal.database.snapshot().prefetch(&accounts, &called, &slots)
    }
}

fn lost() -> Failure {
    Failure::order("the block ended with an exception; abandon it")
}

/// An error that ends the whole run.
fn failure(error: Error) -> Failure {
    match error {
        Error::Database(failure) => failure,
        other => Failure::order(format!("the EVM stopped: {other}")),
    }
}

fn run_system(evm: &mut Evm, progress: &mut Progress, tx: &SystemTransaction) -> Result<Arc<ReceiptFacts>> {
    evm.ctx.chain.begin(Missing::Unavailable, None, None);
    let (result, nonce) = system::run(evm, tx.to_revm(), tx.fields.mint).map_err(failure)?;
    let result = match result {
        Ok(result) => result,
        Err(error) => return Err(stopped(evm, error)),
    };
    progress.minted += tx.fields.mint;
    let identity = Identity {
        tx_type: SYSTEM_TYPE,
        hash: tx.hash,
        sender: tx.fields.sender,
        to: tx.fields.to,
        raw: tx.raw.clone(),
        price: 0,
        data_price: DataPrice::default(),
        deposit_nonce: Some(nonce),
    };
    Ok(progress.include(evm, identity, result).0)
}

/// Puts a transaction before the EVM, with what this chain knows of it beside.
pub(crate) fn prepare(context: &mut Context, tx: &Tx, price: DataPrice) {
    context.tx = tx.env.clone();
    // Whom a development node's owner impersonates may be a contract; a signature's r is never 0. Plain transactions
    // are made from their fields, without a signature.
    context.cfg.disable_eip3607 = tx.r.is_zero() && context.chain.rules.plain.is_none();
    context.chain.turn.data = price.charge(tx.data_size);
}

fn run_user<W: Watch>(evm: &mut Evm<W>, env: &BlockEnv, progress: &mut Progress, tx: &Tx) -> Result<Ended> {
    if tx.env.gas_limit > progress.gas_left(env) {
        return Ok(Ended::skipped(
            "tx.block_gas",
            "the block has less gas left than the transaction declares",
        ));
    }
    let price = progress.data_price(&mut evm.ctx)?;
    prepare(&mut evm.ctx, tx, price);
    let result = match UserHandler::transact(evm) {
        Ok(result) => result,
        Err(Error::Transaction(invalid)) => return Ok(Ended::invalid(&invalid)),
        Err(error) => {
            return match evm.ctx.chain.turn.stop.take() {
                Some(Stop::Park(request)) => Ok(Ended::Parked(Box::new(request))),
                Some(Stop::Skip(code, message)) => {
                    // Only replay counts: whoever wrote the data could have left such a transaction out.
                    if evm.ctx.chain.missing == Missing::Skip {
                        progress.wasted_gas += tx.env.gas_limit;
                        evm.ctx.chain.waste();
                    }
                    Ok(Ended::skipped(code, message))
                }
                Some(Stop::Fail(failure)) => Err(failure),
                None => Err(failure(error)),
            };
        }
    };
    let index = progress.transactions.len() as u64;
    let output = result.output().cloned().unwrap_or_default();
    let identity = Identity {
        tx_type: tx.env.tx_type,
        hash: tx.hash,
        sender: tx.env.caller,
        to: tx.env.kind,
        raw: tx.raw.clone(),
        price: tx.env.effective_gas_price(env.base_fee.into()),
        data_price: price,
        deposit_nonce: None,
    };
    let (receipt, used_records) = progress.include(evm, identity, result);
    Ok(Ended::Included { receipt, output, index, used_records })
}

/// Why a system transaction stopped.
fn stopped(evm: &mut Evm, error: Error) -> Failure {
    match evm.ctx.chain.turn.stop.take() {
        Some(Stop::Fail(failure)) => failure,
        _ => failure(error),
    }
}

/// What a receipt repeats of its transaction.
struct Identity {
    tx_type: u8,
    hash: alloy_primitives::B256,
    sender: Address,
    to: TxKind,
    raw: Bytes,
    price: u128,
    data_price: DataPrice,
    deposit_nonce: Option<u64>,
}

impl Progress {
    /// What a byte costs in this block; system transactions are over when it is first asked for.
    fn data_price(&mut self, context: &mut Context) -> Result<DataPrice> {
        if let Some(price) = self.data_price {
            return Ok(price);
        }
        let price = DataPrice::of_block(context)?;
        self.data_price = Some(price);
        Ok(price)
    }

    /// Gas that transactions may still declare.
    fn gas_left(&self, env: &BlockEnv) -> u64 {
        env.gas_limit.saturating_sub(self.gas_used).saturating_sub(self.wasted_gas)
    }

    /// Adds an executed transaction; answers its receipt and the records it used.
    fn include<W>(
        &mut self,
        evm: &mut Evm<W>,
        identity: Identity,
        result: ExecutionResult<HaltReason>,
    ) -> (Arc<ReceiptFacts>, Vec<u64>) {
        let turn = evm.ctx.chain.end();
        let gas_used = result.tx_gas_used();
        let infer_gas = turn.gas().min(gas_used);
        self.gas_used += gas_used;
        self.infer_gas += infer_gas;
        let success = result.is_success();
        let created = result.created_address().filter(|_| success);
        // A failed transaction keeps no logs.
        let logs = if success { result.into_logs() } else { Vec::new() };
        let address_bytes = |address: Option<Address>| {
            address.map_or_else(Bytes::new, |address| Bytes::copy_from_slice(address.as_slice()))
        };
        let receipt = Arc::new(ReceiptFacts {
            tx_type: identity.tx_type,
            transaction_hash: identity.hash,
            sender: identity.sender,
            to: address_bytes(identity.to.to().copied()),
            contract_address: address_bytes(created),
            success,
            gas_used,
            infer_gas,
            cumulative_gas_used: self.gas_used,
            effective_gas_price: identity.price,
            data: identity.data_price.paid(turn.data),
            bloom: self.bloom.bloom(&logs),
            logs,
            deposit_nonce: identity.deposit_nonce,
        });
        self.receipts.push(receipt.clone());
        self.transactions.push(identity.raw);
        (receipt, turn.used_records)
    }
}
