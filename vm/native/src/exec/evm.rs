//! The EVM of this chain: revm's Osaka with INFER and our fee rules.

use std::marker::PhantomData;

use alloy_primitives::U256;
use revm::context::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction};
use revm::context::{CfgEnv, Context as RevmContext, Evm as RevmEvm, Journal, LocalContext, TxEnv};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, EvmTr, FrameResult, Handler, post_execution};
use revm::inspector::{Inspector, InspectorHandler, NoOpInspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{InitialAndFloorGas, Instruction};
use revm::primitives::hardfork::SpecId;

use super::{data_fee, fees};
use crate::env::BlockEnv;
use crate::error::Failure;
use crate::infer::lane::Lane;
use crate::infer::opcode;
use crate::infer::precompile::Precompiles;
use crate::plain;
use crate::rules::Rules;
use crate::state::reader::Reader;

/// The rules of Ethereum that the chain follows.
pub(crate) const SPEC: SpecId = SpecId::OSAKA;

/// The most gas one user transaction may declare (EIP-7825) unless the chain says otherwise.
pub(crate) const TRANSACTION_GAS_CAP: u64 = 1 << 24;

pub(crate) type Context = RevmContext<revm::context::BlockEnv, TxEnv, CfgEnv, Reader, Journal<Reader>, Lane>;
/// `W` watches what runs; nobody unless a trace is asked for.
pub(crate) type Evm<W = NoOpInspector> =
    RevmEvm<Context, W, EthInstructions<EthInterpreter, Context>, Precompiles, EthFrame<EthInterpreter>>;
pub(crate) type Error = EVMError<Failure, InvalidTransaction>;
pub(crate) type Executed = std::result::Result<ExecutionResult<HaltReason>, Error>;

/// Who watches an execution; `NoOpInspector` is nobody, and costs nothing.
pub(crate) trait Watch: Inspector<Context, EthInterpreter> + Sized {
    /// Runs the transaction of the EVM and shows it to the watcher.
    fn drive<H>(handler: &mut H, evm: &mut Evm<Self>) -> Executed
    where
        H: InspectorHandler<Evm = Evm<Self>, Error = Error, HaltReason = HaltReason, IT = EthInterpreter>,
    {
        handler.inspect_run(evm)
    }

    /// Fails if the watcher made the transaction end.
    fn verdict(&self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Watch for NoOpInspector {
    fn drive<H>(handler: &mut H, evm: &mut Evm) -> Executed
    where
        H: InspectorHandler<Evm = Evm, Error = Error, HaltReason = HaltReason, IT = EthInterpreter>,
    {
        handler.run(evm)
    }
}

/// Configuration of revm.
pub(crate) fn configuration(chain_id: u64) -> CfgEnv {
    let mut cfg = CfgEnv::new_with_spec(SPEC).with_chain_id(chain_id);
    // User transactions meet the cap when they are decoded; system transactions and calls have none.
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    cfg
}

/// Configuration of revm for a block under these rules.
pub(crate) fn block_configuration(rules: &Rules) -> CfgEnv {
    match &rules.plain {
        Some(plain) => plain.configuration(rules.chain_id),
        None => configuration(rules.chain_id),
    }
}

/// An EVM over a journal that holds what the block has changed so far.
pub(crate) fn build(journal: Journal<Reader>, lane: Lane, env: &BlockEnv, cfg: CfgEnv) -> Evm {
    watched(journal, lane, env, cfg, NoOpInspector)
}

/// The same, watched.
pub(crate) fn watched<W>(
    journal: Journal<Reader>,
    lane: Lane,
    env: &BlockEnv,
    cfg: CfgEnv,
    watcher: W,
) -> Evm<W> {
    let infer_opcode = lane.rules.infer_opcode;
    let has_infer = lane.rules.plain.is_none();
    let spec = cfg.spec;
    let context = Context {
        block: env.to_revm(),
        tx: TxEnv::default(),
        cfg,
        journaled_state: journal,
        chain: lane,
        local: LocalContext::default(),
        error: Ok(()),
    };
    let mut instructions = EthInstructions::new_mainnet_with_spec(spec);
    if let Some(byte) = infer_opcode {
        // The whole price is charged by the instruction.
        instructions.insert_instruction(byte, Instruction::new(opcode::infer), 0);
    }
    Evm::new_with_inspector(context, watcher, instructions, Precompiles::new(spec, has_infer))
}

/// Ethereum's handling of a user transaction, with fees going where this chain sends them.
pub(crate) struct UserHandler<W = NoOpInspector>(PhantomData<W>);

impl<W: Watch> UserHandler<W> {
    /// Runs the transaction that the EVM holds.
    pub(crate) fn transact(evm: &mut Evm<W>) -> Executed {
        W::drive(&mut Self(PhantomData), evm)
    }
}

impl UserHandler {
    /// Calls a contract as the system, outside any transaction.
    pub(crate) fn system_call(evm: &mut Evm) -> Executed {
        Self(PhantomData).run_system_call(evm)
    }
}

impl<W: Watch> Handler for UserHandler<W> {
    type Evm = Evm<W>;
    type Error = Error;
    type HaltReason = HaltReason;

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Evm<W>,
        _gas: &mut InitialAndFloorGas,
    ) -> Result<(), Error> {
        data_fee::deduct(evm.ctx())
    }

    fn reimburse_caller(&self, evm: &mut Evm<W>, result: &mut FrameResult) -> Result<(), Error> {
        if evm.ctx().chain.rules.plain.is_some() {
            return plain::reimburse(evm.ctx(), result).map_err(Into::into);
        }
        post_execution::reimburse_caller(evm.ctx(), result.gas(), U256::ZERO).map_err(Into::into)
    }

    fn reward_beneficiary(&self, evm: &mut Evm<W>, result: &mut FrameResult) -> Result<(), Error> {
        let context = evm.ctx();
        if context.cfg.disable_fee_charge {
            return Ok(());
        }
        if let Some(plain) = context.chain.rules.plain {
            return plain::reward(context, plain.spec, result.gas().used()).map_err(Into::into);
        }
        fees::distribute(context, result.gas().used()).map_err(Into::into)
    }
}

impl<W: Watch> InspectorHandler for UserHandler<W> {
    type IT = EthInterpreter;
}
