//! Transactions: decoding, senders, and what never changes about them.

pub(crate) mod decode;
pub(crate) mod signature;
pub(crate) mod size;
pub(crate) mod system;
pub(crate) mod transaction;
