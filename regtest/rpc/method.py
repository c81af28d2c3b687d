"""One callable of the JSON-RPC."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from regtest.node import Node
from regtest.rpc.parameters import REQUIRED, Arguments, Param

Handler: TypeAlias = Callable[[Node, Arguments], Any]
"""Returns what JSON can hold; raises RpcError and the project's errors."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method's name, its parameters in order, and what it does; the handler's docstring is its help."""

    name: str
    handler: Handler
    params: tuple[Param, ...] = ()

    @property
    def usage(self) -> str:
        """Return name and parameters, optional ones in brackets."""
        shown = [param.name if param.default is REQUIRED else f"[{param.name}]" for param in self.params]
        return " ".join([self.name, *shown])

    @property
    def help(self) -> str:
        """Return usage and description."""
        return f"{self.usage}\n\n{self.handler.__doc__ or ''}".strip()
