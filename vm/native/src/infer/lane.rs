//! INFER as the interpreter sees it: prices, budgets, answers, and why a transaction must stop.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use revm::primitives::HashMap;

use super::host::{Callbacks, ModelFacts, Output, Tier};
use super::request::{self, Request};
use crate::error::{Failure, Result};
use crate::exec::data_fee::DataCharge;
use crate::rules::Rules;

/// Statuses that the core knows; models and manifests may give others.
pub(crate) const OK: u8 = 0;
pub(crate) const BAD_INPUT: u8 = 1;
pub(crate) const UNAVAILABLE: u8 = 3;
pub(crate) const UNKNOWN_MODEL: u8 = 4;

/// What a neuron call without an answer does to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Park,
    Skip,
    Unavailable,
}

/// A neuron's answer that a transaction may use.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) output: Output,
    pub(crate) neuron: Option<Address>,
    /// Index of the record; None for an answer that needs none.
    pub(crate) record: Option<u64>,
}

pub(crate) type Answers = HashMap<B256, Answer>;

/// Why a transaction ended without a trace.
#[derive(Debug)]
pub(crate) enum Stop {
    Park(Request),
    Skip(&'static str, &'static str),
    Fail(Failure),
}

/// Gas that INFER calls cost, by who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) gas: u64,
    pub(crate) neuron: Option<Address>,
}

/// A call's result for the interpreter.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The call cost this much and answers this.
    Answer {
        gas: u64,
        status: u8,
        output: Bytes,
    },
    OutOfGas,
    /// The transaction must end; [`Turn::stop`] says why.
    Stop,
}

/// What the last call came to, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) model_id: B256,
    pub(crate) gas: u64,
    pub(crate) status: u8,
}

/// What one transaction has asked so far.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) charges: Vec<Charge>,
    /// Record indexes used, in call order, each once.
    pub(crate) used_records: Vec<u64>,
    /// Neuron-tier calls, in call order.
    pub(crate) requests: Vec<Request>,
    pub(crate) stop: Option<Stop>,
    pub(crate) told: Option<Told>,
    /// What it owes for its bytes on Bitcoin.
    pub(crate) data: DataCharge,
    /// Messages printed.
    printed: u32,
    macs: [u64; 2],
    /// What the running call costs if it gets no answer.
    base_gas: u64,
}

impl Turn {
    /// All INFER gas of the transaction.
    pub(crate) fn gas(&self) -> u64 {
        self.charges.iter().map(|charge| charge.gas).sum()
    }
}

/// INFER during one block.
pub(crate) struct Lane {
    pub(crate) rules: Rules,
    callbacks: Arc<Callbacks>,
    models: HashMap<B256, Option<ModelFacts>>,
    outputs: HashMap<B256, Output>,
    /// MACs of included transactions, and of those that replay ran and left out.
    macs_used: [u64; 2],
    pub(crate) missing: Missing,
    answers: Option<Arc<Answers>>,
    /// Which transaction the host is asked about; None: a system transaction.
    position: Option<usize>,
    pub(crate) turn: Turn,
}

impl Lane {
    pub(crate) fn new(rules: Rules, callbacks: Arc<Callbacks>) -> Self {
        Self {
            rules,
            callbacks,
            models: HashMap::default(),
            outputs: HashMap::default(),
            macs_used: [0; 2],
            missing: Missing::Unavailable,
            answers: None,
            position: None,
            turn: Turn::default(),
        }
    }

    pub(crate) fn callbacks(&self) -> Arc<Callbacks> {
        self.callbacks.clone()
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self, missing: Missing, answers: Option<Arc<Answers>>, position: Option<usize>) {
        self.missing = missing;
        self.answers = answers;
        self.position = position;
        self.turn = Turn::default();
    }

    /// Ends a transaction that is included: its MACs are spent.
    pub(crate) fn end(&mut self) -> Turn {
        let turn = std::mem::take(&mut self.turn);
        for lane in 0..2 {
            self.macs_used[lane] += turn.macs[lane];
        }
        turn
    }

    /// Ends a transaction that replay ran and leaves out: its MACs are spent all the same.
    pub(crate) fn waste(&mut self) {
        self.end();
    }

