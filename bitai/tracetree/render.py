"""Draw a transaction's call tree as lines, in the manner of forge's -vvvv, and count what INFER cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bitai.tracetree.abi import arguments, event_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bitai.tracetree.artifacts import Artifacts

MAX_LINES: Final = 20_000
MAX_HEX: Final = 138
"""Characters of undecoded data that are shown: a selector and two words."""


@dataclass(frozen=True, slots=True)
class Names:
    """What is known: artifacts, and contracts by their address (lower case)."""

    artifacts: Artifacts
    contracts: Mapping[str, str]

    def of(self, address: str | None) -> str:
        """Return a contract's name, or its address."""
        return self.contracts.get((address or "").lower(), address or "new")


def addresses_of(frame: dict[str, Any]) -> set[str]:
    """Return the addresses that are called or created in a tree."""
    found: set[str] = set()
    frames = [frame]
    while frames:
        each = frames.pop()
        if each.get("to"):
            found.add(str(each["to"]).lower())
        frames += each.get("calls", [])
    return found


def draw(frame: dict[str, Any], names: Names) -> list[str]:
    """Return the lines of a tree; `frame` is callTracer's, with logs. A very long one is cut."""
    lines: list[str] = []
    for line in _lines(frame, names):
        if len(lines) == MAX_LINES:
            return [*lines, f"… (cut after {MAX_LINES} lines)"]
        lines.append(line)
    return lines


def _lines(root: dict[str, Any], names: Names) -> Iterator[str]:
    """Walk the tree without recursion: calls nest a thousand deep."""
    yield _title(root, names)
    stack: list[tuple[str, Iterator[tuple[str, Any]]]] = [("", _parts(root))]
    while stack:
        indent, parts = stack[-1]
        part = next(parts, None)
        if part is None:
            stack.pop()
            continue
        kind, content = part
        if kind == "call":
            yield f"  {indent}├─ {_title(content, names)}"
            if "infer" not in content:
                stack.append((indent + "│   ", _parts(content)))
        elif kind == "log":
            yield f"  {indent}├─ {_log(content, names)}"
        else:
            yield f"  {indent}└─ {_end(content, names)}"


def _parts(frame: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield calls and logs as they came, then the end; a log says how many calls were before it."""
    calls = frame.get("calls", [])
    logs = sorted(frame.get("logs", []), key=lambda each: int(each.get("index", "0x0"), 16))
    for place, call in enumerate(calls):
        while logs and int(logs[0].get("position", "0x0"), 16) <= place:
            yield "log", logs.pop(0)
        yield "call", call
    for log in logs:
        yield "log", log
    yield "end", frame


def _title(frame: dict[str, Any], names: Names) -> str:
    gas = int(frame["gasUsed"], 16)
    if "infer" in frame:
        return f"[{gas}] {infer_row(frame['infer'])}"
    to, data = names.of(frame.get("to")), bytes.fromhex(frame["input"][2:])
    kind = frame["type"]
    if kind.startswith("CREATE"):
        return f"[{gas}] → new {to}@{frame.get('to', '?')} ({len(data)} bytes of init code)"
    if kind == "SELFDESTRUCT":
        return f"[{gas}] SELFDESTRUCT to {to}"
    value = int(frame.get("value") or "0x0", 16)
    paid = f"{{value: {value}}}" if value and kind != "DELEGATECALL" else ""
    how = "" if kind == "CALL" else f" [{kind.lower()}]"
    return f"[{gas}] {to}::{_called(data, names)}{paid}{how}"


def _called(data: bytes, names: Names) -> str:
    function = names.artifacts.functions.get(data[:4])
    if function is not None:
        told = arguments(function.inputs, data[4:])
        if told is not None:
            return f"{function.name}({told})"
    if not data:
        return "receive()"
    return f"{data[:4].hex()}({data[4:].hex()[:MAX_HEX]})" if len(data) >= 4 else f"fallback({data.hex()})"


def infer_row(note: dict[str, Any]) -> str:
    """Return a model call as its own row."""
    macs = f", {int(note['macs'], 16)} MACs" if "macs" in note else ""
    return f"INFER {note['tier'] or 'unknown'} model {note['model']}{macs} → {note['status']}"


def _log(log: dict[str, Any], names: Names) -> str:
    topics, data = [bytes.fromhex(each[2:]) for each in log["topics"]], bytes.fromhex(log["data"][2:])
    event = names.artifacts.events.get(topics[0]) if topics else None
    if event is not None:
        told = event_arguments(event, topics[1:], data)
        if told is not None:
            return f"emit {event.name}({told})"
    shown = ", ".join("0x" + each.hex() for each in topics)
    return f"emit log [{shown}] 0x{data.hex()[:MAX_HEX]}"


def _end(frame: dict[str, Any], names: Names) -> str:
    output = bytes.fromhex(frame.get("output", "0x")[2:])
    if "error" in frame:
        return f"← [{_failure(frame, output, names)}]"
    if frame["type"].startswith("CREATE"):
        return f"← [Return] {len(output)} bytes of code"
    if not output:
        return "← [Stop]"
    function = names.artifacts.functions.get(bytes.fromhex(frame["input"][2:10]))
    told = arguments(function.outputs, output) if function is not None and function.outputs else None
    return f"← [Return] {told if told is not None else '0x' + output.hex()[:MAX_HEX]}"


def _failure(frame: dict[str, Any], output: bytes, names: Names) -> str:
    if frame["error"] != "execution reverted":
        return str(frame["error"])
    error = names.artifacts.errors.get(output[:4])
    told = arguments(error.inputs, output[4:]) if error is not None else None
    if error is not None and told is not None:
        return f"Revert: {error.name}({told})"
    return "Revert" + (f": 0x{output.hex()[:MAX_HEX]}" if output else "")


def infer_report(frame: dict[str, Any]) -> str:
    """Return one line: how many model calls there were, and their part of the transaction's gas."""
    notes: list[dict[str, Any]] = []
    frames = [frame]
    while frames:
        each = frames.pop()
        if "infer" in each:
            notes.append(each["infer"])
        frames += each.get("calls", [])
    gas, total = sum(int(each["gas"], 16) for each in notes), int(frame["gasUsed"], 16)
    share = 100 * gas / total if total else 0.0
    return f"gas {total}, of it INFER {gas} in {len(notes)} calls ({share:.1f} %), other {total - gas}"
