//! Hashes and roots that Python asks for in bulk.

use alloy_primitives::keccak256;
use alloy_trie::root::ordered_trie_root_encoded;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};

/// `keccak256` of `vm/_core.pyi`.
#[pyfunction(name = "keccak256")]
pub(crate) fn keccak256_one<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, keccak256(data).as_slice())
}

/// `keccak256_many` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn keccak256_many(py: Python<'_>, items: Vec<PyBackedBytes>) -> PyResult<Bound<'_, PyList>> {
    let hashes: Vec<_> = py.detach(|| items.iter().map(|item| keccak256(&**item)).collect());
    PyList::new(py, hashes.iter().map(|hash| PyBytes::new(py, hash.as_slice())))
}

/// `ordered_root` of `vm/_core.pyi`.
#[pyfunction]
pub(crate) fn ordered_root(py: Python<'_>, items: Vec<PyBackedBytes>) -> Bound<'_, PyBytes> {
    let root = py.detach(|| ordered_trie_root_encoded(&items));
    PyBytes::new(py, root.as_slice())
}