    pub(crate) fn macs_left(&self, tier: Tier) -> u64 {
        self.rules.mac_limit(tier).saturating_sub(self.macs_used[tier as usize])
    }

    /// Hands what a contract prints to who reads it; fails the transaction if that fails.
    pub(crate) fn print(&mut self, message: &[u8]) -> std::result::Result<(), String> {
        let ordinal = self.turn.printed;
        self.turn.printed += 1;
        self.callbacks.print(self.position, ordinal, message).map_err(|failure| {
            let said = failure.to_string();
            self.turn.stop = Some(Stop::Fail(failure));
            said
        })
    }

    /// Whether somebody reads what contracts print.
    pub(crate) fn has_console(&self) -> bool {
        self.callbacks.has_console()
    }

    /// What is known of a model that was asked in this block.
    pub(crate) fn known_facts(&self, model_id: &B256) -> Option<ModelFacts> {
        self.models.get(model_id).copied().flatten()
    }

    /// One call with `gas_left` gas.
    pub(crate) fn ask(
        &mut self,
        model_id: B256,
        input: &[u8],
        params: &[u8],
        max_output: u32,
        gas_left: u64,
    ) -> Asked {
        let asked = self.decide(model_id, input, params, max_output, gas_left);
        if let Asked::Answer { gas, status, .. } = &asked {
            self.turn.told = Some(Told { model_id, gas: *gas, status: *status });
        }
        asked
    }

    fn decide(
        &mut self,
        model_id: B256,
        input: &[u8],
        params: &[u8],
        max_output: u32,
        gas_left: u64,
    ) -> Asked {
        // Before anything is looked at, so that no node works for nothing.
        let argument_bytes = input.len() as u64 + params.len() as u64;
        self.turn.base_gas = self.rules.base_gas(argument_bytes);
        if gas_left < self.turn.base_gas {
            return Asked::OutOfGas;
        }
        let facts = match self.facts(&model_id) {
            Ok(facts) => facts,
            Err(failure) => return self.stop(Stop::Fail(failure)),
        };
        let Some(facts) = facts else { return self.refuse(UNKNOWN_MODEL) };
        let wrong_length = facts.input_bytes.is_some_and(|length| length != input.len() as u64);
        if wrong_length || !params.is_empty() || facts.output_bytes > u64::from(max_output) {
            return self.refuse(BAD_INPUT);
        }
        // A model that no block has room for would keep its transaction out for ever.
        if !facts.callable || facts.macs > self.rules.mac_limit(facts.tier) {
            return self.refuse(UNAVAILABLE);
        }
        let gas = self.rules.price(facts.tier, facts.macs, argument_bytes, max_output);
        if gas > gas_left {
            return Asked::OutOfGas;
        }
        // Before anybody is asked: a transaction that no block has room for gets nobody's work.
        if let Some(asked) = self.refuse_above_any_block(facts.tier, facts.macs) {
            return asked;
        }
        let seed = B256::ZERO;
        let request = Request {
            model_id,
            input: Bytes::copy_from_slice(input),
            params: Bytes::copy_from_slice(params),
            max_output,
            seed,
            hash: request::hash(&model_id, input, params, max_output, &seed),
            ordinal: self.turn.requests.len() as u32,
            macs: facts.macs,
            gas,
        };
        match facts.tier {
            Tier::OnChain => self.run_on_chain(&request),
            Tier::Neuron => self.answer_from_record(request),
        }
    }

    /// Gas of a call that reverts because its calldata or value is not as it must be; None if it runs out of gas.
    pub(crate) fn refuse_malformed(&mut self, gas_left: u64) -> Option<u64> {
        let gas = self.rules.infer_base_gas;
        if gas_left < gas {
            return None;
        }
        self.turn.charges.push(Charge { gas, neuron: None });
        Some(gas)
    }

    fn facts(&mut self, model_id: &B256) -> Result<Option<ModelFacts>> {
        if let Some(facts) = self.models.get(model_id) {
            return Ok(*facts);
        }
        let facts = self.callbacks.model(model_id)?;
        self.models.insert(*model_id, facts);
        Ok(facts)
    }

