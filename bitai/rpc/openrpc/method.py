"""One method of the document: what it takes, what it gives, how it may fail, and an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from bitai.rpc.openrpc.schemas import Schema

ERRORS: Final[dict[str, tuple[int, str]]] = {
    "params": (-32602, "a parameter is missing, superfluous or has the wrong form"),
    "unknown block": (-32000, "header not found"),
    "pruned": (4444, "pruned history unavailable: the state of this block is no longer kept"),
    "refused": (-32000, "what the input or the transaction is to blame for, in the words that clients match"),
    "filter": (-32000, "filter not found"),
    "slow": (-32002, "no neuron or sequencer answers; try again"),
    "limit": (-32005, "more than a limit of the node allows; the message names the setting"),
    "reverted": (3, "execution reverted, with its data"),
    "not yet": (4, "no block took the transaction in time; its hash is the data"),
    "simulation": (-38010, "-38010 to -38026: what no block could hold, as geth's eth_simulateV1 tells it"),
}
"""By the name that methods are described with: code, and what it means."""


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter, by position."""

    name: str
    schema: Schema
    required: bool = True


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """A method; `errors` are names in ERRORS beside "params", `example` is parameters and a result."""

    name: str
    summary: str
    params: tuple[Param, ...]
    result: Schema
    errors: tuple[str, ...]
    example: tuple[list[Any], Any]

    def to_object(self) -> dict[str, Any]:
        """Return it as the document shows it."""
        asked, given = self.example
        return {
            "name": self.name,
            "summary": self.summary,
            "paramStructure": "by-position",
            "params": [
                {"name": each.name, "required": each.required, "schema": each.schema} for each in self.params
            ],
            "result": {"name": "result", "schema": self.result},
            "errors": [
                {"code": code, "message": words}
                for code, words in (ERRORS[each] for each in ("params", *self.errors))
            ],
            "examples": [
                {
                    "name": "example",
                    "params": [
                        {"name": each.name, "value": value}
                        for each, value in zip(self.params, asked, strict=False)
                    ],
                    "result": {"name": "result", "value": given},
                }
            ],
        }


def optional(name: str, schema: Schema) -> Param:
    """Return a parameter that may be left out."""
    return Param(name, schema, required=False)
