"""Metrics: one table, own registry, and names used in code that exist."""

import ast
from pathlib import Path

import pytest

from bitai.metrics import METRICS, PREFIX, Metrics
from primitives.errors import InvariantViolation

ROOT = Path(__file__).resolve().parents[2]


def test_every_metric_is_exported_with_its_meaning():
    """Each row of the table is a family in the exposition, named by the house's prefix."""
    text = Metrics().exposition().decode()
    for spec in METRICS:
        assert f"# HELP {PREFIX}{spec.name} {spec.meaning}" in text
    names = [spec.name for spec in METRICS]
    assert len(names) == len(set(names))


def test_counters_end_in_total_and_units_are_named():
    """Names follow Prometheus' habits, so that dashboards read them without a manual."""
    for spec in METRICS:
        assert spec.name.endswith("_total") == (spec.kind == "counter"), spec.name
        assert bool(spec.buckets) == (spec.kind == "histogram"), spec.name


def test_two_nodes_share_no_number():
    """Each node has a registry of its own."""
    first, second = Metrics(), Metrics()
    first.count("faucet_requests_total", outcome="paid")
    assert first.read("faucet_requests_total", outcome="paid") == 1
    assert second.read("faucet_requests_total", outcome="paid") is None


def test_kinds_are_not_mixed():
    """Counting a gauge is a bug, and says so."""
    metrics = Metrics()
    metrics.set("up", 1)
    metrics.observe("l2_block_build_seconds", 0.1)
    with pytest.raises(InvariantViolation, match=r"metrics\.wrong_kind"):
        metrics.count("up")
    with pytest.raises(InvariantViolation, match=r"metrics\.wrong_kind"):
        metrics.set("rpc_requests_total", 1)
    with pytest.raises(InvariantViolation, match=r"metrics\.wrong_kind"):
        metrics.observe("up", 1)


def test_names_in_code_exist():
    """A misspelt metric name would stop a driver at run time; this finds it before."""
    known = {spec.name for spec in METRICS}
    used = {
        node.args[0].value
        for path in (ROOT / "bitai").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"count", "set", "observe"}
        and ast.unparse(node.func.value).endswith("metrics")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert used <= known
