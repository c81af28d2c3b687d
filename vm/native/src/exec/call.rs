//! Calls that leave nothing behind: eth_call and what builds on it.

use std::collections::HashMap;
use std::sync::Arc;

use alloy_primitives::{Address, Bytes, Log, TxKind, U256};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::Database;
use revm::context::result::InvalidTransaction;
use revm::context::result::{ExecutionResult, HaltReason, Output};
use revm::context::{CfgEnv, Journal, TxEnv};
use revm::context_interface::JournalTr;
use revm::inspector::NoOpInspector;
use revm::primitives::AddressMap;
use revm::state::{Bytecode, EvmState};

use super::data_fee::DataPrice;
use super::evm::{Error, Executed, UserHandler, Watch, configuration, watched};
use super::executor::{parse_answers, parse_missing};
use super::outcome::{code_of, cost};
use crate::block::receipt::LogView;
use crate::convert::{Addr, Blob, Hash, Int, optional_bytes};
use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::infer::host::{Callbacks, Host};
use crate::infer::lane::{Answers, Lane, Missing, Stop, Turn};
use crate::infer::request::{InferenceRequest, Request};
use crate::rules::Rules;
use crate::state::reader::{Override, Reader};
use crate::state::store::Snapshot;
use crate::state::world::{State, read};
use crate::tx::transaction::{Authorization, access_list};

/// A call that is not a transaction.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct Message {
    /// Without gas limit.
    env: TxEnv,
    gas_limit: Option<u64>,
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (
        *, sender = Addr(Address::ZERO), to = None, value = Int(U256::ZERO), input = Blob(Bytes::new()),
        gas_limit = None, gas_price = 0, priority_fee = None, nonce = 0, access_list = Vec::new(),
        authorizations = Vec::new()
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        sender: Addr,
        to: Option<Addr>,
        value: Int,
        input: Blob,
        gas_limit: Option<u64>,
        gas_price: u128,
        priority_fee: Option<u128>,
        nonce: u64,
        access_list: Vec<(Addr, Vec<Hash>)>,
        authorizations: Vec<Bound<'_, Authorization>>,
    ) -> Self {
        let tx_type = match (priority_fee, access_list.is_empty(), authorizations.is_empty()) {
            (_, _, false) => 4,
            (Some(_), _, true) => 2,
            (None, false, true) => 1,
            (None, true, true) => 0,
        };
        let env = TxEnv {
            tx_type,
            caller: sender.0,
            gas_price,
            gas_priority_fee: priority_fee.or((tx_type == 4).then_some(gas_price)),
            nonce,
            kind: to.map_or(TxKind::Create, |to| TxKind::Call(to.0)),
            value: value.0,
            data: input.0,
            chain_id: None,
            access_list: self::access_list(access_list),
            authorization_list: authorizations.iter().map(|entry| entry.get().to_revm()).collect(),
            ..TxEnv::default()
        };
        Self { env, gas_limit }
    }
}

impl Message {
    /// The same as a transaction to run.
    pub(crate) fn transaction(&self) -> TxEnv {
        TxEnv { gas_limit: self.gas_limit.unwrap_or(u64::MAX), ..self.env.clone() }
    }
}

/// Replaces parts of one account for the time of a call.
#[pyclass(frozen, module = "vm._core")]
pub(crate) struct AccountOverride {
    address: Address,
    parts: Override,
}

fn slots(map: HashMap<Vec<u8>, Int>) -> PyResult<revm::primitives::HashMap<U256, U256>> {
    let slot = |(slot, value): (Vec<u8>, Int)| match <[u8; 32]>::try_from(slot.as_slice()) {
        Ok(slot) => Ok((U256::from_be_bytes(slot), value.0)),
        Err(_) => Err(PyValueError::new_err("a hash or slot has 32 bytes")),
    };
    map.into_iter().map(slot).collect()
}

