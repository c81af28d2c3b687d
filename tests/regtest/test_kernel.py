"""The kernel answers for every block and script, and nothing reaches it that could abort the process."""

import dataclasses
import resource

import pytest

from primitives.bitcoin.parser import parse_block
from primitives.bitcoin.script import OP_1
from primitives.errors import ConfigError, InvalidInput, InvariantViolation
from primitives.ids import OutPoint, Txid
from regtest import kernel as kernel_module
from regtest.kernel import Kernel, SpentOutput
from regtest.mining import BlockPlan, build_block
from tests.regtest.mini_wallet import OPEN_SCRIPT, Note, mature_notes, spend

NOW = 1_700_000_000


@pytest.fixture
def kernel(tmp_path):
    """A fresh state."""
    kernel = Kernel(tmp_path / "kernel")
    yield kernel
    kernel.close()


def make(kernel, *, parent=None, height=None, extra=0, fees=0, time=NOW):
    """A block on the tip, or on what is named."""
    tip, tip_height = kernel.tip()
    height = tip_height + 1 if height is None else height
    plan = BlockPlan(parent or tip, height, time + height, bytes([OP_1]), fees, extra)
    return parse_block(build_block(plan))


def test_genesis_and_first_block(kernel):
    """A fresh state stands on regtest's genesis block and follows a valid block."""
    genesis = parse_block(kernel.genesis()).header.hash
    assert kernel.tip() == (genesis, 0)
    block = make(kernel)
    processed = kernel.process(block)
    assert (processed.stored, processed.reason) == (True, "")
    assert kernel.tip() == (block.header.hash, 1)
    assert kernel.knows(block.header.hash)
    assert not kernel.knows(bytes(32))


def test_invalid_block_has_cores_reason(kernel):
    """A coinbase that takes too much is stored, found invalid, and named with its amounts."""
    kernel.process(make(kernel))
    processed = kernel.process(make(kernel, fees=1))
    assert processed.stored
    assert processed.reason.startswith("bad-cb-amount, coinbase pays too much (actual=5000000001")
    assert kernel.tip()[1] == 1


def test_refused_block_has_cores_reason(kernel):
    """A block that is not even stored is refused with the reason."""
    kernel.process(make(kernel))
    processed = kernel.process(make(kernel, height=7))
    assert not processed.stored
    assert processed.reason == "bad-cb-height, block height mismatch in coinbase"


def test_header_checks(kernel):
    """An unknown parent, a time in the past and one too far ahead are told apart without a body."""
    kernel.process(make(kernel))
    word = kernel.check_header
    assert word(make(kernel, parent=bytes([7]) * 32).header.encode()) == "prev-blk-not-found"
    assert word(make(kernel, time=5).header.encode()) == "invalid-header"
    assert word(make(kernel, time=2**32 - 100).header.encode()) == "time-too-new"
    assert word(make(kernel).header.encode()) == ""
    with pytest.raises(InvalidInput):
        word(b"short")


def test_reorganisation_tells_what_left_and_came(kernel):
    """Callbacks of a reorganisation list blocks that left from the tip down, then those that came."""
    fork = kernel.tip()[0]
    old = []
    for _ in range(2):
        old.append(make(kernel))
        kernel.process(old[-1])
    parent, new = fork, []
    for height in range(1, 4):
        new.append(make(kernel, parent=parent, height=height, extra=9))
        parent = new[-1].header.hash
        events = kernel.process(new[-1]).events
    hashes = [(event.kind, event.block_hash) for event in events if event.kind != "checked"]
    gone = [("disconnected", block.header.hash) for block in reversed(old)]
    assert hashes == gone + [("connected", block.header.hash) for block in new]


def test_spend_checks(node):
    """A right witness holds; a wrong one fails at its input."""
    first, second = mature_notes(node)[:2]
    good = spend([first, second])
    coins = [SpentOutput(note.value, OPEN_SCRIPT) for note in (first, second)]
    assert node.chain.kernel.first_bad_input(good.raw, coins) is None
    bad = good.with_witness(1, (bytes([0]), good.inputs[1].witness[1]))
    assert node.chain.kernel.first_bad_input(bad.raw, coins) == 1


@pytest.mark.parametrize(
    "coins",
    [[], [SpentOutput(1, b"")] * 2, [SpentOutput(-1, b"")], [SpentOutput(22 * 10**14, b"")]],
)
def test_arguments_that_would_abort_are_refused(kernel, coins):
    """Wrong counts and impossible amounts never reach the C assertions."""
    raw = spend(Note(OutPoint(Txid(bytes([3]) * 32), 0), 9_000)).raw
    with pytest.raises(InvalidInput):
        kernel.first_bad_input(raw, coins)
    with pytest.raises(InvalidInput):
        kernel.first_bad_input(raw + b"\0", [SpentOutput(1, b"")])


def test_state_survives_a_clean_close(tmp_path):
    """Closing writes the state; opening again finds the tip."""
    kernel = Kernel(tmp_path / "kernel")
    block = make(kernel)
    kernel.process(block)
    kernel.close()
    again = Kernel(tmp_path / "kernel")
    assert again.tip() == (block.header.hash, 1)
    again.close()


def test_unreadable_state_is_an_error(tmp_path):
    """A directory the engine cannot open is reported, so that the caller can build it anew."""
    Kernel(tmp_path / "kernel").close()
    for manifest in (tmp_path / "kernel").glob("**/MANIFEST-*"):
        manifest.write_bytes(b"damaged")
    with pytest.raises(InvariantViolation) as caught:
        Kernel(tmp_path / "kernel")
    assert caught.value.code == "kernel.unreadable"


def test_other_versions_are_refused(tmp_path, monkeypatch):
    """The private interface is used with the tested version only."""
    monkeypatch.setattr(kernel_module, "version", lambda _name: "9.9")
    with pytest.raises(ConfigError) as caught:
        Kernel(tmp_path / "kernel")
    assert "pip install" in caught.value.fix


def test_headers_are_values(kernel):
    """Blocks that differ only in the extra nonce are different blocks."""
    one, two = make(kernel, extra=1), make(kernel, extra=2)
    assert one.header.hash != two.header.hash
    assert dataclasses.replace(one.header).hash == one.header.hash


def test_failing_files_are_no_verdict(tmp_path):
    """When the engine cannot write a block down, that is not the block's fault: nobody may call it invalid."""
    kernel = Kernel(tmp_path)
    block = make(kernel)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(InvariantViolation) as caught:
            kernel.process(block)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.code == "kernel.failed"
    kernel.close()
    again = Kernel(tmp_path)
    assert again.process(block).reason == ""
    again.close()
