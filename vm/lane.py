"""The question that execution asks a model: a port, so that the machine knows no tensors."""

from typing import Protocol

from primitives.ids import ModelId


class InferenceLane(Protocol):
    """Runs the models that every node runs, and says what a manifest says of a request to any model.

    Both methods are total functions of the registered model and the arguments; status is that of
    `docs/spec/infer.md`. Only a model whose artifact is missing although the chain registered it raises:
    InvariantViolation `model.artifact_missing`.
    """

    def run_on_chain(
        self, model_id: ModelId, input_bytes: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        """Return (status, output) of an on-chain model; the output is empty unless the status is OK."""
        ...

    def check(self, model_id: ModelId, input_bytes: bytes, params: bytes, max_output: int) -> int:
        """Return OK if a neuron must be asked, else the status that needs nobody's word."""
        ...
