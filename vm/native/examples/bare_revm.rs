//! What revm alone makes of a block: the yardstick of `bench/execution.py`.
//!
//! Reads a world and one block from standard input, a fact a line, all values hexadecimal:
//!
//!     code ADDRESS BYTES       slot ADDRESS KEY VALUE       coin ADDRESS WEI
//!     tx SENDER TO NONCE GAS FEE_CAP TIP DATA
//!
//! Runs the block several times over a database in memory and prints, a line a round, the nanoseconds of processor time
//! that it took: `kept` with all changes left in revm's journal until the block ends, as the core does, `committed` with
//! each transaction's changes put into the database, `receipted` as `kept` and with what any node must make of it:
//! receipts with their blooms. No fees but Ethereum's.

use std::io::Read as _;
use std::str::FromStr;

use alloy_primitives::{Bloom, Log};
use revm::bytecode::Bytecode;
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, Bytes, TxKind, U256};
use revm::state::AccountInfo;
use revm::{ExecuteCommitEvm as _, ExecuteEvm as _, MainBuilder as _, MainContext as _};

type Memory = CacheDB<EmptyDB>;

const ROUNDS: usize = 11;
const CHAIN_ID: u64 = 726_945;
const BLOCK_GAS: u64 = 1 << 40;
const BASE_FEE: u64 = 1_000_000_000;

fn value<T: FromStr>(word: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    word.parse().expect(word)
}

fn number(word: &str) -> u64 {
    u64::from_str_radix(word, 16).expect(word)
}

fn account(db: &mut Memory, address: Address) -> AccountInfo {
    db.cache.accounts.get(&address).map(|known| known.info.clone()).unwrap_or_default()
}

fn read(input: &str) -> (Memory, Vec<TxEnv>) {
    let (mut db, mut transactions) = (Memory::default(), Vec::new());
    for line in input.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["code", address, code] => {
                let code = Bytecode::new_raw(value::<Bytes>(code));
                let info = AccountInfo { nonce: 1, ..AccountInfo::default() };
                db.insert_account_info(
                    value(address),
                    AccountInfo { code_hash: code.hash_slow(), code: Some(code), ..info },
                );
            }
            ["slot", address, key, word] => {
                let key = U256::from_str_radix(key, 16).expect(key);
                let word = U256::from_str_radix(word, 16).expect(word);
                db.insert_account_storage(value(address), key, word).expect("a database in memory");
            }
            ["coin", address, wei] => {
                let (address, wei) = (value(address), U256::from_str_radix(wei, 16).expect(wei));
                let info = account(&mut db, address);
                db.insert_account_info(address, AccountInfo { balance: wei, ..info });
            }
            ["tx", sender, to, nonce, gas, fee_cap, tip, data] => transactions.push(TxEnv {
                tx_type: 2,
                caller: value(sender),
                kind: TxKind::Call(value(to)),
                nonce: number(nonce),
                gas_limit: number(gas),
                gas_price: number(fee_cap).into(),
                gas_priority_fee: Some(number(tip).into()),
                data: value::<Bytes>(data),
                chain_id: Some(CHAIN_ID),
                ..TxEnv::default()
            }),
            _ => panic!("not a fact: {line}"),
        }
    }
    (db, transactions)
}

/// Processor time of this thread, in nanoseconds; the kernel brings it up to date at its ticks.
fn processor_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    text.split(' ').next().expect("three numbers").parse().expect("a number")
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Kept,
    Committed,
    Receipted,
}

/// What a receipt's root commits to.
struct Receipt {
    cumulative_gas: u64,
    logs: Vec<Log>,
    bloom: Bloom,
}

fn run(db: &Memory, transactions: &[TxEnv], way: Way) -> u64 {
    let mut cfg = CfgEnv::new_with_spec(SpecId::OSAKA).with_chain_id(CHAIN_ID);
    cfg.tx_gas_limit_cap = Some(u64::MAX);
    let block = BlockEnv { gas_limit: BLOCK_GAS, basefee: BASE_FEE, ..BlockEnv::default() };
    let context = Context::mainnet().with_db(db.clone()).with_cfg(cfg).with_block(block);
    let mut evm = context.build_mainnet();
    let transactions = transactions.to_vec();
    let (mut receipts, mut cumulative_gas) = (Vec::new(), 0);
    let started = processor_ns();
    for tx in transactions {
        let result = if way == Way::Committed { evm.transact_commit(tx) } else { evm.transact_one(tx) };
        let result = result.expect("a valid transaction");
        assert!(result.is_success(), "a transfer failed");
        if way == Way::Receipted {
            cumulative_gas += result.tx_gas_used();
            let logs = result.into_logs();
            receipts.push(Receipt { cumulative_gas, bloom: logs.iter().collect(), logs });
        }
    }
    let spent = processor_ns() - started;
    for receipt in &receipts {
        assert!(receipt.cumulative_gas > 0 && !receipt.logs.is_empty() && !receipt.bloom.is_zero());
    }
    spent
}

fn main() {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).expect("text");
    let (db, transactions) = read(&input);
    for _ in 0..ROUNDS {
        let ways = [("kept", Way::Kept), ("committed", Way::Committed), ("receipted", Way::Receipted)];
        for (name, way) in ways {
            println!("{name} {}", run(&db, &transactions, way));
        }
    }
}
