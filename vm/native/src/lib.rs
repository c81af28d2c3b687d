//! The native core of the BitAI node: everything that runs once per transaction or once per trie node.
//!
//! `vm/_core.pyi` is its contract. Dependencies between the modules go down this list:
//!
//! - `trace`: what transactions and calls did, for debug_*, trace_* and ots_*
//! - `exec`: transactions of one block, calls, estimates
//! - `plain`: the same under plain Ethereum's rules, for the test doors
//! - `block`: header, receipts, seal, genesis, undo
//! - `infer`: INFER as precompile and opcode
//! - `state`: cached reads, snapshots, change sets
//! - `tx`: decoding and senders
//! - `trie`: the Merkle-Patricia trie
//! - `rules`, `env`, `keys`, `convert`, `error`

mod block;
mod convert;
mod env;
mod error;
mod exec;
mod hashing;
mod infer;
mod keys;
mod plain;
mod rules;
mod state;
mod trace;
mod trie;
mod tx;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Version of the EVM, pinned in Cargo.toml.
const REVM_VERSION: &str = "43.0.3";

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add_constants(module)?;
    add_classes(module)?;
    add_functions(module)
}

fn add_constants(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let bytes = |bytes: &[u8]| PyBytes::new(module.py(), bytes);
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("REVM_VERSION", REVM_VERSION)?;
    module.add("EMPTY_ROOT", bytes(trie::EMPTY_ROOT.as_slice()))?;
    module.add("EMPTY_CODE_HASH", bytes(alloy_primitives::KECCAK256_EMPTY.as_slice()))?;
    module.add("INFER_ADDRESS", bytes(infer::precompile::INFER_ADDRESS.as_slice()))?;
    module.add("INFER_SELECTOR", bytes(&infer::abi::SELECTOR))?;
    module.add("SYSTEM_TRANSACTION_TYPE", tx::system::SYSTEM_TYPE)?;
    module.add("RECORDS_REQUEST_TYPE", block::records::RECORDS_REQUEST_TYPE)?;
    module.add("BEACON_ROOTS_ADDRESS", bytes(exec::system::BEACON_ROOTS_ADDRESS.as_slice()))?;
    module.add("BEACON_ROOTS_CODE", bytes(exec::system::BEACON_ROOTS_CODE))?;
    module.add("HISTORY_ADDRESS", bytes(exec::system::HISTORY_ADDRESS.as_slice()))?;
    module.add("HISTORY_CODE", bytes(exec::system::HISTORY_CODE))?;
    module.add("TRANSACTION_GAS_CAP", exec::evm::TRANSACTION_GAS_CAP)
}

fn add_classes(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<error::CoreError>()?;
    module.add_class::<tx::transaction::Authorization>()?;
    module.add_class::<tx::transaction::Transaction>()?;
    module.add_class::<tx::system::SystemTransaction>()?;
    module.add_class::<rules::Rules>()?;
    module.add_class::<env::BlockEnv>()?;
    module.add_class::<infer::host::Host>()?;
    module.add_class::<infer::request::InferenceRequest>()?;
    module.add_class::<state::world::AccountView>()?;
    module.add_class::<state::world::AccountProof>()?;
    module.add_class::<state::world::StorageProof>()?;
    module.add_class::<state::world::State>()?;
    module.add_class::<block::receipt::LogView>()?;
    module.add_class::<block::receipt::Receipt>()?;
    module.add_class::<block::header::Header>()?;
    module.add_class::<block::sealed::SealedBlock>()?;
    module.add_class::<exec::outcome::Outcome>()?;
    module.add_class::<exec::executor::BlockExecutor>()?;
    module.add_class::<exec::call::Message>()?;
    module.add_class::<block::edit::StateEdit>()?;
    module.add_class::<exec::call::AccountOverride>()?;
    module.add_class::<exec::call::CallResult>()?;
    module.add_class::<exec::simulate::SimulatedChain>()
}

fn add_functions(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(tx::transaction::decode_many, module)?)?;
    module.add_function(wrap_pyfunction!(plain::block::plain_rules, module)?)?;
    module.add_function(wrap_pyfunction!(plain::block::plain_block_env, module)?)?;
    module.add_function(wrap_pyfunction!(plain::transaction::plain_transaction, module)?)?;
    module.add_function(wrap_pyfunction!(tx::size::data_sizes, module)?)?;
    module.add_function(wrap_pyfunction!(rules::next_base_fee, module)?)?;
    module.add_function(wrap_pyfunction!(block::genesis::build_genesis, module)?)?;
    module.add_function(wrap_pyfunction!(block::undo::decode_undo, module)?)?;
    module.add_function(wrap_pyfunction!(block::edit::edit_state, module)?)?;
    module.add_function(wrap_pyfunction!(block::edit::merge_undo, module)?)?;
    module.add_function(wrap_pyfunction!(block::history::history_rows, module)?)?;
    module.add_function(wrap_pyfunction!(block::receipt::decode_receipts, module)?)?;
    module.add_function(wrap_pyfunction!(block::bloom::logs_bloom, module)?)?;
    module.add_function(wrap_pyfunction!(block::records::records_root, module)?)?;
    module.add_function(wrap_pyfunction!(block::records::requests_hash, module)?)?;
    module.add_function(wrap_pyfunction!(infer::request::request_hash, module)?)?;
    module.add_function(wrap_pyfunction!(exec::call::call_message, module)?)?;
    module.add_function(wrap_pyfunction!(exec::estimate::estimate_gas, module)?)?;
    module.add_function(wrap_pyfunction!(trace::block::trace_block, module)?)?;
    module.add_function(wrap_pyfunction!(trace::call::trace_call, module)?)?;
    module.add_function(wrap_pyfunction!(trace::access::create_access_list, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::keccak256_one, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::keccak256_many, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::ordered_root, module)?)
}
