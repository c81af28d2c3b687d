//! Struct logs in geth's words: refunds counted over the whole transaction, errors as geth says them, INFER by name.

use alloy_rpc_types_trace::geth::DefaultFrame;

/// Rewrites the steps of a transaction.
pub(crate) fn speak_geth(frame: &mut DefaultFrame) {
    let mut refunds = Refunds::default();
    for step in &mut frame.struct_logs {
        step.error = step.error.take().and_then(|error| words(&error));
        if step.op == "Unknown" {
            step.op = if step.error.as_deref() == Some(INVALID_OPCODE) { "INVALID" } else { "INFER" }.into();
        }
        step.refund_counter = step.refund_counter.map(|own| refunds.total(step.depth, own));
    }
}

const INVALID_OPCODE: &str = "invalid opcode";

/// What geth calls the status that revm ended a step with; a revert is no error of its step.
fn words(status: &str) -> Option<String> {
    let name = status.trim_start_matches("Some(").trim_end_matches(')');
    let said = match name {
        "Revert" => return None,
        _ if name.ends_with("OutOfGas") || name.ends_with("OOG") => "out of gas",
        "StackUnderflow" => "stack underflow",
        "StackOverflow" => "stack limit reached 1024",
        "InvalidJump" => "invalid jump destination",
        "OpcodeNotFound" | "InvalidFEOpcode" | "NotActivated" => INVALID_OPCODE,
        "StateChangeDuringStaticCall" | "CallNotAllowedInsideStatic" => "write protection",
        "OutOfOffset" => "return data out of bounds",
        "CreateInitCodeSizeLimit" => "max initcode size exceeded",
        other => other,
    };
    Some(said.to_owned())
}

/// revm counts refunds frame by frame; a frame takes those of its callees when they succeed.
#[derive(Default)]
struct Refunds {
    /// Of all frames below the one at a depth, when that began; depth 1 is the first.
    below: Vec<u64>,
    /// Total at the last step.
    last: u64,
}

impl Refunds {
    /// The transaction's refunds at a step whose frame has `own`; a frame may give back what another got.
    fn total(&mut self, step_depth: u64, own: u64) -> u64 {
        let depth = step_depth as usize;
        if depth > self.below.len() {
            self.below.resize(depth, self.last);
        } else {
            self.below.truncate(depth);
        }
        let below = self.below.last().copied().unwrap_or(0);
        self.last = below.wrapping_add(own);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use alloy_rpc_types_trace::geth::StructLog;

    use super::{DefaultFrame, speak_geth};

    fn step(op: &'static str, depth: u64, refund: u64, error: Option<&str>) -> StructLog {
        StructLog {
            op: op.into(),
            depth,
            refund_counter: Some(refund),
            error: error.map(str::to_owned),
            ..StructLog::default()
        }
    }

    #[test]
    fn refunds_add_up_over_frames() {
        let given_back = 0u64.wrapping_sub(4_800);
        let struct_logs = vec![
            step("CALL", 1, 4_800, None),
            step("SSTORE", 2, 0, None),
            step("STOP", 2, given_back, None),
            step("SSTORE", 1, 0, None),
            step("STOP", 1, 4_800, None),
        ];
        let mut frame = DefaultFrame { struct_logs, ..DefaultFrame::default() };
        speak_geth(&mut frame);
        let totals: Vec<_> = frame.struct_logs.iter().map(|step| step.refund_counter).collect();
        assert_eq!(totals, [4_800, 4_800, 0, 0, 4_800].map(Some));
    }

    #[test]
    fn errors_and_names_are_geths() {
        let struct_logs = vec![
            step("Unknown", 1, 0, None),
            step("Unknown", 1, 0, Some("Some(OpcodeNotFound)")),
            step("REVERT", 1, 0, Some("Some(Revert)")),
            step("MSTORE", 1, 0, Some("Some(MemoryOOG)")),
        ];
        let mut frame = DefaultFrame { struct_logs, ..DefaultFrame::default() };
        speak_geth(&mut frame);
        let said: Vec<_> = frame.struct_logs.iter().map(|step| (&*step.op, step.error.as_deref())).collect();
        let expected = [
            ("INFER", None),
            ("INVALID", Some("invalid opcode")),
            ("REVERT", None),
            ("MSTORE", Some("out of gas")),
        ];
        assert_eq!(said, expected);
    }
}