#[pymethods]
impl AccountOverride {
    #[new]
    #[pyo3(signature = (address, *, balance = None, nonce = None, code = None, storage = None, storage_diff = None))]
    fn new(
        address: Addr,
        balance: Option<Int>,
        nonce: Option<u64>,
        code: Option<Blob>,
        storage: Option<HashMap<Vec<u8>, Int>>,
        storage_diff: Option<HashMap<Vec<u8>, Int>>,
    ) -> PyResult<Self> {
        let code = code.map(|code| Bytecode::new_raw_checked(code.0)).transpose();
        let parts = Override {
            balance: balance.map(|balance| balance.0),
            nonce,
            code: code.map_err(|error| PyValueError::new_err(error.to_string()))?,
            storage: storage.map(slots).transpose()?,
            storage_diff: storage_diff.map(slots).transpose()?.unwrap_or_default(),
        };
        Ok(Self { address: address.0, parts })
    }
}

impl AccountOverride {
    /// The account and what becomes of it.
    pub(crate) fn parts(&self) -> (Address, Override) {
        (self.address, self.parts.clone())
    }
}

/// Everything one call needs but its gas limit.
pub(crate) struct Simulation {
    pub(crate) env: BlockEnv,
    pub(crate) tx: TxEnv,
    pub(crate) gas_limit: u64,
    rules: Rules,
    callbacks: Arc<Callbacks>,
    answers: Option<Arc<Answers>>,
    missing: Missing,
    overrides: AddressMap<Override>,
    cfg: CfgEnv,
    check_balance: bool,
}

impl Simulation {
    /// A lane whose models and on-chain outputs can be kept from run to run.
    pub(crate) fn lane(&self) -> Lane {
        Lane::new(self.rules.clone(), self.callbacks.clone())
    }

    /// What the sender holds, overrides included.
    pub(crate) fn sender_balance(&self, snapshot: &Snapshot) -> Result<U256> {
        let replaced = self.overrides.get(&self.tx.caller).and_then(|parts| parts.balance);
        match replaced {
            Some(balance) => Ok(balance),
            None => Ok(snapshot.account(&self.tx.caller)?.map_or(U256::ZERO, |account| account.balance)),
        }
    }

    /// The most gas a transaction may declare.
    pub(crate) fn transaction_gas_cap(&self) -> u64 {
        self.rules.transaction_gas_cap
    }

    /// What the message would pay for its bytes on Bitcoin; nothing where nobody pays for gas.
    pub(crate) fn data_fee(&self, snapshot: &Snapshot) -> Result<U256> {
        if self.tx.gas_price == 0 {
            return Ok(U256::ZERO);
        }
        Ok(DataPrice::of_state(snapshot, self.rules.l1_info)?.estimate(&self.tx.data))
    }

    /// Runs the call with a gas limit; the lane comes back with what it learnt.
    pub(crate) fn run(&self, snapshot: Snapshot, lane: Lane, gas_limit: u64) -> Result<(CallResult, Lane)> {
        let seen = self.observe(self.reader(snapshot), lane, gas_limit, NoOpInspector)?;
        let mut lane = seen.lane;
        let result = CallResult::concluded(seen.executed, &mut lane)?;
        // The block of a call is thrown away, and so is what the turn spent of its budgets.
        lane.turn = Turn::default();
        Ok((result, lane))
    }

    /// The state that the call runs on.
    pub(crate) fn reader(&self, snapshot: Snapshot) -> Reader {
        Reader::new(snapshot, self.callbacks.clone()).with_overrides(self.overrides.clone())
    }

    /// Runs the call before a watcher.
    pub(crate) fn observe<W: Watch>(
        &self,
        mut reader: Reader,
        mut lane: Lane,
        gas_limit: u64,
        watcher: W,
    ) -> Result<Seen<W>> {
        lane.begin(self.missing, self.answers.clone(), Some(0));
        let balance = reader.basic(self.tx.caller)?.map_or(U256::ZERO, |account| account.balance);
        let data_fee = self.data_fee(reader.snapshot())?;
        let needed = if self.check_balance {
            cost(gas_limit, self.tx.gas_price, self.tx.value).and_then(|cost| cost.checked_add(data_fee))
        } else {
            Some(self.tx.value)
        };
        if needed.is_none_or(|needed| needed > balance) {
            let fee = Box::new(needed.unwrap_or(U256::MAX));
            let lack = InvalidTransaction::LackOfFundForMaxFee { fee, balance: Box::new(balance) };
            let executed = Err(Error::Transaction(lack));
            return Ok(Seen { executed, lane, watcher, state: EvmState::default(), reader });
        }
        let mut evm = watched(Journal::new(reader), lane, &self.env, self.cfg.clone(), watcher);
        evm.ctx.tx = TxEnv { gas_limit, ..self.tx.clone() };
        let executed = UserHandler::transact(&mut evm);
        evm.inspector.verdict()?;
        let state = evm.ctx.journaled_state.finalize();
        let (lane, reader) = (evm.ctx.chain, evm.ctx.journaled_state.database);
        Ok(Seen { executed, lane, watcher: evm.inspector, state, reader })
    }
}

