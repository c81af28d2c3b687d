//! Commitment to the inference records of a block.

use alloy_primitives::B256;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use sha2::{Digest, Sha256};

use crate::convert::Hash;

/// Type byte of the request that carries the root (EIP-7685).
pub(crate) const RECORDS_REQUEST_TYPE: u8 = 0xba;

fn sha256(parts: &[&[u8]]) -> B256 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    B256::from_slice(&hasher.finalize())
}

/// Root of the tree over records: RFC 9162's, leaf prefix 0, node prefix 1; the hash of nothing for none.
pub(crate) fn root<T: AsRef<[u8]>>(records: &[T]) -> B256 {
    match records {
        [] => sha256(&[]),
        [one] => sha256(&[&[0], one.as_ref()]),
        many => {
            let split = many.len().next_power_of_two() / 2;
            sha256(&[&[1], root(&many[..split]).as_slice(), root(&many[split..]).as_slice()])
        }
    }
}

/// The header's requests hash: of one request, or of none.
pub(crate) fn requests(root: Option<&B256>) -> B256 {
    match root {
        None => sha256(&[]),
        Some(root) => sha256(&[sha256(&[&[RECORDS_REQUEST_TYPE], root.as_slice()]).as_slice()]),
    }
}

/// `records_root` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn records_root(py: Python<'_>, records: Vec<PyBackedBytes>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, root(&records).as_slice())
}

/// `requests_hash` of `vm/_core.pyi`.
#[pyfunction]
#[pyo3(signature = (root))]
pub(crate) fn requests_hash(py: Python<'_>, root: Option<Hash>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, requests(root.as_ref().map(|root| &root.0)).as_slice())
}
