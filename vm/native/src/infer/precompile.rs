//! INFER as a precompile beside Ethereum's.

use alloy_primitives::{Address, Bytes, address};
use revm::handler::{EthPrecompiles, PrecompileProvider};
use revm::interpreter::{CallInputs, Gas, InstructionResult, InterpreterResult};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{AddressSet, HashMap};

use super::abi;
use super::lane::Asked;
use crate::exec::evm::Context;

/// Where contracts call INFER.
pub(crate) const INFER_ADDRESS: Address = address!("0000000000000000000000000000000000100000");

/// Where contracts print (hardhat's console.log: "console.log" in ASCII).
const CONSOLE_ADDRESS: Address = address!("000000000000000000636F6e736F6c652e6c6f67");

/// Ethereum's precompiles and, unless the rules are plain Ethereum's, INFER.
pub(crate) struct Precompiles {
    ethereum: EthPrecompiles,
    warm: AddressSet,
    /// Where simulations have put precompiles, by their new address.
    moved: HashMap<Address, Address>,
    /// Addresses that answer as accounts instead.
    removed: AddressSet,
}

impl Precompiles {
    pub(crate) fn new(spec: SpecId, has_infer: bool) -> Self {
        let ethereum = EthPrecompiles::new(spec);
        let mut warm = ethereum.warm_addresses().clone();
        if has_infer {
            warm.insert(INFER_ADDRESS);
        }
        Self { ethereum, warm, moved: HashMap::default(), removed: AddressSet::default() }
    }

    /// Has precompiles answer elsewhere (new address to old), and `removed` ones not at all.
    pub(crate) fn rearrange(&mut self, moved: &HashMap<Address, Address>, removed: &[Address]) {
        self.warm.extend(moved.keys());
        self.moved.clone_from(moved);
        self.removed.extend(removed);
    }
}

impl Precompiles {
    /// Runs the precompile at an address, if there is one.
    fn answer(
        &mut self,
        context: &mut Context,
        inputs: &CallInputs,
    ) -> Result<Option<InterpreterResult>, String> {
        if inputs.bytecode_address != INFER_ADDRESS || context.chain.rules.plain.is_some() {
            return self.ethereum.run(context, inputs);
        }
        infer(context, inputs).map(Some)
    }
}

impl PrecompileProvider<Context> for Precompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _spec: SpecId) -> bool {
        false
    }

    fn run(
        &mut self,
        context: &mut Context,
        inputs: &CallInputs,
    ) -> Result<Option<InterpreterResult>, String> {
        if inputs.bytecode_address == CONSOLE_ADDRESS && context.chain.has_console() {
            // Noted only: an account without code goes on to answer.
            let message = inputs.input.bytes(context);
            context.chain.print(&message)?;
        }
        if self.moved.is_empty() && self.removed.is_empty() {
            return self.answer(context, inputs);
        }
        match self.moved.get(&inputs.bytecode_address) {
            Some(original) => {
                let original = CallInputs { bytecode_address: *original, ..inputs.clone() };
                self.answer(context, &original)
            }
            None if self.removed.contains(&inputs.bytecode_address) => Ok(None),
            None => self.answer(context, inputs),
        }
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.warm
    }
}

/// Runs one call; `Err` ends the transaction.
fn infer(context: &mut Context, inputs: &CallInputs) -> Result<InterpreterResult, String> {
    let calldata = inputs.input.bytes(context);
    let lane = &mut context.chain;
    let mut gas = Gas::new(inputs.gas_limit);
    let sends_value = inputs.value.transfer().is_some_and(|value| !value.is_zero());
    let arguments = if sends_value { None } else { abi::decode(&calldata) };
    let Some(arguments) = arguments else {
        let result = match lane.refuse_malformed(inputs.gas_limit) {
            Some(cost) if gas.record_regular_cost(cost) => InstructionResult::Revert,
            _ => InstructionResult::PrecompileOOG,
        };
        return Ok(finish(result, Bytes::new(), gas));
    };
    let abi::Arguments { model_id, input, params, max_output } = arguments;
    match lane.ask(model_id, input, params, max_output, inputs.gas_limit) {
        Asked::Answer { gas: cost, status, output } => {
            let paid = gas.record_regular_cost(cost);
            debug_assert!(paid, "ask looks at the gas first");
            Ok(finish(InstructionResult::Return, abi::encode_answer(status, &output), gas))
        }
        Asked::OutOfGas => Ok(finish(InstructionResult::PrecompileOOG, Bytes::new(), gas)),
        Asked::Stop => Err("INFER".to_owned()),
    }
}

fn finish(result: InstructionResult, output: Bytes, mut gas: Gas) -> InterpreterResult {
    if !result.is_ok_or_revert() {
        gas.spend_all();
    }
    InterpreterResult { result, output, gas }
}
