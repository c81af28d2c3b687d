//! The watcher of one transaction: a tracer, what it may cost, and what it saw of INFER.

use alloy_primitives::{Address, Log, U256};
use revm::context_interface::ContextTr;
use revm::context_interface::context::ContextError;
use revm::inspector::Inspector;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{Jumps, LoopControl};
use revm::interpreter::{
    CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter as RevmInterpreter,
};
use revm_inspectors::otterscan::InternalOperationsInspector;
use revm_inspectors::tracing::types::TraceMemberOrder;
use revm_inspectors::tracing::{DebugInspector, TraceLimitBehavior, TraceLimits, TracingInspector};

use super::budget::{Budget, FRAME_BYTES, SLOT_BYTES, STEP_BYTES, WORD_BYTES};
use super::infer::{Asking, InferNote};
use crate::error::Result;
use crate::exec::evm::{Context, Watch};
use crate::infer::precompile::INFER_ADDRESS;

type Interpreter = RevmInterpreter<EthInterpreter>;

const SLOAD: u8 = 0x54;
const SSTORE: u8 = 0x55;

/// The tracers, of one type.
pub(crate) enum Tracer {
    Debug(Box<DebugInspector>),
    Tracing(TracingInspector),
    Operations(InternalOperationsInspector),
}

macro_rules! each {
    ($tracer:expr, $inner:ident => $call:expr) => {
        match $tracer {
            Tracer::Debug($inner) => $call,
            Tracer::Tracing($inner) => $call,
            Tracer::Operations($inner) => $call,
        }
    };
}

impl Tracer {
    /// The recorder of call frames, where the tracer is or has one.
    pub(crate) fn frames(&mut self) -> Option<&mut TracingInspector> {
        match self {
            Self::Tracing(inspector) => Some(inspector),
            Self::Debug(inspector) => match &mut **inspector {
                DebugInspector::CallTracer(inspector, _)
                | DebugInspector::PreStateTracer(inspector, _)
                | DebugInspector::FlatCallTracer(inspector)
                | DebugInspector::Default(inspector, _) => Some(inspector),
                _ => None,
            },
            Self::Operations(_) => None,
        }
    }
}

/// What of a step and a frame is written, and so costs bytes.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the switches of geth's struct logger, and whether there are frames"
)]
pub(crate) struct Costs {
    /// Steps that are written.
    pub(crate) steps: u64,
    pub(crate) stack: bool,
    pub(crate) memory: bool,
    pub(crate) storage: bool,
    pub(crate) return_data: bool,
    pub(crate) frames: bool,
}

/// A tracer within its bounds.
pub(crate) struct Watcher {
    pub(crate) tracer: Tracer,
    pub(crate) budget: Budget,
    costs: Costs,
    /// Accesses of storage so far: the struct logger shows all of a contract's at each.
    accesses: usize,
    /// Frames under way, by their index among all.
    open: Vec<usize>,
    /// Model calls by the index of their frame.
    pub(crate) notes: Vec<(usize, InferNote)>,
    frames_opcode: bool,
    asking: Option<Asking>,
}

impl Watcher {
    pub(crate) fn new(mut tracer: Tracer, costs: Costs, budget: Budget, frames_opcode: bool) -> Self {
        if let Some(frames) = tracer.frames() {
            let limits = TraceLimits::default()
                .set_max_recorded_bytes(Some(budget.limit()))
                .set_behavior(TraceLimitBehavior::Halt);
            *frames = std::mem::take(frames).with_limits(limits);
        }
        Self {
            tracer,
            budget,
            costs,
            accesses: 0,
            open: Vec::new(),
            notes: Vec::new(),
            frames_opcode,
            asking: None,
        }
    }

    fn count_step(&mut self, interpreter: &Interpreter) {
        self.budget.step();
        if self.costs.steps == 0 {
            return;
        }
        self.costs.steps -= 1;
        let mut bytes = STEP_BYTES;
        if self.costs.stack {
            bytes += WORD_BYTES * interpreter.stack.len();
        }
        if self.costs.memory {
            bytes += WORD_BYTES * interpreter.memory.len().div_ceil(32);
        }
        if self.costs.return_data {
            bytes += 2 * interpreter.return_data.0.len();
        }
        if self.costs.storage && matches!(interpreter.bytecode.opcode(), SLOAD | SSTORE) {
            self.accesses += 1;
            bytes += SLOT_BYTES * self.accesses;
        }
        self.budget.spend(bytes);
    }

    fn count_frame(&mut self, bytes: usize) {
        if self.costs.frames {
            self.budget.spend(FRAME_BYTES + 2 * bytes);
        }
        self.budget.look_at_clock();
    }

