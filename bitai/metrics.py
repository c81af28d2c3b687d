"""Every number the node exports, in one table: name, kind, labels and meaning.

Labels are bounded by the code that sets them (a method, a stage, a reason code), never an address, a hash or
a text from outside: each label value is a time series kept for ever.
"""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from primitives.errors import InvariantViolation

PREFIX = "bitai_"
CONTENT_TYPE = CONTENT_TYPE_LATEST

# From a cache hit to a slow disk, in seconds.
_CALL_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# L2 blocks come every two seconds, Bitcoin's every ten minutes: what waits for Bitcoin waits for hours.
_CONFIRM_SECONDS = (1, 5, 15, 60, 300, 600, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)
_REORG_BLOCKS = (1, 2, 3, 4, 6, 8, 12, 24, 100)


@dataclass(frozen=True)
class MetricSpec:
    """One exported number; `name` is without the prefix."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: tuple[MetricSpec, ...] = (
    MetricSpec("build_info", "gauge", "Always 1; the labels say what runs", ("version", "network", "role")),
    MetricSpec("up", "gauge", "1 once the node is ready, 0 while it starts or stops"),
    MetricSpec("task_restarts_total", "counter", "Driver loops and child processes begun anew", ("task",)),
    # Bitcoin
    MetricSpec("l1_height", "gauge", "Bitcoin height: of the node, processed here", ("source",)),
    MetricSpec("l1_lag_blocks", "gauge", "Bitcoin blocks known but not yet processed"),
    MetricSpec("l1_reorg_depth", "histogram", "Blocks undone by each Bitcoin reorg", (), _REORG_BLOCKS),
    MetricSpec("l1_fee_rate_sat_vb", "gauge", "Fee rate the next inscription would pay, sats per vbyte"),
    MetricSpec("l1_wallet_balance_sats", "gauge", "Spendable sats of the batcher's wallet"),
    # L2
    MetricSpec("l2_height", "gauge", "L2 block number of each head: unsafe, safe, finalized", ("head",)),
    MetricSpec(
        "l2_block_build_seconds", "histogram", "Time to make or replay one L2 block", (), _CALL_SECONDS
    ),
    MetricSpec("l2_transactions_total", "counter", "Transactions by what became of them", ("outcome",)),
    MetricSpec(
        "sequencer_contradictions",
        "gauge",
        "Must read 0: statements of the sequencer kept as evidence, two blocks for one place",
    ),
    MetricSpec("mempool_transactions", "gauge", "Waiting transactions: pending, queued, parked", ("queue",)),
    MetricSpec("mempool_refused_total", "counter", "Transactions refused at the door", ("code",)),
    # inscriptions
    MetricSpec("inscriptions", "gauge", "Inscription rows by state", ("state",)),
    MetricSpec(
        "inscription_cost_sats_total", "counter", "Fees paid to Bitcoin for inscriptions that are final, sats"
    ),
    MetricSpec("derivation_dropped_total", "counter", "Envelopes and frames that nodes ignore", ("code",)),
    # inference
    MetricSpec(
        "infer_requests_total", "counter", "Model calls by tier and answer status", ("tier", "status")
    ),
    MetricSpec("infer_seconds", "histogram", "From dispatch to a verified answer", ("tier",), _CALL_SECONDS),
    MetricSpec("infer_waiting", "gauge", "Requests that wait for a neuron"),
    MetricSpec("infer_refused_total", "counter", "Answers of neurons that were not taken", ("code",)),
    MetricSpec("records_signed_unverified_total", "counter", "Must read 0: records signed before a check"),
    MetricSpec("neurons_connected", "gauge", "Neurons connected to this node"),
    # doors
    MetricSpec(
        "rpc_requests_total",
        "counter",
        "JSON-RPC calls by method and error code (0: none)",
        ("method", "code"),
    ),
    MetricSpec("rpc_request_seconds", "histogram", "Time of JSON-RPC calls", ("method",), _CALL_SECONDS),
    MetricSpec("rpc_websockets", "gauge", "Open JSON-RPC WebSockets"),
    MetricSpec("rpc_filters", "gauge", "Installed filters"),
    MetricSpec("faucet_requests_total", "counter", "Faucet requests", ("outcome",)),
    # storage
    MetricSpec("db_size_bytes", "gauge", "Size of the chain database on disk"),
)


class Metrics:
    """A registry of this node alone, so that two nodes in one process (a test) never share a number."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._families = {spec.name: _family(spec, self._registry) for spec in METRICS}

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        family = self._families[name]
        if not isinstance(family, Counter):
            raise _wrong_kind(name, "counter")
        (family.labels(**labels) if labels else family).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        family = self._families[name]
        if not isinstance(family, Gauge):
            raise _wrong_kind(name, "gauge")
        (family.labels(**labels) if labels else family).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put one value into a histogram."""
        family = self._families[name]
        if not isinstance(family, Histogram):
            raise _wrong_kind(name, "histogram")
        (family.labels(**labels) if labels else family).observe(value)

    def read(self, name: str, **labels: str) -> float | None:
        """The present value of a counter or gauge; for the status page and for tests."""
        return self._registry.get_sample_value(PREFIX + name, labels)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


def _family(spec: MetricSpec, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    name = PREFIX + spec.name
    if spec.kind == "histogram":
        return Histogram(name, spec.meaning, spec.labels, buckets=spec.buckets, registry=registry)
    if spec.kind == "counter":
        return Counter(name, spec.meaning, spec.labels, registry=registry)
    return Gauge(name, spec.meaning, spec.labels, registry=registry)


def _wrong_kind(name: str, kind: str) -> InvariantViolation:
    return InvariantViolation("metrics.wrong_kind", f"{name} is not a {kind}", metric=name)
