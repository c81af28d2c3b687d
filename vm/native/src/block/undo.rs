//! The way back from a block: the former values of the keys it writes.
//!
//! Layout: version byte 1, then for each key, in order: key length (u8), key, value length + 1 (u32 big-endian; 0
//! means that the key was absent), value. docs/spec/block.md.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::error::{Failure, Result};
use crate::state::changes::KeyChange;

const VERSION: u8 = 1;

/// Encodes the former values of changed keys.
pub(crate) fn encode(changes: &[KeyChange]) -> Vec<u8> {
    let size =
        |change: &KeyChange| 5 + change.key.len() + change.before.as_ref().map_or(0, |value| value.len());
    let mut out = Vec::with_capacity(1 + changes.iter().map(size).sum::<usize>());
    out.push(VERSION);
    for change in changes {
        put(&mut out, &change.key, change.before.as_ref().map(|value| value.as_ref()));
    }
    out
}

/// The way back over two changes: where both name a key, the earlier one's value wins.
pub(crate) fn merge(earlier: &[u8], later: &[u8]) -> Result<Vec<u8>> {
    let mut entries: BTreeMap<_, _> = decode(later)?.into_iter().collect();
    entries.extend(decode(earlier)?);
    let mut out = vec![VERSION];
    for (key, value) in entries {
        put(&mut out, key, value);
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    out.push(key.len() as u8);
    out.extend_from_slice(key);
    match value {
        None => out.extend_from_slice(&[0; 4]),
        Some(value) => {
            out.extend_from_slice(&(value.len() as u32 + 1).to_be_bytes());
            out.extend_from_slice(value);
        }
    }
}

/// A key and its former value.
pub(super) type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

pub(super) fn decode(blob: &[u8]) -> Result<Vec<Entry<'_>>> {
    let malformed = || Failure::new("undo.malformed", "not undo data");
    let mut rest = blob.strip_prefix(&[VERSION]).ok_or_else(malformed)?;
    let mut entries = Vec::new();
    while let Some((key_length, tail)) = rest.split_first() {
        let (key, tail) = tail.split_at_checked((*key_length).into()).ok_or_else(malformed)?;
        let (length, tail) = tail.split_first_chunk::<4>().ok_or_else(malformed)?;
        let (value, tail) = match u32::from_be_bytes(*length) {
            0 => (None, tail),
            length => {
                let (value, tail) = tail.split_at_checked(length as usize - 1).ok_or_else(malformed)?;
                (Some(value), tail)
            }
        };
        entries.push((key, value));
        rest = tail;
    }
    Ok(entries)
}

/// `decode_undo` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn decode_undo<'py>(py: Python<'py>, blob: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (key, value) in decode(blob)? {
        list.append((PyBytes::new(py, key), value.map(|value| PyBytes::new(py, value))))?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::state::changes::KeyChange;
    use alloy_primitives::Bytes;

    fn change(key: &[u8], before: Option<&'static [u8]>) -> KeyChange {
        KeyChange { key: key.to_vec(), before: before.map(Bytes::from_static), after: None }
    }

    #[test]
    fn what_was_encoded_decodes() {
        let blob = encode(&[change(b"a", None), change(b"bc", Some(b"")), change(b"d", Some(b"xyz"))]);
        let expected: Vec<(&[u8], Option<&[u8]>)> =
            vec![(b"a", None), (b"bc", Some(b"")), (b"d", Some(b"xyz"))];
        assert_eq!(decode(&blob).unwrap(), expected);
    }

    #[test]
    fn truncated_data_is_refused() {
        let blob = encode(&[change(b"bc", Some(b"xyz"))]);
        for length in (0..blob.len()).filter(|length| *length != 1) {
            assert!(decode(&blob[..length]).is_err(), "{length}");
        }
    }
}
