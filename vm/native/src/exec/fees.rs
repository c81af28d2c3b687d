//! Where a transaction's fee goes. Nothing is burnt.
//!
//! The data fee: to the fee vault, which repays the batcher.
//! Ordinary gas: base fee to the fee vault, priority fee to the coinbase. INFER gas, at the full effective price: 30 %
//! to the protocol pool, 70 % to the neuron that answered; where none did, the 70 go to the fee vault. What integer
//! division leaves over goes to the fee vault.

use alloy_primitives::{Address, U256};
use revm::context::Transaction;
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::context_interface::{Block, JournalTr};

use super::evm::Context;
use crate::error::Failure;
use crate::infer::lane::Charge;

/// Per cent of the price of INFER gas.
const POOL_SHARE: u64 = 30;
const NEURON_SHARE: u64 = 70;

/// Credits everyone whom the running transaction pays.
pub(crate) fn distribute(context: &mut Context, gas_used: u64) -> Result<(), Failure> {
    let base_fee = u128::from(context.block.basefee());
    let price = context.tx.effective_gas_price(base_fee);
    let split = split(&context.chain.turn.charges, gas_used, price, base_fee);
    let data_fee = context.chain.turn.data.fee;
    let (vault, pool) = (context.chain.rules.fee_vault, context.chain.rules.protocol_pool);
    let coinbase = context.block.beneficiary();
    let mut credit = |to: Address, amount: U256| {
        context.journaled_state.load_account_mut(to)?.incr_balance(amount);
        Ok::<_, Failure>(())
    };
    // As in Ethereum, the coinbase is touched even by nothing.
    credit(coinbase, split.coinbase)?;
    credit(vault, split.vault + data_fee)?;
    if !split.pool.is_zero() {
        credit(pool, split.pool)?;
    }
    for (neuron, amount) in split.neurons {
        credit(neuron, amount)?;
    }
    Ok(())
}

/// A fee by receiver.
#[derive(Debug, PartialEq, Eq)]
struct Split {
    coinbase: U256,
    vault: U256,
    pool: U256,
    /// In the order of their first answer.
    neurons: Vec<(Address, U256)>,
}

fn split(charges: &[Charge], gas_used: u64, price: u128, base_fee: u128) -> Split {
    let infer_gas = charges.iter().map(|charge| charge.gas).sum::<u64>().min(gas_used);
    let ordinary = U256::from(gas_used - infer_gas);
    let base_fee = base_fee.min(price);
    let mut vault = ordinary * U256::from(base_fee);
    let coinbase = ordinary * U256::from(price - base_fee);
    let mut rest = U256::from(infer_gas) * U256::from(price);
    let pool = rest * U256::from(POOL_SHARE) / U256::from(100);
    rest -= pool;
    let mut neurons: Vec<(Address, U256)> = Vec::new();
    for charge in charges {
        let Some(neuron) = charge.neuron else { continue };
        // A refund may have taken gas_used below the sum; then the rest is the bound.
        let share = U256::from(charge.gas) * U256::from(price) * U256::from(NEURON_SHARE) / U256::from(100);
        let share = share.min(rest);
        rest -= share;
        match neurons.iter_mut().find(|entry| entry.0 == neuron) {
            Some(entry) => entry.1 += share,
            None => neurons.push((neuron, share)),
        }
    }
    vault += rest;
    Split { coinbase, vault, pool, neurons }
}

#[cfg(test)]
mod tests {
    use super::{Split, split};
    use crate::infer::lane::Charge;
    use alloy_primitives::{Address, U256};

    fn total(split: &Split) -> U256 {
        split.coinbase + split.vault + split.pool + split.neurons.iter().map(|entry| entry.1).sum::<U256>()
    }

    #[test]
    fn ordinary_gas_pays_vault_and_coinbase() {
        let split = split(&[], 21_000, 12, 10);
        assert_eq!((split.vault, split.coinbase), (U256::from(210_000), U256::from(42_000)));
        assert!(split.pool.is_zero() && split.neurons.is_empty());
    }

    #[test]
    fn infer_gas_pays_the_pool_and_the_neurons_and_nothing_is_lost() {
        let (a, b) = (Address::with_last_byte(1), Address::with_last_byte(2));
        let charges = [(101, Some(a)), (7, None), (53, Some(b)), (10, Some(a))]
            .map(|(gas, neuron)| Charge { gas, neuron });
        let split = split(&charges, 1_000, 7, 3);
        assert_eq!(total(&split), U256::from(7_000));
        assert_eq!(split.coinbase, U256::from((1_000 - 171) * 4));
        assert_eq!(split.pool, U256::from(171 * 7 * 30 / 100));
        assert_eq!(
            split.neurons,
            [(a, U256::from(101 * 7 * 70 / 100 + 10 * 7 * 70 / 100)), (b, U256::from(259))]
        );
    }

    #[test]
    fn a_refund_larger_than_ordinary_gas_loses_nothing() {
        let charges = [Charge { gas: 900, neuron: Some(Address::ZERO) }];
        let split = split(&charges, 800, 5, 1);
        assert_eq!(total(&split), U256::from(4_000));
    }
}
