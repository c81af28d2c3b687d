"""What a model file would mean to the chain, told before anything is paid."""

from dataclasses import dataclass
from typing import Final

from vm.inference.analyse import MAX_ON_CHAIN_MACS
from vm.inference.artifact import parse_artifact
from vm.inference.manifest import Tier
from vm.inference.tensors import TensorType

# Witness bytes weigh a quarter; commit, outputs and signatures add about this many vbytes to an inscription.
_WITNESS_PER_VBYTE: Final = 4
_OVERHEAD_VBYTES: Final = 320
_PAYLOAD_PER_ENVELOPE: Final = 395_000


@dataclass(frozen=True)
class LayerReport:
    """One node of the graph, in execution order."""

    op: str
    output: str


@dataclass(frozen=True)
class ModelReport:
    """A checked model: `inscribed_bytes` go to Bitcoin, `inscription_vbytes` are about what is paid for."""

    model_id: str
    name: str
    licence: str
    tier: str
    macs: int
    block_share_percent: int | None
    input_bytes: int
    output_bytes: int
    file_bytes: int
    inscribed_bytes: int
    inscription_vbytes: int
    witness_bytes: int
    layers: tuple[LayerReport, ...]


def describe_model(data: bytes) -> ModelReport:
    """Check a model file whole and describe it; raises InvalidInput `model.*` naming what is not accepted."""
    artifact = parse_artifact(data)
    manifest, graph, analysis = artifact.manifest, artifact.graph, artifact.analysis
    on_chain = manifest.tier is Tier.ON_CHAIN
    inscribed = len(data) if on_chain else len(data) - len(artifact.weights)
    values = analysis.values[len(graph.inputs) :]
    return ModelReport(
        model_id="0x" + artifact.model_id.hex(),
        name=manifest.name,
        licence=manifest.licence,
        tier="on-chain" if on_chain else "neuron",
        macs=manifest.macs,
        block_share_percent=-(-manifest.macs * 100 // MAX_ON_CHAIN_MACS) if on_chain else None,
        input_bytes=manifest.input_bytes,
        output_bytes=manifest.output_bytes,
        file_bytes=len(data),
        inscribed_bytes=inscribed,
        inscription_vbytes=_vbytes(inscribed),
        witness_bytes=analysis.witness_bytes,
        layers=tuple(
            LayerReport(node.op.name.lower(), _shape(value))
            for node, value in zip(graph.nodes, values, strict=True)
        ),
    )


def _vbytes(payload_bytes: int) -> int:
    envelopes = -(-payload_bytes // _PAYLOAD_PER_ENVELOPE)
    return -(-payload_bytes // _WITNESS_PER_VBYTE) + envelopes * _OVERHEAD_VBYTES


def _shape(tensor: TensorType) -> str:
    return f"{tensor.dtype.name.lower()} {' x '.join(str(size) for size in tensor.shape)}"
