//! The fee for a transaction's bytes on Bitcoin. Spec: `docs/spec/fees.md`.

use alloy_primitives::{Address, U256};
use revm::Database;
use revm::context::result::InvalidTransaction;
use revm::context_interface::JournalTr;
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::handler::pre_execution::validate_against_state_and_deduct_caller;

use super::evm::{Context, Error};
use super::outcome::cost;
use crate::block::receipt::DataPaid;
use crate::error::Result;
use crate::state::store::Snapshot;
use crate::tx::size::{lz_length, size_of_lz};

/// Slot of the L1 information contract whose highest 64 bits are the rate.
const RATE_SLOT: U256 = U256::ZERO;
const RATE_SHIFT: usize = 192;
/// Slot whose lowest 64 bits are the scalar.
const SCALAR_SLOT: U256 = U256::from_limbs([8_194, 0, 0, 0]);
/// Wei of one byte at a rate of 1 sat per 1,000 bytes and a scalar of one millionth: 10^10 / 1,000 / 1,000,000.
const WEI_PER_UNIT: u64 = 10;
/// LZ length of a transfer without calldata: what a message would have beside its own.
const ENVELOPE_LENGTH: u64 = 125;

/// What a byte costs in one block: `rate` in sats per 1,000 bytes, `scalar` in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DataPrice {
    pub(crate) rate: u64,
    pub(crate) scalar: u64,
}

impl DataPrice {
    fn of_slots(rate: U256, scalar: U256) -> Self {
        Self { rate: (rate >> RATE_SHIFT).to::<u64>(), scalar: scalar.as_limbs()[0] }
    }

    /// The price in a state; without a contract there is no fee.
    pub(crate) fn of_state(snapshot: &Snapshot, contract: Option<Address>) -> Result<Self> {
        let Some(contract) = contract else { return Ok(Self::default()) };
        let slot = |slot: U256| snapshot.slot(&contract, &slot);
        Ok(Self::of_slots(slot(RATE_SLOT)?, slot(SCALAR_SLOT)?))
    }

    /// The price in a block after its system transactions. It warms nothing: no transaction's gas depends on it.
    pub(crate) fn of_block(context: &mut Context) -> Result<Self> {
        let Some(contract) = context.chain.rules.l1_info else { return Ok(Self::default()) };
        let journal = &mut context.journaled_state;
        let mut slot = |slot: U256| {
            let account = journal.inner.state.get(&contract);
            match account.and_then(|account| account.storage.get(&slot)) {
                Some(found) => Ok(found.present_value),
                None => journal.database.storage(contract, slot),
            }
        };
        Ok(Self::of_slots(slot(RATE_SLOT)?, slot(SCALAR_SLOT)?))
    }

    /// Wei for this many bytes; three numbers of 64 bits and ten fit 256.
    pub(crate) fn fee(self, size: u64) -> U256 {
        U256::from(size) * U256::from(self.rate) * U256::from(self.scalar) * U256::from(WEI_PER_UNIT)
    }

    /// What a transaction of this many bytes owes.
    pub(crate) fn charge(self, size: u64) -> DataCharge {
        DataCharge { size, fee: self.fee(size) }
    }

    /// What a receipt says of a charge at this price.
    pub(crate) fn paid(self, charge: DataCharge) -> DataPaid {
        DataPaid { size: charge.size, fee: charge.fee, rate: self.rate, scalar: self.scalar }
    }

    /// About what a transaction with this calldata would pay.
    pub(crate) fn estimate(self, calldata: &[u8]) -> U256 {
        self.fee(size_of_lz(lz_length(calldata) + ENVELOPE_LENGTH))
    }
}

/// What the running transaction owes for its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DataCharge {
    pub(crate) size: u64,
    pub(crate) fee: U256,
}

/// Ethereum's checks of the sender, who must hold the data fee besides; takes gas and data fee.
pub(crate) fn deduct(context: &mut Context) -> std::result::Result<(), Error> {
    let fee = context.chain.turn.data.fee;
    if fee.is_zero() || context.cfg.disable_fee_charge {
        return validate_against_state_and_deduct_caller(context);
    }
    let sender = context.tx.caller;
    let held = *context.journaled_state.load_account_with_code_mut(sender)?.data.balance();
    validate_against_state_and_deduct_caller::<_, Error>(context)?;
    let needed = cost(context.tx.gas_limit, context.tx.gas_price, context.tx.value);
    let needed = needed.unwrap_or(U256::MAX).saturating_add(fee);
    if needed > held {
        return Err(
            InvalidTransaction::LackOfFundForMaxFee { fee: needed.into(), balance: held.into() }.into()
        );
    }
    let mut account = context.journaled_state.load_account_mut(sender)?.data;
    let left = account.balance().saturating_sub(fee);
    account.set_balance(left);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::DataPrice;
    use alloy_primitives::U256;

    #[test]
    fn a_byte_costs_its_weight_in_sats() {
        // 1,000 bytes at 250 sats per 1,000 weight units are 250 sats.
        let price = DataPrice { rate: 250, scalar: 1_000_000 };
        assert_eq!(price.fee(1_000), U256::from(250u64 * 10_000_000_000));
        assert!(DataPrice::default().fee(u64::MAX).is_zero());
    }
}
