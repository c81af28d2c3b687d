//! Running transactions: one block's, and calls that leave nothing behind.

pub(crate) mod call;
pub(crate) mod data_fee;
pub(crate) mod estimate;
pub(crate) mod evm;
pub(crate) mod executor;
pub(crate) mod fees;
pub(crate) mod outcome;
pub(crate) mod pending;
pub(crate) mod simulate;
pub(crate) mod system;
mod transfers;
