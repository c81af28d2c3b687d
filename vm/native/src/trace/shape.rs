//! From what a watcher recorded to the JSON that clients read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::TransactionInfo;
use alloy_rpc_types_trace::geth::{CallFrame, GethTrace};
use alloy_rpc_types_trace::otterscan::InternalOperation;
use alloy_rpc_types_trace::parity::{LocalizedTransactionTrace, TraceResults, TransactionTrace};
use revm::context::result::ResultAndState;
use revm::state::{AccountInfo, Bytecode};
use revm::{Database, DatabaseRef};
use revm_inspectors::tracing::types::CallTraceNode;
use revm_inspectors::tracing::{DebugInspectorError, TracingInspector, TransactionContext};
use serde::Serialize;

use super::infer::InferNote;
use super::replay::Ran;
use super::steps::speak_geth;
use super::wanted::Wanted;
use super::watcher::{Tracer, Watcher};
use crate::env::BlockEnv;
use crate::error::{Failure, Result};
use crate::state::reader::Reader;

/// One transaction's trace.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Shown {
    Geth(Box<GethTrace>),
    Call(Box<MarkedFrame>),
    Flat(Vec<MarkedEntry<LocalizedTransactionTrace>>),
    Parity(Box<MarkedResults>),
    Operations(Vec<InternalOperation>),
}

/// A call frame that says what its model call was.
#[derive(Serialize)]
pub(crate) struct MarkedFrame {
    #[serde(flatten)]
    frame: CallFrame,
    #[serde(skip_serializing_if = "Option::is_none")]
    infer: Option<InferNote>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls: Vec<Self>,
}

/// An entry of a flat trace that says the same.
#[derive(Serialize)]
pub(crate) struct MarkedEntry<T> {
    #[serde(flatten)]
    entry: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    infer: Option<InferNote>,
}

/// `TraceResults` with marked entries.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MarkedResults {
    #[serde(flatten)]
    results: TraceResults,
    trace: Vec<MarkedEntry<TransactionTrace>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_hash: Option<B256>,
}

/// Makes the JSON value of a transaction that ran; `reader` tells the state before it.
pub(crate) fn shape(
    wanted: &Wanted,
    watcher: Watcher,
    ran: &Ran,
    reader: &mut Reader,
    place: &Place<'_>,
) -> Result<Shown> {
    let Watcher { tracer, notes, .. } = watcher;
    let before = Before(RefCell::new(reader));
    match tracer {
        Tracer::Operations(inspector) => Ok(Shown::Operations(inspector.into_operations())),
        Tracer::Tracing(inspector) => parity(wanted, inspector, &notes, ran, &before, place),
        Tracer::Debug(mut inspector) => {
            let result = ResultAndState { result: ran.result.clone(), state: ran.state.clone() };
            let addresses = match &mut *inspector {
                revm_inspectors::tracing::DebugInspector::FlatCallTracer(frames) => {
                    // Of the root: what the receipt says, as geth has it.
                    frames.set_transaction_gas_used(ran.result.tx_gas_used());
                    noted_addresses(frames.traces().nodes(), &notes)
                }
                _ => HashMap::new(),
            };
            let trace = inspector
                .get_result(Some(place.context()), &ran.tx, &place.env.to_revm(), &result, &mut &before)
                .map_err(told)?;
            Ok(match trace {
                GethTrace::CallTracer(frame) => {
                    let mut notes: HashMap<_, _> = notes.into_iter().collect();
                    Shown::Call(Box::new(mark(frame, &mut 0, &mut notes)))
                }
                GethTrace::FlatCallTracer(entries) => Shown::Flat(mark_flat(entries, addresses)),
                GethTrace::Default(mut frame) => {
                    speak_geth(&mut frame);
                    Shown::Geth(Box::new(GethTrace::Default(frame)))
                }
                other => Shown::Geth(Box::new(other)),
            })
        }
    }
}

/// Where a traced transaction stands.
pub(crate) struct Place<'a> {
    pub(crate) env: &'a BlockEnv,
    pub(crate) block_hash: Option<B256>,
    pub(crate) index: Option<usize>,
    pub(crate) hash: Option<B256>,
}

