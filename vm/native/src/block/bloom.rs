//! Blooms of logs, with the bits of recent inputs remembered.

use alloy_primitives::{B256, Bloom, Log, keccak256};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::primitives::HashMap;

use crate::convert::{Addr, Hash};

/// Inputs remembered before starting over: a block's hot contracts and topics are few.
const REMEMBERED: usize = 4_096;

/// Makes blooms; a token's address and its Transfer topic are hashed once, not once a transfer.
#[derive(Default)]
pub(crate) struct BloomMaker {
    /// Input, left-padded to 32 bytes, to its three bits. Addresses and topics differ in how they are hashed.
    addresses: HashMap<B256, [u16; 3]>,
    topics: HashMap<B256, [u16; 3]>,
}

impl BloomMaker {
    pub(crate) fn bloom(&mut self, logs: &[Log]) -> Bloom {
        let mut bloom = Bloom::ZERO;
        for log in logs {
            set(&mut bloom, remembered(&mut self.addresses, log.address.into_word(), log.address.as_slice()));
            for topic in log.topics() {
                set(&mut bloom, remembered(&mut self.topics, *topic, topic.as_slice()));
            }
        }
        bloom
    }
}

fn remembered(known: &mut HashMap<B256, [u16; 3]>, key: B256, input: &[u8]) -> [u16; 3] {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    *known.entry(key).or_insert_with(|| bits(input))
}

/// The three bits that an input sets (yellow paper, M3:2048).
fn bits(input: &[u8]) -> [u16; 3] {
    let hash = keccak256(input);
    [0, 2, 4].map(|at| u16::from_be_bytes([hash[at], hash[at + 1]]) & 2047)
}

fn set(bloom: &mut Bloom, bits: [u16; 3]) {
    for bit in bits {
        bloom.0[255 - usize::from(bit / 8)] |= 1 << (bit % 8);
    }
}

/// `logs_bloom` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn logs_bloom(py: Python<'_>, logs: Vec<(Addr, Vec<Hash>)>) -> Bound<'_, PyBytes> {
    let mut bloom = Bloom::ZERO;
    for (address, topics) in logs {
        set(&mut bloom, bits(address.0.as_slice()));
        for topic in topics {
            set(&mut bloom, bits(topic.0.as_slice()));
        }
    }
    PyBytes::new(py, bloom.as_slice())
}

#[cfg(test)]
mod tests {
    use super::BloomMaker;
    use alloy_primitives::{Address, B256, Bloom, Bytes, Log};

    #[test]
    fn agrees_with_the_library() {
        let mut maker = BloomMaker::default();
        for seed in 0..100u8 {
            let topics = vec![B256::repeat_byte(seed), B256::repeat_byte(seed % 3)];
            let logs = [Log::new_unchecked(Address::repeat_byte(seed % 5), topics, Bytes::new())];
            let expected: Bloom = logs.iter().collect();
            assert_eq!(maker.bloom(&logs), expected);
        }
    }
}
