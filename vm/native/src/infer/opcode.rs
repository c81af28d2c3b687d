//! INFER as an opcode, for chains whose configuration turns it on.
//!
//! Stack, top first: model id, input offset, input length, params offset, params length, max output, output offset.
//! Pushes the status. The output is the return data (not ABI-encoded) and is also copied to memory at the output
//! offset; memory is paid up to max output there, as CALL does for its return area.

use alloy_primitives::{B256, Bytes, U256};
use revm::context_interface::{ContextTr, Host, context::ContextError};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::ReturnData;
use revm::interpreter::{InstructionContext, InstructionResult};

use super::lane::Asked;
use crate::exec::evm::Context;

type Interpreter = revm::interpreter::Interpreter<EthInterpreter>;

/// The instruction.
pub(crate) fn infer(
    context: InstructionContext<'_, Context, EthInterpreter>,
) -> Result<(), InstructionResult> {
    let InstructionContext { interpreter, host } = context;
    let operands: [U256; 7] = interpreter.stack.popn().ok_or(InstructionResult::StackUnderflow)?;
    let [model_id, input_at, input_length, params_at, params_length, max_output, output_at] = operands;
    let max_output = u32::try_from(max_output).map_err(|_| InstructionResult::InvalidOperandOOG)?;
    let input = memory(interpreter, host, input_at, input_length)?;
    let params = memory(interpreter, host, params_at, params_length)?;
    let output_at = grow(interpreter, host, output_at, max_output as usize)?;
    let gas_left = interpreter.gas.remaining();
    match host.chain.ask(B256::from(model_id), &input, &params, max_output, gas_left) {
        Asked::Answer { gas, status, output } => {
            if !interpreter.gas.record_regular_cost(gas) {
                return Err(InstructionResult::OutOfGas);
            }
            if !output.is_empty() {
                interpreter.memory.set(output_at, &output);
            }
            interpreter.return_data.set_buffer(output);
            if interpreter.stack.push(U256::from(status)) {
                Ok(())
            } else {
                Err(InstructionResult::StackOverflow)
            }
        }
        Asked::OutOfGas => Err(InstructionResult::OutOfGas),
        Asked::Stop => {
            *host.error() = Err(ContextError::Custom("INFER".to_owned()));
            Err(InstructionResult::FatalExternalError)
        }
    }
}

/// Bytes of memory, paid for.
fn memory(
    interpreter: &mut Interpreter,
    host: &Context,
    offset: U256,
    length: U256,
) -> Result<Bytes, InstructionResult> {
    let length = usize::try_from(length).map_err(|_| InstructionResult::InvalidOperandOOG)?;
    let start = grow(interpreter, host, offset, length)?;
    if length == 0 {
        return Ok(Bytes::new());
    }
    Ok(Bytes::copy_from_slice(&interpreter.memory.slice_len(start, length)))
}

/// Pays for memory up to `offset + length` and answers the offset; nothing is touched for no bytes.
fn grow(
    interpreter: &mut Interpreter,
    host: &Context,
    offset: U256,
    length: usize,
) -> Result<usize, InstructionResult> {
    if length == 0 {
        return Ok(0);
    }
    let offset = usize::try_from(offset).map_err(|_| InstructionResult::InvalidOperandOOG)?;
    interpreter.resize_memory(host.gas_params(), offset, length)?;
    Ok(offset)
}
