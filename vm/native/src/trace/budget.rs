//! What a trace may cost: the bytes of its JSON, counted while it is recorded, and time.
//!
//! A trace bomb (memory snapshots of a long loop) is stopped where its answer would exceed the limit, so that what is
//! recorded in memory stays a small multiple of it.

use std::time::{Duration, Instant};

use crate::error::{Failure, Result};

/// Fixed JSON of a step of the struct logger: names, numbers, braces.
pub(crate) const STEP_BYTES: usize = 130;
/// A word in a list of strings.
pub(crate) const WORD_BYTES: usize = 70;
/// A storage slot and its value in an object.
pub(crate) const SLOT_BYTES: usize = 140;
/// Fixed JSON of a call frame.
pub(crate) const FRAME_BYTES: usize = 400;
/// Steps between two looks at the clock.
const CLOCK_STEPS: u32 = 1_024;

/// What may still be spent.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    bytes: usize,
    limit: usize,
    ends: Instant,
    time_limit: Duration,
    steps_to_clock: u32,
    over: Option<Over>,
}

/// Which bound was met.
#[derive(Clone, Copy, Debug)]
enum Over {
    Bytes,
    Time,
}

impl Budget {
    pub(crate) fn new(limit: usize, time_limit: Duration) -> Self {
        Self {
            bytes: 0,
            limit,
            ends: Instant::now() + time_limit,
            time_limit,
            steps_to_clock: CLOCK_STEPS,
            over: None,
        }
    }

    /// Counts bytes of the answer.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limit {
            self.over = Some(Over::Bytes);
        }
    }

    /// Counts a step; now and then looks at the clock.
    pub(crate) fn step(&mut self) {
        self.steps_to_clock -= 1;
        if self.steps_to_clock == 0 {
            self.look_at_clock();
        }
    }

    pub(crate) fn look_at_clock(&mut self) {
        self.steps_to_clock = CLOCK_STEPS;
        if Instant::now() > self.ends {
            self.over = Some(Over::Time);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// The error for the bound that was met, if one was.
    pub(crate) fn check(&self) -> Result<()> {
        let (code, message) = match self.over {
            None => return Ok(()),
            Some(Over::Bytes) => (
                "trace.too_large",
                format!(
                    "trace over {} bytes; ask for less (limit, disableStack, disableStorage) or one transaction",
                    self.limit
                ),
            ),
            Some(Over::Time) => (
                "trace.timeout",
                format!("execution timeout: tracing took over {} ms", self.time_limit.as_millis()),
            ),
        };
        Err(Failure::new(code, message))
    }

    /// Bytes that an answer may have, for the writer of JSON: the count while recording is an estimate.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}
