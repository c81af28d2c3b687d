"""Every method that a node answers, by name; the process adds its own."""

from collections.abc import Iterable
from typing import Any, Final

from regtest.node import Node
from regtest.rpc import (
    chain_methods,
    control_methods,
    mempool_methods,
    mining_methods,
    wallet_methods,
)
from regtest.rpc.method import Method
from regtest.rpc.parameters import STRING, Arguments, Param

GROUPS: Final = {
    "Blockchain": chain_methods.METHODS,
    "Mempool": mempool_methods.METHODS,
    "Mining": mining_methods.METHODS,
    "Faucet": wallet_methods.METHODS,
    "Control": control_methods.METHODS,
}


def with_help(methods: Iterable[Method]) -> dict[str, Method]:
    """Return methods by name, and with them `help`, which knows them all."""
    known = {method.name: method for method in methods}

    def help_text(_node: Node, args: Arguments) -> Any:
        """List all calls, or describe one."""
        name = args.text("command")
        if not name:
            return overview(known)
        method = known.get(name)
        return f"help: unknown command: {name[:80]}" if method is None else method.help

    known["help"] = Method("help", help_text, (Param("command", STRING, ""),))
    return known


def overview(methods: dict[str, Method]) -> str:
    """Return every call's usage under the heading of its group."""
    lines = []
    for group, members in GROUPS.items():
        lines.append(f"== {group} ==")
        lines += sorted(method.usage for method in members)
        lines.append("")
    known = {method.name for members in GROUPS.values() for method in members}
    lines.append("== Server ==")
    lines += sorted(method.usage for name, method in methods.items() if name not in known)
    return "\n".join(lines)


METHODS: Final = with_help(method for members in GROUPS.values() for method in members)