    /// Ends the execution where the budget is spent.
    fn halt(&self, context: &mut Context, interpreter: &mut Interpreter) {
        if self.budget.is_over() {
            stop(context);
            // A CALL or RETURN that the instruction asked for goes with it.
            interpreter.bytecode.action().take();
            interpreter.bytecode.reset_action();
            interpreter.halt_fatal();
        }
    }

    /// Notes where a frame that has just begun stands.
    fn enter(&mut self) {
        let index = self.tracer.frames().map_or(0, |frames| frames.traces().nodes().len() - 1);
        self.open.push(index);
    }

    /// Shows INFER among the frames, where precompiles are left out.
    fn attach(&mut self) {
        let Some(frames) = self.tracer.frames() else { return };
        let nodes = frames.traces_mut().nodes_mut();
        let Some(node) = nodes.last_mut().filter(|node| node.trace.maybe_precompile == Some(true)) else {
            return;
        };
        node.trace.maybe_precompile = Some(false);
        let (index, parent) = (node.idx, node.parent);
        if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
            parent.ordering.push(TraceMemberOrder::Call(parent.children.len()));
            parent.children.push(index);
        }
    }

    /// Shows INFER as an opcode as the call that it could have been.
    fn frame_opcode(&mut self, interpreter: &Interpreter, context: &mut Context) {
        let Some(asking) = self.asking.take() else { return };
        let Some(told) = context.chain.turn.told else { return };
        let (mut inputs, mut outcome) = asking.end(interpreter, told);
        self.call(context, &mut inputs);
        context.chain.turn.told = Some(told);
        self.call_end(context, &inputs, &mut outcome);
    }
}

/// Makes the running transaction fail; whoever drives it asks the budget why.
fn stop(context: &mut Context) {
    *context.error() = Err(ContextError::Custom("the trace met its limit".to_owned()));
}

impl Watch for Watcher {
    fn verdict(&self) -> Result<()> {
        self.budget.check()
    }
}

impl Inspector<Context, EthInterpreter> for Watcher {
    fn initialize_interp(&mut self, interpreter: &mut Interpreter, context: &mut Context) {
        each!(&mut self.tracer, inner => Inspector::<Context>::initialize_interp(inner, interpreter, context));
    }

    fn step(&mut self, interpreter: &mut Interpreter, context: &mut Context) {
        self.count_step(interpreter);
        if self.frames_opcode {
            let infer = context.chain.rules.infer_opcode;
            self.asking = Asking::begin(interpreter, interpreter.bytecode.opcode(), infer);
        }
        each!(&mut self.tracer, inner => Inspector::<Context>::step(inner, interpreter, context));
        self.halt(context, interpreter);
    }

    fn step_end(&mut self, interpreter: &mut Interpreter, context: &mut Context) {
        each!(&mut self.tracer, inner => Inspector::<Context>::step_end(inner, interpreter, context));
        if self.asking.is_some() {
            self.frame_opcode(interpreter, context);
        }
    }

    fn log(&mut self, context: &mut Context, log: Log) {
        self.count_frame(log.data.data.len() + 32 * log.topics().len());
        each!(&mut self.tracer, inner => Inspector::<Context>::log(inner, context, log));
    }

    fn log_full(&mut self, interpreter: &mut Interpreter, context: &mut Context, log: Log) {
        self.count_frame(log.data.data.len() + 32 * log.topics().len());
        each!(&mut self.tracer, inner => Inspector::<Context>::log_full(inner, interpreter, context, log));
    }

    fn call(&mut self, context: &mut Context, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.count_frame(inputs.input.len());
        if inputs.bytecode_address == INFER_ADDRESS {
            context.chain.turn.told = None;
        }
        let replaced = each!(&mut self.tracer, inner => Inspector::<Context>::call(inner, context, inputs));
        self.enter();
        if inputs.bytecode_address == INFER_ADDRESS {
            self.attach();
        }
        if self.budget.is_over() {
            stop(context);
        }
        replaced
    }

    fn call_end(&mut self, context: &mut Context, inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.count_frame(outcome.result.output.len());
        each!(&mut self.tracer, inner => Inspector::<Context>::call_end(inner, context, inputs, outcome));
        let index = self.open.pop();
        if inputs.bytecode_address == INFER_ADDRESS {
            let note = InferNote::take(context);
            self.notes.extend(index.zip(note));
        }
    }

    fn create(&mut self, context: &mut Context, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.count_frame(inputs.init_code().len());
        let replaced = each!(&mut self.tracer, inner => Inspector::<Context>::create(inner, context, inputs));
        self.enter();
        replaced
    }

    fn create_end(&mut self, context: &mut Context, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        self.count_frame(outcome.result.output.len());
        each!(&mut self.tracer, inner => Inspector::<Context>::create_end(inner, context, inputs, outcome));
        self.open.pop();
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        each!(&mut self.tracer, inner => Inspector::<Context>::selfdestruct(inner, contract, target, value));
    }
}
