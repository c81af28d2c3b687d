//! INFER in a trace: which frame asked which model, and what that came to.

use alloy_primitives::{B256, Bytes, U256};
use revm::bytecode::Bytecode;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::InputsTr;
use revm::interpreter::{
    CallInput, CallInputs, CallOutcome, CallScheme, CallValue, Gas, InstructionResult, Interpreter,
    InterpreterResult,
};
use serde::Serialize;

use crate::exec::evm::Context;
use crate::infer::abi;
use crate::infer::host::Tier;
use crate::infer::lane::Told;
use crate::infer::precompile::INFER_ADDRESS;

/// What a frame shows of its model call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InferNote {
    model: B256,
    /// None for a model that the chain does not know.
    tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    macs: Option<String>,
    gas: String,
    status: &'static str,
}

impl InferNote {
    /// Takes what the lane tells of its last call.
    pub(crate) fn take(context: &mut Context) -> Option<Self> {
        let told = context.chain.turn.told.take()?;
        let facts = context.chain.known_facts(&told.model_id);
        Some(Self {
            model: told.model_id,
            tier: facts.map(|facts| match facts.tier {
                Tier::OnChain => "on-chain",
                Tier::Neuron => "neuron",
            }),
            macs: facts.map(|facts| format!("{:#x}", facts.macs)),
            gas: format!("{:#x}", told.gas),
            status: status_name(told.status),
        })
    }
}

/// Names of docs/spec/infer.md.
fn status_name(status: u8) -> &'static str {
    match status {
        0 => "OK",
        1 => "BAD_INPUT",
        2 => "OUT_OF_CONTEXT",
        3 => "UNAVAILABLE",
        4 => "UNKNOWN_MODEL",
        _ => "UNKNOWN_STATUS",
    }
}

/// The opcode form under way: its operands, read before they leave the stack.
pub(crate) struct Asking {
    operands: [U256; 7],
    gas: u64,
}

impl Asking {
    /// Reads the operands if the next instruction is INFER.
    pub(crate) fn begin(
        interpreter: &Interpreter<EthInterpreter>,
        op: u8,
        infer: Option<u8>,
    ) -> Option<Self> {
        if infer != Some(op) {
            return None;
        }
        let top: Vec<U256> = interpreter.stack.data().iter().rev().take(7).copied().collect();
        Some(Self { operands: top.try_into().ok()?, gas: interpreter.gas.remaining() })
    }

    /// The same question as a call of the precompile, and its outcome, once it was answered.
    pub(crate) fn end(
        &self,
        interpreter: &Interpreter<EthInterpreter>,
        told: Told,
    ) -> (CallInputs, CallOutcome) {
        let [model_id, input_at, input_length, params_at, params_length, max_output, _] = self.operands;
        let arguments = abi::Arguments {
            model_id: B256::from(model_id),
            input: &memory(interpreter, input_at, input_length),
            params: &memory(interpreter, params_at, params_length),
            max_output: max_output.saturating_to(),
        };
        let inputs = CallInputs {
            input: CallInput::Bytes(abi::encode_call(&arguments)),
            return_memory_offset: 0..0,
            gas_limit: self.gas,
            reservoir: 0,
            bytecode_address: INFER_ADDRESS,
            known_bytecode: (alloy_primitives::KECCAK256_EMPTY, Bytecode::default()),
            target_address: INFER_ADDRESS,
            caller: interpreter.input.target_address(),
            value: CallValue::Transfer(U256::ZERO),
            scheme: CallScheme::StaticCall,
            is_static: true,
            charged_new_account_state_gas: false,
        };
        let mut gas = Gas::new(self.gas);
        let paid = gas.record_regular_cost(told.gas);
        debug_assert!(paid, "what was spent was there");
        let output = abi::encode_answer(told.status, interpreter.return_data.0.as_ref());
        let result = InterpreterResult { result: InstructionResult::Return, output, gas };
        (inputs, CallOutcome::new(result, 0..0))
    }
}

/// Bytes of memory that the instruction has paid for.
fn memory(interpreter: &Interpreter<EthInterpreter>, offset: U256, length: U256) -> Bytes {
    let (offset, length): (usize, usize) = (offset.saturating_to(), length.saturating_to());
    match offset.checked_add(length) {
        Some(end) if length > 0 && end <= interpreter.memory.len() => {
            Bytes::copy_from_slice(&interpreter.memory.slice_len(offset, length))
        }
        _ => Bytes::new(),
    }
}
