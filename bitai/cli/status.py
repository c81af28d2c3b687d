"""`bitai-node status`: ask the running node."""

from typing import Any

import click
from click.exceptions import Exit

from bitai.cli.command import NodeCommand, datadir_options, emit, table
from bitai.cli.exit_codes import ExitCode
from bitai.cli.settings import datadir_of


@click.command(cls=NodeCommand, examples=("bitai-node status", "bitai-node status --json | jq .heads.safe"))
@datadir_options
def status(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Show what the running node does.

    Heads, Bitcoin, inscriptions, models and addresses; exit code 4 while the node is not ready.
    """
    from bitai.node_client import NodeClient

    answer = NodeClient(datadir_of(network=network, datadir=datadir)).get("/status")
    emit(answer, as_json=as_json, text=_text(answer))
    if not answer["readiness"]["ready"]:
        raise Exit(ExitCode.NOT_READY)


def _text(answer: dict[str, Any]) -> str:
    ready = answer["readiness"]
    state = "ready" if ready["ready"] else f"not ready: {'; '.join(ready['reasons'])}"
    bitcoin = answer["l1"]
    rows: list[tuple[object, ...]] = [
        ("node", f"{answer['version']}, {answer['role']} on {answer['network']}, {state}"),
        (
            "chain",
            f"{answer['chain_id']} ({answer['config_identity']})" if answer["chain_id"] else "not opened yet",
        ),
        ("bitcoin", _bitcoin(bitcoin)),
    ]
    if answer["scratch"] is not None:
        told = f"blocks above {answer['scratch']} are this node's own, Bitcoin is not followed"
        rows.append(("scratch", f"{told}; leave: bitai-node dev reset"))
    rows += [(name, f"{head['number']} {head['hash']}") for name, head in answer["heads"].items()]
    rows += [
        ("mempool", ", ".join(f"{count} {queue}" for queue, count in answer["mempool"].items()) or "empty")
    ]
    rows += [("inscribed", _inscription(row)) for row in answer["inscriptions"][:3]]
    rows += [("model", f"{item['name']} ({item['tier']}) {item['model_id']}") for item in answer["models"]]
    rows += list(answer["urls"].items())
    return table(rows)


def _bitcoin(bitcoin: dict[str, Any]) -> str:
    if not bitcoin["connected"]:
        return f"not connected to {bitcoin['url']}"
    return f"height {bitcoin['height']}, processed {bitcoin['processed_height']}, {bitcoin['url']}"


def _inscription(row: dict[str, Any]) -> str:
    cost = f", {row['cost_sats']} sats" if row["cost_sats"] is not None else ""
    reveal = row["reveal_txid"] or "not sent"
    return f"{row['kind']} {row['state']}, {row['payload_bytes']} B{cost}, reveal {reveal}"