/// A call that was watched.
pub(crate) struct Seen<W> {
    pub(crate) executed: Executed,
    /// As it is after the call: [`CallResult::concluded`] reads why it stopped.
    pub(crate) lane: Lane,
    pub(crate) watcher: W,
    /// What it changed; the reader still tells how it was before.
    pub(crate) state: EvmState,
    pub(crate) reader: Reader,
}

/// Configuration of calls: no fee, no nonce, any sender.
fn call_configuration(chain_id: u64) -> CfgEnv {
    let mut cfg = configuration(chain_id);
    cfg.disable_nonce_check = true;
    cfg.tx_chain_id_check = false;
    cfg.disable_eip3607 = true;
    cfg.disable_base_fee = true;
    cfg.disable_fee_charge = true;
    cfg
}

/// Gathers a [`Simulation`] from Python's arguments.
#[expect(clippy::too_many_arguments, reason = "one place for both calls and estimates")]
pub(crate) fn simulation(
    rules: &Bound<'_, Rules>,
    env: &Bound<'_, BlockEnv>,
    host: &Bound<'_, Host>,
    message: &Bound<'_, Message>,
    answers: Option<Bound<'_, PyAny>>,
    missing: &str,
    overrides: Vec<Bound<'_, AccountOverride>>,
    check_balance: bool,
) -> PyResult<Simulation> {
    let (rules, env, message) = (rules.get().clone(), env.get().clone(), message.get());
    Ok(Simulation {
        gas_limit: message.gas_limit.unwrap_or(env.gas_limit).min(env.gas_limit),
        tx: message.env.clone(),
        cfg: call_configuration(rules.chain_id),
        rules,
        env,
        callbacks: host.get().callbacks.clone(),
        answers: parse_answers(answers)?,
        missing: parse_missing(missing)?,
        overrides: overrides.iter().map(|entry| (entry.get().address, entry.get().parts.clone())).collect(),
        check_balance,
    })
}

/// `call` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(name = "call", signature = (
    state, rules, env, host, message, *, answers = None, missing = "park", overrides = Vec::new(),
    check_balance = false
))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
pub(crate) fn call_message(
    py: Python<'_>,
    state: &Bound<'_, State>,
    rules: &Bound<'_, Rules>,
    env: &Bound<'_, BlockEnv>,
    host: &Bound<'_, Host>,
    message: &Bound<'_, Message>,
    answers: Option<Bound<'_, PyAny>>,
    missing: &str,
    overrides: Vec<Bound<'_, AccountOverride>>,
    check_balance: bool,
) -> PyResult<CallResult> {
    let simulation = simulation(rules, env, host, message, answers, missing, overrides, check_balance)?;
    read(py, &state.get().store, |snapshot| {
        let (result, _) = simulation.run(snapshot, simulation.lane(), simulation.gas_limit)?;
        Ok(result)
    })
}

/// What a call would do, for Python.
#[pyclass(frozen, module = "vm._core")]
#[derive(Clone, Default)]
pub(crate) struct CallResult {
    #[pyo3(get)]
    pub(crate) kind: &'static str,
    #[pyo3(get)]
    code: Option<&'static str>,
    output: Bytes,
    #[pyo3(get)]
    pub(crate) gas_used: u64,
    #[pyo3(get)]
    pub(crate) gas_refunded: u64,
    #[pyo3(get)]
    infer_gas: u64,
    logs: Vec<Log>,
    request: Option<Request>,
    requests: Vec<Request>,
    created: Option<Address>,
}

impl CallResult {
    pub(crate) fn is_success(&self) -> bool {
        self.kind == "success"
    }

