//! The EVM of this chain: revm's Osaka with INFER and our fee rules.

use revm::context::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction};
use revm::context::{CfgEnv, Context as RevmContext, Evm as RevmEvm, Journal, LocalContext, TxEnv};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, EvmTr, FrameResult, Handler};
use revm::interpreter::Instruction;
use revm::interpreter::interpreter::EthInterpreter;
use revm::primitives::hardfork::SpecId;

use super::fees;
use crate::env::BlockEnv;
use crate::error::Failure;
use crate::infer::lane::Lane;
use crate::infer::opcode;
use crate::infer::precompile::Precompiles;
use crate::state::reader::Reader;

/// The rules of Ethereum that the chain follows.
pub(crate) const SPEC: SpecId = SpecId::OSAKA;

/// The most gas one user transaction may declare (EIP-7825); checked when it is decoded.
pub(crate) const TRANSACTION_GAS_CAP: u64 = 1 << 24;

pub(crate) type Context = RevmContext<revm::context::BlockEnv, TxEnv, CfgEnv, Reader, Journal<Reader>, Lane>;
pub(crate) type Evm =
    RevmEvm<Context, (), EthInstructions<EthInterpreter, Context>, Precompiles, EthFrame<EthInterpreter>>;
pub(crate) type Error = EVMError<Failure, InvalidTransaction>;
pub(crate) type Executed = std::result::Result<ExecutionResult<HaltReason>, Error>;

/// Configuration of revm.
pub(crate) fn configuration(chain_id: u64) -> CfgEnv {
    let mut cfg = CfgEnv::new_with_spec(SPEC).with_chain_id(chain_id);
    // User transactions meet the cap when they are decoded; system transactions and calls have none.
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    cfg
}

/// An EVM over a journal that holds what the block has changed so far.
pub(crate) fn build(journal: Journal<Reader>, lane: Lane, env: &BlockEnv, cfg: CfgEnv) -> Evm {
    let infer_opcode = lane.rules.infer_opcode;
    let context = Context {
        block: env.to_revm(),
        tx: TxEnv::default(),
        cfg,
        journaled_state: journal,
        chain: lane,
        local: LocalContext::default(),
        error: Ok(()),
    };
    let mut instructions = EthInstructions::new_mainnet_with_spec(SPEC);
    if let Some(byte) = infer_opcode {
        // The whole price is charged by the instruction.
        instructions.insert_instruction(byte, Instruction::new(opcode::infer), 0);
    }
    Evm::new(context, instructions, Precompiles::new(SPEC))
}

/// Ethereum's handling of a user transaction, with fees going where this chain sends them.
pub(crate) struct UserHandler;

impl Handler for UserHandler {
    type Evm = Evm;
    type Error = Error;
    type HaltReason = HaltReason;

    fn reward_beneficiary(&self, evm: &mut Evm, result: &mut FrameResult) -> Result<(), Error> {
        let context = evm.ctx();
        if context.cfg.disable_fee_charge {
            return Ok(());
        }
        fees::distribute(context, result.gas().used()).map_err(Into::into)
    }
}
