//! Python integers and byte strings as EVM words, and back.

use alloy_primitives::{Address, B256, Bytes, U256};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyInt};

/// A Python integer that fits 256 bits.
#[derive(Clone, Copy)]
pub(crate) struct Int(pub(crate) U256);

impl<'a, 'py> FromPyObject<'a, 'py> for Int {
    type Error = PyErr;

    fn extract(obj: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(small) = obj.extract::<u128>() {
            return Ok(Self(U256::from(small)));
        }
        let int = obj.cast::<PyInt>()?;
        let bytes: [u8; 32] = int
            .call_method1("to_bytes", (32, "big"))
            .map_err(|_| PyValueError::new_err("integer is negative or exceeds 256 bits"))?
            .extract()?;
        Ok(Self(U256::from_be_bytes(bytes)))
    }
}

impl<'py> IntoPyObject<'py> for Int {
    type Target = PyInt;
    type Output = Bound<'py, PyInt>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyInt>> {
        if let Ok(small) = u64::try_from(self.0) {
            return Ok(small.into_pyobject(py)?);
        }
        if let Ok(medium) = u128::try_from(self.0) {
            return Ok(medium.into_pyobject(py)?);
        }
        let bytes = PyBytes::new(py, &self.0.to_be_bytes::<32>());
        let int = py.get_type::<PyInt>().call_method1("from_bytes", (bytes, "big"))?;
        Ok(int.cast_into::<PyInt>()?)
    }
}

/// A Python `bytes` of 20 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Addr(pub(crate) Address);

impl<'a, 'py> FromPyObject<'a, 'py> for Addr {
    type Error = PyErr;

    fn extract(obj: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let bytes = obj.cast::<PyBytes>()?;
        match Address::try_from(bytes.as_bytes()) {
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(PyValueError::new_err("an address has 20 bytes")),
        }
    }
}

/// A Python `bytes` of 32 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Hash(pub(crate) B256);

impl<'a, 'py> FromPyObject<'a, 'py> for Hash {
    type Error = PyErr;

    fn extract(obj: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let bytes = obj.cast::<PyBytes>()?;
        match B256::try_from(bytes.as_bytes()) {
            Ok(hash) => Ok(Self(hash)),
            Err(_) => Err(PyValueError::new_err("a hash or slot has 32 bytes")),
        }
    }
}

/// Byte string of any length.
#[derive(Clone)]
pub(crate) struct Blob(pub(crate) Bytes);

impl<'a, 'py> FromPyObject<'a, 'py> for Blob {
    type Error = PyErr;

    fn extract(obj: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let bytes = obj.extract::<PyBackedBytes>()?;
        Ok(Self(Bytes::copy_from_slice(&bytes)))
    }
}

/// Address bytes for Python, None where there is no address.
pub(crate) fn optional_bytes<'py>(py: Python<'py>, bytes: Option<&[u8]>) -> Option<Bound<'py, PyBytes>> {
    bytes.map(|bytes| PyBytes::new(py, bytes))
}
