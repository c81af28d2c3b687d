"""`bitai-node model`: what can be asked, and whether a file could become a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitai.cli.command import NodeCommand, datadir_options, emit, table
from bitai.cli.settings import datadir_of
from primitives.errors import InvalidInput, Rejected, Temporary

if TYPE_CHECKING:
    from bitai.model_file import ModelReport

_MAX_FILE_BYTES = 512 * 1024 * 1024


@click.group()
def model() -> None:
    """Models of the running chain, and checks of model files."""


@model.command("ls", cls=NodeCommand, examples=("bitai-node model ls", "bitai-node model ls --json"))
@datadir_options
def list_models(*, network: str | None, datadir: str | None, as_json: bool) -> None:
    """List the models that contracts can ask."""
    found = _models(network, datadir)
    rows = [(item["name"], item["tier"], _callable(item), item["model_id"]) for item in found]
    text = table(rows, head=("name", "tier", "callable", "id")) if rows else "no models registered"
    emit({"models": found}, as_json=as_json, text=text)


@model.command(
    cls=NodeCommand,
    examples=("bitai-node model show digits-onchain", "bitai-node model show digits-neuron --json"),
)
@click.argument("name_or_id")
@datadir_options
def show(*, name_or_id: str, network: str | None, datadir: str | None, as_json: bool) -> None:
    """Show one model: cost, sizes, who answers, and how many neurons have proved its weights."""
    found = [item for item in _models(network, datadir) if _is_meant(item, name_or_id)]
    if not found:
        raise Rejected("model.unknown", f"no model '{name_or_id}' is registered", fix="bitai-node model ls")
    if len(found) > 1:
        why = "several have this name: " + ", ".join(item["model_id"] for item in found)
        raise Rejected("model.ambiguous", f"'{name_or_id}' is not one model", why=why)
    emit(found[0], as_json=as_json, text=table(list(found[0].items())))


@model.command(
    cls=NodeCommand,
    examples=("bitai-node model check digits.bitai", "bitai-node model check digits.bitai --fee-rate 4.5"),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--fee-rate", type=float, default=1.0, show_default=True, help="Fee rate to reckon with, sat/vB."
)
def check(*, file: Path, fee_rate: float, as_json: bool) -> None:
    """Check a model file and tell its layers, its cost, and what writing it into Bitcoin would take."""
    from bitai.model_file import describe_model

    report = describe_model(_read(file))
    fee_sats = round(report.inscription_vbytes * fee_rate)
    content = {name: getattr(report, name) for name in report.__dataclass_fields__} | {
        "inscription_sats": fee_sats
    }
    content["layers"] = [{"op": layer.op, "output": layer.output} for layer in report.layers]
    emit(content, as_json=as_json, text=_text(report, fee_sats=fee_sats, fee_rate=fee_rate))


def _models(network: str | None, datadir: str | None) -> list[dict[str, Any]]:
    from bitai.node_client import NodeClient

    answer = NodeClient(datadir_of(network=network, datadir=datadir)).get("/status")
    found: list[dict[str, Any]] = answer["models"]
    if not found and not answer["readiness"]["ready"]:
        why = "; ".join(answer["readiness"]["reasons"])
        raise Temporary(
            "node.not_ready", "the node cannot tell its models yet", why=why, fix="bitai-node status"
        )
    return found


def _is_meant(item: dict[str, Any], name_or_id: str) -> bool:
    return name_or_id in {item["name"], item["model_id"]} or (
        len(name_or_id) >= 8 and item["model_id"].startswith(name_or_id)
    )


def _callable(item: dict[str, Any]) -> str:
    return "yes" if item["callable"] else f"no: {item['reason']}"


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise InvalidInput("model.file", f"{file} is larger than {_MAX_FILE_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(
            "model.file", f"{file} cannot be read", why=error.strerror or str(error), fix=f"ls -l {file}"
        ) from error


def _text(report: "ModelReport", *, fee_sats: int, fee_rate: float) -> str:
    share = f", {report.block_share_percent} % of a block" if report.block_share_percent is not None else ""
    layers = table([("", index, layer.op, layer.output) for index, layer in enumerate(report.layers)])
    facts = table(
        [
            ("model", f"{report.name} ({report.licence})"),
            ("id", report.model_id),
            ("tier", report.tier),
            ("work", f"{report.macs:,} MACs{share}"),
            ("input", f"{report.input_bytes:,} B"),
            ("output", f"{report.output_bytes:,} B"),
            ("file", f"{report.file_bytes:,} B, of which {report.inscribed_bytes:,} B go into Bitcoin"),
            (
                "inscription",
                f"about {report.inscription_vbytes:,} vB, {fee_sats:,} sats at {fee_rate:g} sat/vB",
            ),
            ("dispute", f"at most {report.witness_bytes:,} B to open one element"),
        ]
    )
    return f"{facts}\nlayers, all supported:\n{layers}"
