"""Tell which batch on Bitcoin holds a block: from what derivation noted of each L1 block, so on every node alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from primitives.bitcoin.envelope import EnvelopeKind

if TYPE_CHECKING:
    from bitai.chain_rows import ChainRows
    from bitai.inscriptions import InscriptionView


def batch_of(
    rows: ChainRows, number: int, *, window: int, inscriptions: InscriptionView | None
) -> dict[str, Any] | None:
    """Return the channel that made a block safe and its frames; None for a block that needed none, or is not safe.

    `window`: L1 blocks within which a channel's frames arrive. `inscriptions` adds what this node knows of its own.
    """
    height = rows.safe_at(number)
    outcome = None if height is None else rows.outcome(height)
    if height is None or outcome is None:
        return None
    channel = next((each for each in outcome["channels"] if _holds(each, number)), None)
    if channel is None:
        return None
    own = () if inscriptions is None else inscriptions.covering(number)
    return {
        "channel": hex(channel["number"]),
        "firstBlock": hex(channel["first_block"]),
        "lastBlock": hex(channel["first_block"] + channel["accepted"] - 1),
        "l1Height": height,
        "l1Hash": outcome["hash"],
        "frames": _frames(rows, channel["number"], range(max(0, height - window), height + 1)),
        "inscriptions": [{"commitTxid": each.commit_txid, "revealTxid": each.reveal_txid} for each in own],
    }


def _holds(channel: dict[str, Any], number: int) -> bool:
    first = channel["first_block"]
    return bool(first <= number < first + channel["accepted"])


def _frames(rows: ChainRows, number: int, heights: range) -> list[dict[str, Any]]:
    """Return where a channel's frames stand on Bitcoin, oldest first."""
    found: list[dict[str, Any]] = []
    for height in heights:
        outcome = rows.outcome(height)
        for each in outcome["envelopes"] if outcome is not None else ():
            if (each["kind"], each["number"], each["code"]) == (EnvelopeKind.BATCH_FRAME, number, ""):
                place = {"l1Height": height, "l1Hash": outcome["hash"] if outcome is not None else ""}
                found.append(place | {"txIndex": each["tx_index"], "frame": each["piece"]})
    return found