impl Place<'_> {
    fn context(&self) -> TransactionContext {
        TransactionContext { block_hash: self.block_hash, tx_index: self.index, tx_hash: self.hash }
    }

    fn info(&self) -> TransactionInfo {
        TransactionInfo {
            hash: self.hash,
            index: self.index.map(|index| index as u64),
            block_hash: self.block_hash,
            block_number: Some(self.env.number),
            base_fee: Some(self.env.base_fee),
            ..TransactionInfo::default()
        }
    }
}

fn parity(
    wanted: &Wanted,
    mut inspector: TracingInspector,
    notes: &[(usize, InferNote)],
    ran: &Ran,
    before: &Before<'_>,
    place: &Place<'_>,
) -> Result<Shown> {
    inspector.set_transaction_caller(ran.tx.caller);
    let mut addresses = noted_addresses(inspector.traces().nodes(), notes);
    let builder = inspector.into_parity_builder().with_transaction_gas_used(ran.result.tx_gas_used());
    let Wanted::Parity(types) = wanted else {
        return Ok(Shown::Flat(mark_flat(
            builder.into_localized_transaction_traces(place.info()),
            addresses,
        )));
    };
    let mut results = builder.into_trace_results_with_state_parts(&ran.result, &ran.state, types, before)?;
    results.output = ran.output();
    let entries = std::mem::take(&mut results.trace);
    let trace = entries
        .into_iter()
        .map(|entry| MarkedEntry { infer: addresses.remove(&entry.trace_address), entry })
        .collect();
    Ok(Shown::Parity(Box::new(MarkedResults { results, trace, transaction_hash: place.hash })))
}

fn mark_flat(
    entries: Vec<LocalizedTransactionTrace>,
    mut addresses: HashMap<Vec<usize>, InferNote>,
) -> Vec<MarkedEntry<LocalizedTransactionTrace>> {
    entries
        .into_iter()
        .map(|entry| MarkedEntry { infer: addresses.remove(&entry.trace.trace_address), entry })
        .collect()
}

/// Notes by the trace address of their frame.
fn noted_addresses(nodes: &[CallTraceNode], notes: &[(usize, InferNote)]) -> HashMap<Vec<usize>, InferNote> {
    let address = |index: usize| {
        let (mut address, mut at) = (Vec::new(), index);
        while let Some(parent) = nodes.get(at).and_then(|node| node.parent) {
            address.push(nodes[parent].children.iter().position(|child| *child == at)?);
            at = parent;
        }
        address.reverse();
        Some(address)
    };
    notes.iter().filter_map(|(index, note)| Some((address(*index)?, note.clone()))).collect()
}

/// Takes the frames in the order in which they began, as the notes count them; a SELFDESTRUCT is no frame of its own.
fn mark(mut frame: CallFrame, next: &mut usize, notes: &mut HashMap<usize, InferNote>) -> MarkedFrame {
    let infer = notes.remove(next);
    *next += 1;
    let children = std::mem::take(&mut frame.calls);
    let calls = children
        .into_iter()
        .map(|child| {
            if child.typ == "SELFDESTRUCT" {
                MarkedFrame { frame: child, infer: None, calls: Vec::new() }
            } else {
                mark(child, next, notes)
            }
        })
        .collect();
    MarkedFrame { frame, infer, calls }
}

fn told(error: DebugInspectorError<Failure>) -> Failure {
    match error {
        DebugInspectorError::Database(failure) => failure,
        other => Failure::new("trace.options", other.to_string()),
    }
}

/// The state before a transaction, for builders that only look.
struct Before<'a>(RefCell<&'a mut Reader>);

impl DatabaseRef for Before<'_> {
    type Error = Failure;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>> {
        self.0.borrow_mut().basic(address)
    }
    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode> {
        self.0.borrow_mut().code_by_hash(code_hash)
    }
    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256> {
        self.0.borrow_mut().storage(address, slot)
    }
    fn block_hash_ref(&self, number: u64) -> Result<B256> {
        self.0.borrow_mut().block_hash(number)
    }
}

/// JSON on its way to Python, of bounded length.
pub(crate) struct Page {
    bytes: Vec<u8>,
    limit: usize,
}

impl Page {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    pub(crate) fn put(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Appends a value.
    pub(crate) fn write(&mut self, value: &impl Serialize) -> Result<()> {
        let limit = self.limit;
        serde_json::to_writer(self, value).map_err(|error| {
            if error.is_io() {
                Failure::new("trace.too_large", format!("trace over {limit} bytes; ask for less"))
            } else {
                Failure::order(format!("a trace cannot be written as JSON: {error}"))
            }
        })
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
