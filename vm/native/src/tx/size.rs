//! How many bytes of Bitcoin a transaction is taken to need: a function of its own bytes. Spec: `docs/spec/fees.md`.

use std::cell::RefCell;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

/// Buckets in which a place is remembered by the hash of its three bytes.
const BUCKETS: usize = 1 << 13;
const HASH_FACTOR: u32 = 2_654_435_769;
const HASH_SHIFT: u32 = 19;
/// How far back a repetition may lie.
const WINDOW: usize = 8_191;
/// Bytes at the end where no repetition begins.
const TAIL: usize = 13;
/// Bytes at the end that no repetition reaches.
const LAST: usize = 4;
/// Bytes after one instruction byte.
const RUN: usize = 32;
/// Bytes that one copy instruction covers.
const LONGEST: usize = 262;

/// What a channel takes of a transaction grows by this many thousandths of its LZ length ...
const SLOPE: u64 = 965;
/// ... less what columns and tables save of each.
const SAVED: u64 = 35;
/// The least that any transaction takes: its signature and a little.
const LEAST: u64 = 70;

/// Where each bucket's bytes stood last. Places count on from call to call, so that nothing has to be cleared.
struct Memory {
    seen: Box<[u32; BUCKETS]>,
    /// What the first byte of the running call counts as; what lies below is from calls before.
    base: u32,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::new(Memory { seen: Box::new([0; BUCKETS]), base: 0 });
}

impl Memory {
    /// Makes room for `length` places.
    fn begin(&mut self, length: u32) {
        if self.base.checked_add(length).is_none() {
            self.seen.fill(0);
            self.base = 0;
        }
    }

    fn end(&mut self, length: u32) {
        self.base += length;
    }

    /// Remembers a place; answers the one that stood there, the first if none did.
    fn replace(&mut self, three: u32, place: usize) -> usize {
        let bucket = (three.wrapping_mul(HASH_FACTOR) >> HASH_SHIFT) as usize;
        let before = std::mem::replace(&mut self.seen[bucket], self.base + place as u32);
        before.saturating_sub(self.base) as usize
    }
}

/// Three bytes, the first one lowest.
fn three(data: &[u8], at: usize) -> u32 {
    u32::from(data[at]) | u32::from(data[at + 1]) << 8 | u32::from(data[at + 2]) << 16
}

/// Length of a greedy LZ77 encoding with FastLZ's instructions, which nobody has to make.
pub(crate) fn lz_length(data: &[u8]) -> u64 {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    MEMORY.with_borrow_mut(|memory| {
        memory.begin(length);
        let total = encode(memory, data);
        memory.end(length);
        total as u64
    })
}

fn encode(memory: &mut Memory, data: &[u8]) -> usize {
    let limit = data.len().saturating_sub(TAIL);
    let (mut total, mut written, mut place) = (0, 0, 2);
    while let Some((found, source)) = find(memory, data, place, limit) {
        total += literals(found - written);
        let length = common(data, source + 3, found + 3);
        total += copies(length);
        for at in [found + length, found + length + 1] {
            memory.replace(three(data, at), at);
        }
        place = found + length + 2;
        written = place;
    }
    total + literals(data.len() - written)
}

/// The next place whose three bytes stood before, and where; every place on the way is remembered.
fn find(memory: &mut Memory, data: &[u8], from: usize, limit: usize) -> Option<(usize, usize)> {
    for place in from..limit {
        let bytes = three(data, place);
        let source = memory.replace(bytes, place);
        if place - source <= WINDOW && bytes == three(data, source) {
            // On the last place allowed it comes one step too late.
            return (place + 1 < limit).then_some((place, source));
        }
    }
    None
}

/// How many bytes are alike from two places on, the first unlike one counted.
fn common(data: &[u8], source: usize, place: usize) -> usize {
    let most = data.len() - LAST - place;
    let pairs = data[source..].iter().zip(&data[place..place + most]);
    let alike = pairs.take_while(|(a, b)| a == b).count();
    most.min(alike + 1)
}

fn literals(count: usize) -> usize {
    count + count.div_ceil(RUN)
}

fn copies(length: usize) -> usize {
    let (whole, rest) = ((length - 1) / LONGEST, (length - 1) % LONGEST);
    3 * whole + if rest >= 6 { 3 } else { 2 }
}

/// Bytes that a transaction is charged for.
pub(crate) fn data_size(raw: &[u8]) -> u64 {
    size_of_lz(lz_length(raw))
}

/// The same from the LZ length.
pub(crate) fn size_of_lz(length: u64) -> u64 {
    (length * SLOPE).div_ceil(1_000).saturating_sub(SAVED).max(LEAST)
}

/// `data_sizes` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn data_sizes(py: Python<'_>, raws: Vec<PyBackedBytes>) -> Vec<u64> {
    py.detach(|| raws.iter().map(|raw| data_size(raw)).collect())
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, MEMORY, data_size, lz_length};

    #[test]
    fn repetitions_are_short() {
        assert_eq!((lz_length(b""), lz_length(&[7; 1_000]), lz_length(&[0; 1_000])), (0, 21, 21));
    }

    #[test]
    fn what_ran_before_does_not_matter() {
        let data: Vec<u8> = (0..2_000u32).map(|i| (i * i / 7) as u8).collect();
        let first = lz_length(&data);
        lz_length(&data[500..]);
        assert_eq!(lz_length(&data), first);
        MEMORY.with_borrow_mut(|memory| memory.base = u32::MAX - 1_000);
        assert_eq!(lz_length(&data), first);
        assert_eq!(BUCKETS, 8_192);
    }

    #[test]
    fn the_least_is_charged_for_anything() {
        assert_eq!(data_size(b""), 70);
    }
}
