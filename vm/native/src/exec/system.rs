//! System transactions and the calls that open a block.

use std::marker::PhantomData;

use alloy_primitives::{Address, Bytes, U256, address, hex};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, HaltReason, InvalidTransaction};
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{Cfg, JournalTr};
use revm::handler::{EvmTr, FrameResult, Handler, SystemCallTx};
use revm::inspector::InspectorHandler;
use revm::interpreter::InitialAndFloorGas;
use revm::interpreter::interpreter::EthInterpreter;

use super::evm::{Error, Evm, Executed, UserHandler, Watch};
use crate::env::BlockEnv;

/// Ring buffer of origin hashes by timestamp (EIP-4788).
pub(crate) const BEACON_ROOTS_ADDRESS: Address = address!("000F3df6D732807Ef1319fB7B8bB8522d0Beac02");
pub(crate) const BEACON_ROOTS_CODE: &[u8] = &hex!(
    "3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff810690"
    "815414603c575f5ffd5b62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
);
/// Ring buffer of block hashes (EIP-2935).
pub(crate) const HISTORY_ADDRESS: Address = address!("0000F90827F1C53a10cb7A02335B175320002935");
pub(crate) const HISTORY_CODE: &[u8] = &hex!(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311"
    "604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
);

/// Makes the calls before the first transaction: the origin hash and the parent hash become readable.
pub(crate) fn open_block(evm: &mut Evm, env: &BlockEnv) -> Result<(), Error> {
    for (contract, word) in [(BEACON_ROOTS_ADDRESS, env.origin_hash), (HISTORY_ADDRESS, env.parent_hash)] {
        evm.ctx.tx = TxEnv::new_system_tx(contract, Bytes::copy_from_slice(word.as_slice()));
        // A block is made whatever these do; without the contract nothing happens.
        UserHandler::system_call(evm)?;
    }
    Ok(())
}

/// Runs one system transaction; answers its result and the sender's nonce before it.
///
/// It pays nothing, checks no nonce, and may mint. If it cannot even start (too little gas, too little balance), it
/// still mints, bumps the nonce and uses all its gas.
pub(crate) fn run<W: Watch>(evm: &mut Evm<W>, tx: TxEnv, mint: U256) -> Result<(Executed, u64), Error> {
    let sender = tx.caller;
    let gas_limit = tx.gas_limit;
    let nonce = evm.ctx.journaled_state.load_account(sender)?.data.info.nonce;
    evm.ctx.tx = tx;
    let result = W::drive(&mut SystemHandler { mint, watcher: PhantomData }, evm);
    if !matches!(result, Err(Error::Transaction(_))) {
        return Ok((result, nonce));
    }
    let journal = &mut evm.ctx.journaled_state;
    let mut account = journal.load_account_mut(sender)?.data;
    account.incr_balance(mint);
    account.bump_nonce();
    journal.commit_tx();
    let gas = revm::context::result::ResultGas::default().with_total_gas_spent(gas_limit);
    Ok((Ok(ExecutionResult::Halt { reason: HaltReason::OutOfFunds, gas, logs: Vec::new() }), nonce))
}

/// Ethereum's handling with the sender's part left out.
struct SystemHandler<W> {
    mint: U256,
    watcher: PhantomData<W>,
}

impl<W: Watch> InspectorHandler for SystemHandler<W> {
    type IT = EthInterpreter;
}

impl<W: Watch> Handler for SystemHandler<W> {
    type Evm = Evm<W>;
    type Error = Error;
    type HaltReason = HaltReason;

    fn validate_env(&self, evm: &mut Evm<W>) -> Result<(), Error> {
        let context = evm.ctx_ref();
        if context.tx.kind.is_create() && context.tx.data.len() > context.cfg.max_initcode_size() {
            return Err(InvalidTransaction::CreateInitCodeSizeLimit.into());
        }
        Ok(())
    }

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Evm<W>,
        _gas: &mut InitialAndFloorGas,
    ) -> Result<(), Error> {
        let context = evm.ctx();
        let (value, is_call) = (context.tx.value, context.tx.kind.is_call());
        let mut sender = context.journaled_state.load_account_with_code_mut(context.tx.caller)?.data;
        if !sender.incr_balance(self.mint) {
            return Err(InvalidTransaction::OverflowPaymentInTransaction.into());
        }
        let balance = *sender.balance();
        if value > balance {
            return Err(InvalidTransaction::LackOfFundForMaxFee {
                fee: value.into(),
                balance: balance.into(),
            }
            .into());
        }
        // A creation bumps the nonce when its frame is made.
        if is_call {
            sender.bump_nonce();
        }
        Ok(())
    }

    fn reimburse_caller(&self, _evm: &mut Evm<W>, _result: &mut FrameResult) -> Result<(), Error> {
        Ok(())
    }

    fn reward_beneficiary(&self, _evm: &mut Evm<W>, _result: &mut FrameResult) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BEACON_ROOTS_CODE, HISTORY_CODE};
    use alloy_primitives::{b256, keccak256};

    #[test]
    fn the_contracts_are_ethereums() {
        let beacon_roots = b256!("f57acd40259872606d76197ef052f3d35588dadf919ee1f0e3cb9b62d3f4b02c");
        let history = b256!("6e49e66782037c0555897870e29fa5e552daf4719552131a0abce779daec0a5d");
        assert_eq!([keccak256(BEACON_ROOTS_CODE), keccak256(HISTORY_CODE)], [beacon_roots, history]);
    }
}
