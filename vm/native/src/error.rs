//! How the core fails: with a stable code, or with the exception of a callback.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use revm::database_interface::DBErrorMarker;

/// A failure on its way to Python.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The state moved under a reader; the caller starts again from the new state.
    Stale,
    /// A rule of the contract in `vm/_core.pyi` with its code.
    Core { code: &'static str, message: String },
    /// An exception raised by a callback, handed on unchanged.
    Python(PyErr),
}

/// Result of everything that reads state or asks the host.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self::Core { code, message: message.into() }
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new("core.corrupt_state", message)
    }

    pub(crate) fn order(message: impl Into<String>) -> Self {
        Self::new("core.order", message)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stale => f.write_str("core.stale: the state moved"),
            Self::Core { code, message } => write!(f, "{code}: {message}"),
            Self::Python(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Failure {}

// Lets revm carry a failed read through a running transaction.
impl DBErrorMarker for Failure {}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Stale => core_error("core.stale", "the state moved under this executor"),
            Failure::Core { code, message } => core_error(code, &message),
            Failure::Python(error) => error,
        }
    }
}

/// Makes the Python exception for a code.
pub(crate) fn core_error(code: &str, message: &str) -> PyErr {
    PyErr::new::<CoreError, _>((code.to_owned(), message.to_owned()))
}

/// Error of the core with a stable code.
#[pyclass(extends = PyException, frozen, module = "vm._core")]
pub(crate) struct CoreError {
    #[pyo3(get)]
    code: String,
    #[pyo3(get)]
    message: String,
}

#[pymethods]
impl CoreError {
    #[new]
    fn new(code: String, message: String) -> Self {
        Self { code, message }
    }

    fn __str__(&self) -> String {
        format!("{}: {}", self.code, self.message)
    }
}
