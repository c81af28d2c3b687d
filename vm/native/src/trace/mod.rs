//! Watching execution: what transactions and calls did, step by step or call by call.
//!
//! A trace runs the block again on the state before it, with the answers that its records hold, so it shows what
//! happened. What it may cost in memory and time is bounded ([`budget`]).

pub(crate) mod access;
pub(crate) mod block;
pub(crate) mod budget;
pub(crate) mod call;
pub(crate) mod infer;
pub(crate) mod replay;
pub(crate) mod shape;
pub(crate) mod steps;
pub(crate) mod wanted;
pub(crate) mod watcher;
