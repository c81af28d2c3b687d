//! INFER: a contract asks a model (docs/spec/infer.md).

pub(crate) mod abi;
pub(crate) mod host;
pub(crate) mod lane;
pub(crate) mod opcode;
pub(crate) mod precompile;
pub(crate) mod request;
