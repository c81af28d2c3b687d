//! The world at one block: cached reads over Python's store, and what a block changes in it.

pub(crate) mod account;
pub(crate) mod cache;
pub(crate) mod changes;
pub(crate) mod reader;
pub(crate) mod store;
pub(crate) mod world;
