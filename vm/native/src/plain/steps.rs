//! Every step of a transaction as a line of JSON (EIP-3155), handed on in pieces.

use std::fmt::Write as _;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::bytecode::opcode::OpCode;
use revm::context_interface::JournalTr;
use revm::inspector::Inspector;
use revm::interpreter::Interpreter;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{Jumps, LoopControl, MemoryTr};

use crate::error::Result;
use crate::exec::evm::{Context, Watch};

/// Text kept before it is handed on: a long run must not fill the memory.
const PIECE_BYTES: usize = 1 << 20;

/// Writes a line for each step.
pub(crate) struct Steps {
    write: Py<PyAny>,
    text: String,
    gas_before: u64,
    /// The first failure of `write`; after it nothing more is written.
    failed: Option<PyErr>,
}

impl Steps {
    pub(crate) fn new(write: Py<PyAny>) -> Self {
        Self { write, text: String::new(), gas_before: 0, failed: None }
    }

    /// Hands on what is left.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.hand_on();
        self.failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn hand_on(&mut self) {
        if self.failed.is_none() && !self.text.is_empty() {
            let text = self.text.as_bytes();
            self.failed = Python::attach(|py| self.write.call1(py, (PyBytes::new(py, text),)).err());
        }
        self.text.clear();
    }

    /// Everything of the line that is known before the step.
    fn begin(&mut self, interpreter: &Interpreter<EthInterpreter>, depth: usize) {
        let bytecode = &interpreter.bytecode;
        let opcode = bytecode.opcode();
        let (pc, gas) = (bytecode.pc(), interpreter.gas.remaining());
        let (memory, refund) = (interpreter.memory.size(), interpreter.gas.refunded());
        self.gas_before = gas;
        let _ =
            write!(self.text, r#"{{"pc":{pc},"op":{opcode},"gas":"{gas:#x}","memSize":{memory},"stack":["#);
        for (at, word) in interpreter.stack.data().iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(self.text, r#"{comma}"{word:#x}""#);
        }
        let name = OpCode::new(opcode).map_or("INVALID", |opcode| opcode.as_str());
        let _ = write!(self.text, r#"],"depth":{depth},"refund":{refund},"opName":"{name}""#);
    }
}

impl Inspector<Context, EthInterpreter> for Steps {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, context: &mut Context) {
        if self.text.len() > PIECE_BYTES {
            self.hand_on();
        }
        self.begin(interpreter, context.journaled_state.depth());
    }

    fn step_end(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _: &mut Context) {
        let cost = self.gas_before.saturating_sub(interpreter.gas.remaining());
        let _ = write!(self.text, r#","gasCost":"{cost:#x}""#);
        let result = interpreter.bytecode.action().as_ref().and_then(|action| action.instruction_result());
        if let Some(error) = result.filter(|result| result.is_halt()) {
            let _ = write!(self.text, r#","error":"{error:?}""#);
        }
        self.text.push_str("}\n");
    }
}

impl Watch for Steps {}
