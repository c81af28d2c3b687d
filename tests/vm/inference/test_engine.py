"""The engine is total: every input has a status, and only OK has an output."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vm.inference.small_model import small_artifact
from vm.inference.engine import BAD_INPUT, check_request, run
from vm.inference.wire import Status

ARTIFACT = small_artifact()
SIZE = 7


def test_output_is_class_then_probabilities():
    """Output tensors are joined in the manifest's order, big-endian; probabilities sum to about one."""
    status, output = run(ARTIFACT, bytes([16, 0, 3, 1]), b"", SIZE)
    assert status is Status.OK
    assert len(output) == SIZE == ARTIFACT.manifest.output_bytes
    probabilities = [int.from_bytes(output[at : at + 2], "big") for at in (1, 3, 5)]
    assert output[0] == probabilities.index(max(probabilities))
    assert abs(sum(probabilities) - 2**15) <= 2


@pytest.mark.parametrize(
    ("data", "params", "max_output"),
    [
        (b"", b"", 7),
        (b"\0" * 3, b"", 7),
        (b"\0" * 5, b"", 7),
        (b"\0\0\0\x11", b"", 7),
        (b"\0" * 4, b"x", 7),
        (b"\0" * 4, b"", 6),
    ],
)
def test_bad_input(data, params, max_output):
    """Wrong length, an element out of range, parameters, too small an answer: BAD_INPUT, no output."""
    assert run(ARTIFACT, data, params, max_output) == BAD_INPUT
    assert check_request(ARTIFACT.announcement, data, params, max_output) is Status.BAD_INPUT


@given(st.binary(max_size=8), st.binary(max_size=1), st.integers(0, 2**32 - 1))
def test_total_and_agreed_with_the_manifest(data, params, max_output):
    """Nothing raises, and the manifest alone tells OK from BAD_INPUT, as nodes without weights must."""
    status, output = run(ARTIFACT, data, params, max_output)
    assert status is check_request(ARTIFACT.announcement, data, params, max_output)
    assert len(output) == (SIZE if status is Status.OK else 0)


def test_larger_max_output_changes_nothing():
    """max_output is a limit, not a size."""
    assert run(ARTIFACT, b"\1\2\3\4", b"", SIZE) == run(ARTIFACT, b"\1\2\3\4", b"", 2**32 - 1)
