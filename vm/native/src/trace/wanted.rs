//! What a trace shall show, as the node's RPC names it.

use alloy_primitives::map::HashSet;
use alloy_rpc_types_trace::geth::{GethDebugBuiltInTracerType, GethDebugTracerType, GethDebugTracingOptions};
use alloy_rpc_types_trace::parity::TraceType;
use revm_inspectors::otterscan::InternalOperationsInspector;
use revm_inspectors::tracing::{
    DebugInspector, DebugInspectorError, TracingInspector, TracingInspectorConfig,
};
use serde::Deserialize;

use super::watcher::{Costs, Tracer};
use crate::error::{Failure, Result};

/// The shapes of an answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Wanted {
    /// `debug_trace*`: geth's options.
    Debug(Box<GethDebugTracingOptions>),
    /// `trace_replay*`, `trace_call`: which of trace, vmTrace and stateDiff.
    Parity(HashSet<TraceType>),
    /// `trace_transaction`, `trace_block`: a flat list that says where each entry belongs.
    Localized,
    /// `ots_getInternalOperations`.
    Operations,
}

impl Wanted {
    /// Reads the JSON that [`crate::trace`] is asked with.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        serde_json::from_slice(json)
            .map_err(|error| Failure::new("trace.options", format!("trace options: {error}")))
    }

    /// A fresh tracer for one transaction.
    pub(crate) fn tracer(&self) -> Result<Tracer> {
        match self {
            Self::Debug(options) => debug_tracer(options),
            Self::Parity(types) => {
                Ok(Tracer::Tracing(TracingInspector::new(TracingInspectorConfig::from_parity_config(types))))
            }
            Self::Localized => {
                Ok(Tracer::Tracing(TracingInspector::new(TracingInspectorConfig::default_parity())))
            }
            Self::Operations => Ok(Tracer::Operations(InternalOperationsInspector::default())),
        }
    }

    /// What a step and a frame of it cost.
    pub(crate) fn costs(&self) -> Costs {
        let frames = Costs { frames: true, ..Costs::default() };
        match self {
            Self::Debug(options) => match (&options.tracer, &options.config) {
                (Some(tracer), _) if !tracer.as_str().is_empty() => frames,
                (_, config) => Costs {
                    steps: config.limit.filter(|limit| *limit > 0).unwrap_or(u64::MAX),
                    stack: config.is_stack_enabled(),
                    memory: config.is_memory_enabled(),
                    storage: config.is_storage_enabled(),
                    return_data: config.is_return_data_enabled(),
                    frames: false,
                },
            },
            Self::Parity(types) if types.contains(&TraceType::VmTrace) => Costs { steps: u64::MAX, ..frames },
            _ => frames,
        }
    }

    /// Whether INFER as an opcode may stand as a frame of its own: not where frames are matched to call opcodes.
    pub(crate) fn frames_opcode(&self) -> bool {
        match self {
            Self::Debug(options) => matches!(
                options.tracer,
                Some(GethDebugTracerType::BuiltInTracer(
                    GethDebugBuiltInTracerType::CallTracer | GethDebugBuiltInTracerType::FlatCallTracer
                ))
            ),
            Self::Parity(types) => !types.contains(&TraceType::VmTrace),
            Self::Localized => true,
            Self::Operations => false,
        }
    }
}

fn debug_tracer(options: &GethDebugTracingOptions) -> Result<Tracer> {
    if let Some(GethDebugTracerType::BuiltInTracer(GethDebugBuiltInTracerType::Erc7562Tracer)) =
        options.tracer
    {
        return Err(unsupported("erc7562Tracer"));
    }
    match DebugInspector::new(options.clone()) {
        Ok(inspector) => Ok(Tracer::Debug(Box::new(inspector))),
        Err(DebugInspectorError::InvalidTracerConfig) => {
            Err(Failure::new("trace.options", "tracerConfig does not fit the tracer"))
        }
        Err(DebugInspectorError::MuxInspector(error)) => {
            Err(Failure::new("trace.options", format!("tracerConfig does not fit the tracer: {error}")))
        }
        Err(_) => Err(unsupported(options.tracer.as_ref().map_or("", |tracer| tracer.as_str()))),
    }
}

fn unsupported(name: &str) -> Failure {
    let shown: String = name.chars().take(40).collect();
    Failure::new(
        "trace.no_such_tracer",
        format!(
            "tracer {shown:?} is not available: use callTracer, prestateTracer, flatCallTracer, 4byteTracer, \
             muxTracer, noopTracer or none for struct logs; JavaScript tracers are not run"
        ),
    )
}
