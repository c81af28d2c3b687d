//! What surrounds the transactions of a plain block: its environment, calls by the system, coin from nowhere.

use alloy_primitives::{Address, Bytes, U256};
use pyo3::prelude::*;
use revm::context::TxEnv;
use revm::context_interface::JournalTr;
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::handler::{SYSTEM_ADDRESS, SystemCallTx};

use super::Plain;
use crate::convert::{Addr, Hash, Int};
use crate::env::{BlobGas, BlockEnv};
use crate::exec::evm::{Error, Evm, UserHandler};
use crate::rules::Rules;

/// Gas of a call by the system (EIP-4788, EIP-2935, EIP-7002, EIP-7251).
const SYSTEM_CALL_GAS: u64 = 30_000_000;

/// `plain_rules` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (fork, chain_id, max_blobs = None))]
pub(crate) fn plain_rules(fork: &str, chain_id: u64, max_blobs: Option<u64>) -> PyResult<Rules> {
    Ok(Rules::plain(Plain::new(fork, max_blobs)?, chain_id))
}

/// `plain_block_env` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (
    *, number, timestamp, coinbase, gas_limit, base_fee, difficulty, prev_randao, excess_blob_gas, blob_base_fee
))]
#[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
pub(crate) fn plain_block_env(
    number: u64,
    timestamp: u64,
    coinbase: Addr,
    gas_limit: u64,
    base_fee: u64,
    difficulty: Int,
    prev_randao: Hash,
    excess_blob_gas: u64,
    blob_base_fee: u128,
) -> BlockEnv {
    BlockEnv {
        number,
        timestamp,
        coinbase: coinbase.0,
        gas_limit,
        base_fee,
        prev_randao: prev_randao.0,
        difficulty: difficulty.0,
        blob_gas: BlobGas { excess: excess_blob_gas, price: blob_base_fee },
        ..BlockEnv::default()
    }
}

/// What a call by the system came to.
pub(crate) struct SystemCall {
    pub(crate) has_code: bool,
    pub(crate) success: bool,
    pub(crate) output: Bytes,
}

/// Calls a contract as the system does; an address without code is left alone.
pub(crate) fn system_call(evm: &mut Evm, contract: Address, data: Bytes) -> Result<SystemCall, Error> {
    let account = evm.ctx.journaled_state.load_account_with_code(contract)?;
    let has_code = account.data.info.code.as_ref().is_some_and(|code| !code.is_empty());
    if !has_code {
        evm.ctx.journaled_state.commit_tx();
        return Ok(SystemCall { has_code, success: false, output: Bytes::new() });
    }
    // The look was no access: what the call touches must be cold again.
    evm.ctx.journaled_state.commit_tx();
    let call = TxEnv::new_system_tx_with_caller(SYSTEM_ADDRESS, contract, data);
    evm.ctx.tx = TxEnv { gas_limit: SYSTEM_CALL_GAS, ..call };
    let result = UserHandler::system_call(evm)?;
    let success = result.is_success();
    Ok(SystemCall { has_code, success, output: result.into_output().unwrap_or_default() })
}

/// Adds coin to accounts, each touched even by nothing: withdrawals and rewards.
pub(crate) fn credit(evm: &mut Evm, amounts: &[(Address, U256)]) -> Result<(), Error> {
    for (address, amount) in amounts {
        evm.ctx.journaled_state.load_account_mut(*address)?.data.incr_balance(*amount);
    }
    evm.ctx.journaled_state.commit_tx();
    Ok(())
}