    fn run_on_chain(&mut self, request: &Request) -> Asked {
        if let Some(asked) = self.spend(Tier::OnChain, request.macs) {
            return asked;
        }
        let output = match self.outputs.get(&request.hash) {
            Some(output) => output.clone(),
            None => match self.callbacks.infer(request) {
                Ok(output) => {
                    self.outputs.insert(request.hash, output.clone());
                    output
                }
                Err(failure) => return self.stop(Stop::Fail(failure)),
            },
        };
        if output.status != OK {
            self.turn.macs[Tier::OnChain as usize] -= request.macs;
            return self.refuse(output.status);
        }
        self.charge(request.gas, None, output.output)
    }

    fn answer_from_record(&mut self, request: Request) -> Asked {
        let max_output = u64::from(request.max_output);
        let answer = match self.known_answer(&request) {
            Ok(answer) => answer,
            Err(failure) => return self.stop(Stop::Fail(failure)),
        };
        // An answer that is too long is none: its price was never paid.
        let answer = answer.filter(|answer| answer.output.output.len() as u64 <= max_output);
        let Some(answer) = answer else {
            return match self.missing {
                Missing::Park => self.stop(Stop::Park(request)),
                Missing::Skip => self.stop(Stop::Skip("infer.no_record", "no record answers a call")),
                Missing::Unavailable => self.refuse(UNAVAILABLE),
            };
        };
        if answer.output.status != OK {
            return self.refuse(answer.output.status);
        }
        if let Some(asked) = self.spend(Tier::Neuron, request.macs) {
            return asked;
        }
        let unused = max_output - answer.output.output.len() as u64;
        let gas = request.gas - unused * self.rules.infer_byte_gas;
        self.turn.requests.push(request);
        if let Some(record) = answer.record.filter(|record| !self.turn.used_records.contains(record)) {
            self.turn.used_records.push(record);
        }
        self.charge(gas, answer.neuron, answer.output.output)
    }

    /// Answer among those of the transaction; else the host's, kept among them.
    fn known_answer(&mut self, request: &Request) -> Result<Option<Answer>> {
        let given = self.answers.as_ref().and_then(|answers| answers.get(&request.hash)).cloned();
        if given.is_some() {
            return Ok(given);
        }
        let answer = self.callbacks.answer(self.position, request)?;
        if let Some(answer) = &answer {
            let answers = Arc::make_mut(self.answers.get_or_insert_default());
            answers.insert(request.hash, answer.clone());
        }
        Ok(answer)
    }

    /// How a call ends with which its transaction asks for more MACs than any block has.
    fn refuse_above_any_block(&mut self, tier: Tier, macs: u64) -> Option<Asked> {
        if self.turn.macs[tier as usize].saturating_add(macs) <= self.rules.mac_limit(tier) {
            return None;
        }
        let message = "asks for more MACs than any block has";
        Some(self.refuse_over_budget("infer.transaction_mac_limit", message))
    }

    /// Takes MACs from the block's budget; answers how the call ends if they are not there.
    fn spend(&mut self, tier: Tier, macs: u64) -> Option<Asked> {
        let spent = self.turn.macs[tier as usize].saturating_add(macs);
        if spent <= self.macs_left(tier) {
            self.turn.macs[tier as usize] = spent;
            return None;
        }
        let message = "asks for more MACs than this block has left";
        Some(self.refuse_over_budget("infer.block_mac_limit", message))
    }

    fn refuse_over_budget(&mut self, code: &'static str, message: &'static str) -> Asked {
        if self.missing == Missing::Unavailable {
            // Such a transaction stands where it stands: it cannot wait for another block.
            return self.refuse(UNAVAILABLE);
        }
        self.stop(Stop::Skip(code, message))
    }

    /// An answer that is none: it costs the base gas only and has no output.
    fn refuse(&mut self, status: u8) -> Asked {
        let gas = self.turn.base_gas;
        self.turn.charges.push(Charge { gas, neuron: None });
        Asked::Answer { gas, status, output: Bytes::new() }
    }

    fn charge(&mut self, gas: u64, neuron: Option<Address>, output: Bytes) -> Asked {
        self.turn.charges.push(Charge { gas, neuron });
        Asked::Answer { gas, status: OK, output }
    }

    fn stop(&mut self, stop: Stop) -> Asked {
        self.turn.stop = Some(stop);
        Asked::Stop
    }
}
