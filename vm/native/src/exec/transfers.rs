//! The logs of a simulated transaction, and native transfers as if they were logs of a token.

use alloy_primitives::{Address, B256, Bytes, Log, U256, address, b256};
use revm::inspector::Inspector;
use revm::interpreter::{CallInputs, CallOutcome, CallScheme, CreateInputs, CreateOutcome};

use super::evm::{Context, Watch};

/// Where a transfer's log says that it comes from: what tools call the native coin.
const COIN: Address = address!("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
/// keccak256("Transfer(address,address,uint256)").
const TRANSFER: B256 = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// Collects logs by frame: those of a frame that fails are dropped with it.
pub(crate) struct Transfers {
    traced: bool,
    frames: Vec<Vec<Log>>,
    kept: Vec<Log>,
}

impl Transfers {
    pub(crate) fn new(traced: bool) -> Self {
        Self { traced, frames: Vec::new(), kept: Vec::new() }
    }

    /// The logs of a transaction that succeeded.
    pub(crate) fn into_logs(self) -> Vec<Log> {
        self.kept
    }

    fn enter(&mut self, from: Address, to: Address, value: U256) {
        self.frames.push(Vec::new());
        self.transfer(from, to, value);
    }

    fn transfer(&mut self, from: Address, to: Address, value: U256) {
        if !self.traced || value.is_zero() {
            return;
        }
        let topics = vec![TRANSFER, from.into_word(), to.into_word()];
        let data = Bytes::copy_from_slice(&value.to_be_bytes::<32>());
        self.note(Log::new_unchecked(COIN, topics, data));
    }

    fn note(&mut self, log: Log) {
        self.frames.last_mut().unwrap_or(&mut self.kept).push(log);
    }

    fn leave(&mut self, success: bool) {
        let logs = self.frames.pop().unwrap_or_default();
        if success {
            self.frames.last_mut().unwrap_or(&mut self.kept).extend(logs);
        }
    }
}

impl Watch for Transfers {}

impl Inspector<Context> for Transfers {
    fn log(&mut self, _context: &mut Context, log: Log) {
        self.note(log);
    }

    fn call(&mut self, _context: &mut Context, inputs: &mut CallInputs) -> Option<CallOutcome> {
        // CALLCODE moves nothing: it sends to itself.
        let moves = inputs.scheme == CallScheme::Call;
        let value = inputs.value.transfer().filter(|_| moves).unwrap_or_default();
        self.enter(inputs.caller, inputs.target_address, value);
        None
    }

    fn call_end(&mut self, _context: &mut Context, _inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.leave(outcome.result.is_ok());
    }

    fn create(&mut self, _context: &mut Context, _inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.frames.push(Vec::new());
        None
    }

    fn create_end(&mut self, _context: &mut Context, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        // The address is known only now; what the constructor logged comes after the coin that it was given.
        if let Some(created) = outcome.address.filter(|_| outcome.result.is_ok()) {
            let logged = self.frames.pop().unwrap_or_default();
            self.frames.push(Vec::new());
            self.transfer(inputs.caller(), created, inputs.value());
            self.frames.last_mut().unwrap_or(&mut self.kept).extend(logged);
        }
        self.leave(outcome.result.is_ok());
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        self.transfer(contract, target, value);
    }
}
