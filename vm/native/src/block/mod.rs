//! Blocks: header, receipts, records, what a finished one is, and the way back.

pub(crate) mod bloom;
pub(crate) mod edit;
pub(crate) mod genesis;
pub(crate) mod header;
pub(crate) mod history;
pub(crate) mod receipt;
pub(crate) mod records;
pub(crate) mod sealed;
pub(crate) mod undo;