    /// Whether a block would hold the transaction, with its receipt.
    pub(crate) fn is_included(&self) -> bool {
        matches!(self.kind, "success" | "revert" | "halt")
    }

    /// Takes the logs that somebody else has collected; of a failed transaction none.
    pub(crate) fn replace_logs(&mut self, logs: Vec<Log>, wanted: bool) {
        if wanted && self.is_success() {
            self.logs = logs;
        }
    }

    /// What an execution came to; the lane keeps what it was charged.
    pub(crate) fn concluded(executed: Executed, lane: &mut Lane) -> Result<Self> {
        let mut result = match executed {
            Ok(result) => Self::executed(result),
            Err(Error::Transaction(invalid)) => Self::invalid(code_of(&invalid)),
            Err(error) => match lane.turn.stop.take() {
                Some(Stop::Park(request)) => Self::parked(request),
                Some(Stop::Skip(code, _)) => Self::invalid(code),
                Some(Stop::Fail(failure)) => return Err(failure),
                None => {
                    return Err(match error {
                        Error::Database(failure) => failure,
                        other => Failure::order(format!("the EVM stopped: {other}")),
                    });
                }
            },
        };
        result.infer_gas = lane.turn.gas();
        result.requests.clone_from(&lane.turn.requests);
        Ok(result)
    }

    fn invalid(code: &'static str) -> Self {
        Self { kind: "invalid", code: Some(code), ..Self::default() }
    }

    fn parked(request: Request) -> Self {
        Self { kind: "parked", code: Some("infer.no_answer"), request: Some(request), ..Self::default() }
    }

    fn executed(result: ExecutionResult<HaltReason>) -> Self {
        let gas_used = result.tx_gas_used();
        let base = Self { gas_used, ..Self::default() };
        match result {
            ExecutionResult::Success { gas, logs, output, .. } => {
                let created = match &output {
                    Output::Create(_, address) => *address,
                    Output::Call(_) => None,
                };
                let gas_refunded = gas.inner_refunded();
                Self { kind: "success", output: output.into_data(), gas_refunded, logs, created, ..base }
            }
            ExecutionResult::Revert { output, .. } => Self { kind: "revert", output, ..base },
            ExecutionResult::Halt { reason, .. } => {
                Self { kind: "halt", code: Some(halt_code(&reason)), ..base }
            }
        }
    }
}

fn halt_code(reason: &HaltReason) -> &'static str {
    match reason {
        HaltReason::OutOfGas(_) => "halt.out_of_gas",
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode | HaltReason::NotActivated => {
            "halt.invalid_opcode"
        }
        HaltReason::InvalidJump => "halt.invalid_jump",
        HaltReason::StackUnderflow | HaltReason::StackOverflow => "halt.stack",
        HaltReason::OutOfOffset => "halt.out_of_offset",
        HaltReason::CreateCollision => "halt.create_collision",
        HaltReason::PrecompileError | HaltReason::PrecompileErrorWithContext(_) => "halt.precompile",
        HaltReason::NonceOverflow => "halt.nonce_overflow",
        HaltReason::CreateContractSizeLimit | HaltReason::CreateInitCodeSizeLimit => "halt.code_size",
        HaltReason::CreateContractStartingWithEF => "halt.invalid_code",
        HaltReason::OverflowPayment | HaltReason::OutOfFunds => "halt.out_of_funds",
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => "halt.static",
        HaltReason::CallTooDeep => "halt.call_depth",
    }
}

#[pymethods]
impl CallResult {
    #[getter]
    fn output(&self) -> &[u8] {
        &self.output
    }
    #[getter]
    fn logs(&self) -> Vec<LogView> {
        self.logs.iter().cloned().map(LogView).collect()
    }
    #[getter]
    fn request(&self) -> Option<InferenceRequest> {
        self.request.clone().map(InferenceRequest)
    }
    #[getter]
    fn requests(&self) -> Vec<InferenceRequest> {
        self.requests.iter().cloned().map(InferenceRequest).collect()
    }
    #[getter]
    fn created<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        optional_bytes(py, self.created.as_ref().map(|address| address.as_slice()))
    }
    fn __repr__(&self) -> String {
        format!("<CallResult {} {}>", self.kind, self.code.unwrap_or_default())
    }
}
