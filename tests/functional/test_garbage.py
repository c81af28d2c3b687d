"""Garbage under our tag on Bitcoin: every piece is left out with a counted reason, and the chain goes on."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import zstandard

from bitai.bootstrap import read_rollup_config
from bitai.datadir import DataDir
from bitai.node_keys import open_node_keys
from primitives.bitcoin.envelope import TAG_BYTES, EnvelopeKind, build_header, encode_op_return, parse_leaf
from primitives.bitcoin.envelope_codecs import EnvelopeCodec, encode_leaf_script
from primitives.bitcoin.script import push
from primitives.bitcoin.transaction import decode_transaction
from primitives.curve import xonly_public_key
from primitives.hashes import sha256
from rollup.batch.channel import PLAIN, Frame, compress_batch, decode_frame, encode_frame, split_frames
from rollup.batch.codec import Batch, BatchBlock, BatchFormat, encode_batch
from rollup.config import RollupConfig
from tests.functional.branches import Bitcoin, wait_converged
from tests.functional.forge import PAY_TO_ANCHOR, WITNESS_V2, Forge, Leaf
from tests.functional.harness import NodeProcess, assert_same_chain, dev_node, full_node, wait_until
from tests.functional.load import Sender
from vm.dev_accounts import DEV_ACCOUNTS

pytestmark = [pytest.mark.functional, pytest.mark.timeout(180)]
FRAME, CHUNK = EnvelopeKind.BATCH_FRAME, EnvelopeKind.ARTIFACT_CHUNK
STRANGER = sha256(b"a stranger's secret")
JUNK = sha256(b"junk") * 4
MIB = 1 << 20
RECENT_BLOCKS = 3
MEMORY_BOUND_BYTES = 320 * MIB
"""What a node may take for garbage: 64 MiB of open channels, one batch of 64 MiB, and what it unfolds to as objects."""


@dataclass
class World:
    """A dev node, its batcher's secret key, and a forge for Bitcoin blocks."""

    dev: NodeProcess
    bitcoin: Bitcoin
    forge: Forge
    batcher: bytes
    config: RollupConfig
    folder: Path

    def outcome(self, height: int) -> dict[str, Any]:
        """Wait until the node has worked through a Bitcoin block; return what came of it."""
        (outcome,) = wait_until(
            lambda: self.dev.rpc("bitai_getOutcomes", hex(height)), f"outcomes of {height}"
        )
        return outcome

    def codes(self, height: int) -> list[tuple[int, int, str]]:
        """Return transaction index, position and code of every envelope in a block."""
        envelopes = self.outcome(height)["envelopes"]
        return [(each["tx_index"], each["position"], each["code"]) for each in envelopes]

    def channels(self, height: int) -> dict[int, str]:
        """Return the code of every channel that ended in a block."""
        ended = self.outcome(height)["channels"]
        return {n: each["code"] for each in ended for n in range(each["number"], each["last_number"] + 1)}

    def next_channel(self) -> int:
        """Return the number of the channel that derivation reads next."""
        heights = range(self.config.l1_start.height + 1, self.bitcoin.height + 1)
        return max((number + 1 for height in heights for number in self.channels(height)), default=0)

    def leaf(self, data: bytes, *, codec: EnvelopeCodec = EnvelopeCodec.IF520) -> Leaf:
        """Return a leaf of the batcher with any bytes in it."""
        return Leaf(encode_leaf_script(codec, xonly_public_key(self.batcher), data), self.batcher)

    def data(self, payload: bytes, kind: EnvelopeKind = FRAME, *, number: int, index: int = 0) -> bytes:
        """Return the bytes of a well-formed envelope of the batcher."""
        header = build_header(
            self.batcher, kind, payload, identity=self.config.identity, number=number, index=index
        )
        return header.encode() + payload

    def frame(self, payload: bytes, number: int, index: int = 0) -> Leaf:
        """Return the leaf of a batch frame of the batcher."""
        return self.leaf(self.data(payload, number=number, index=index))

    def mine(self, leaves: Sequence[Leaf]) -> int:
        """Show leaves, one a transaction, in one block with nothing else; return its height."""
        return self.forge.mine(*self.forge.reveals(leaves))

    def safe(self) -> int:
        """Return the safe head's number."""
        number: int = self.dev.status()["heads"]["safe"]["number"]
        return number

    def settle(self) -> None:
        """Mine until what is unsafe now is safe and looks back to a recent Bitcoin block, no faster than batches come.

        Blocks mined blindly would run a busy node out of the sequencing window, and batches would be void: its own,
        and those that the next test makes.
        """
        head = self.dev.status()["heads"]["unsafe"]["number"]
        while True:
            self.outcome(self.bitcoin.height)
            if self.safe() >= head and self.origin_age() <= RECENT_BLOCKS:
                return
            wait_until(self.waiting_batches, f"a batch that makes block {head} safe waits", limit_s=40)
            self.bitcoin.mine()

    def origin_age(self) -> int:
        """Return how many Bitcoin blocks lie above the one that the safe head looks back to."""
        origin: int = self.dev.rpc("bitai_getL1Anchor", hex(self.safe()))["originHeight"]
        return self.bitcoin.height - origin

    def waiting_batches(self) -> list[str]:
        """Return the reveals of batches that wait in the mempool."""
        waiting = set(self.bitcoin.rpc("getrawmempool"))
        rows = self.dev.status()["inscriptions"]
        return [
            row["reveal_txid"] for row in rows if row["kind"] == "batch" and row["reveal_txid"] in waiting
        ]

    def pending_reveal(self) -> tuple[tuple[bytes, ...], bytes, int]:
        """Wait for a batch of one frame in the mempool; return its witness, content and channel number."""

        def find() -> tuple[tuple[bytes, ...], bytes, int] | None:
            for txid in self.waiting_batches():
                witness = (
                    decode_transaction(bytes.fromhex(self.bitcoin.rpc("getrawtransaction", txid)))
                    .inputs[0]
                    .witness
                )
                envelope = parse_leaf(witness[-2], self.config.identity)
                assert envelope is not None
                return witness, decode_frame(envelope.payload).data, envelope.header.number
            return None

        return wait_until(find, "a batch waits in the mempool")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A chain with a batch on Bitcoin already."""
    folder = tmp_path_factory.mktemp("garbage")
    with dev_node(folder, "--mine-interval", "0", "--no-neuron") as dev:
        bitcoin = Bitcoin(dev)
        batcher = open_node_keys(DataDir(dev.datadir), "regtest").batcher
        made = World(dev, bitcoin, Forge(bitcoin), batcher, read_rollup_config(dev.rollup_config), folder)
        made.settle()
        assert made.next_channel() > 0
        yield made


def test_malformed_and_misplaced_envelopes_are_left_out(world: World) -> None:
    """Each broken rule has its code; what is not under our tag, or of an unknown kind, is not even counted."""
    number, payload = world.next_channel(), encode_frame(Frame(1, sha256(JUNK), JUNK))
    good = world.data(payload, number=number)
    foreign = (
        build_header(world.batcher, FRAME, payload, identity=sha256(b"else"), number=number).encode()
        + payload
    )
    lock = push(xonly_public_key(world.batcher)) + b"\xac\x00\x63"
    two_pushes = Leaf(lock + push(good[:130]) + push(good[130:]) + b"\x68", world.batcher)
    stranger = (
        build_header(STRANGER, FRAME, payload, identity=world.config.identity, number=number).encode()
        + payload
    )
    flipped = bytes([good[60] ^ 1])
    twin = world.config.identity[:TAG_BYTES] + bytes(28)  # another chain with the same tag
    cases = [
        (world.leaf(foreign), None),
        (
            world.leaf(
                build_header(world.batcher, FRAME, payload, identity=twin, number=number).encode() + payload
            ),
            "envelope.bad_signature",
        ),
        (world.leaf(good[:9] + b"\x63" + good[10:]), None),
        (two_pushes, "envelope.template"),
        (world.leaf(good[:100]), "envelope.truncated"),
        (world.leaf(good[:4] + b"\x01" + good[5:]), "envelope.unknown_version"),
        (world.leaf(good[:22] + struct.pack(">I", 2**32 - 1) + good[26:]), "envelope.too_large"),
        (world.leaf(good + b"x"), "envelope.length_mismatch"),
        (world.leaf(good[:60] + flipped + good[61:]), "envelope.bad_signature"),
        (world.leaf(good[:60] + flipped + good[61:], codec=EnvelopeCodec.DROP255), "envelope.bad_signature"),
        (
            Leaf(encode_leaf_script(EnvelopeCodec.IF520, xonly_public_key(STRANGER), good), STRANGER),
            "envelope.bad_signature",
        ),
        (world.leaf(good[:-1] + bytes([good[-1] ^ 1])), "envelope.bad_payload_hash"),
        (
            Leaf(encode_leaf_script(EnvelopeCodec.IF520, xonly_public_key(STRANGER), stranger), STRANGER),
            "frame.wrong_signer",
        ),
        *(
            (world.leaf(world.data(payload, kind, number=0)), "envelope.not_active")
            for kind in (EnvelopeKind.ASSERTION, EnvelopeKind.FORCED_TRANSACTION, EnvelopeKind.DISPUTE_MOVE)
        ),
        (world.leaf(world.data(payload, EnvelopeKind.GOVERNANCE, number=0)), "envelope.not_active"),
        (world.frame(b"\0\1", number), "frame.truncated"),
        (world.frame(encode_frame(Frame(0, sha256(b""), b"x")), number), "frame.no_count"),
        (world.frame(encode_frame(Frame(1, sha256(b""), b"")), number), "frame.empty"),
        (world.frame(encode_frame(Frame(65_535, sha256(b""), b"x")), number), "frame.too_many_frames"),
        (world.frame(payload, number, index=1), "frame.bad_index"),
        (world.frame(payload, number + 64), "frame.too_far_ahead"),
        (world.frame(payload, number - 1), "frame.channel_closed"),
        (
            world.leaf(world.data(encode_frame(Frame(999, sha256(b""), b"x")), CHUNK, number=0)),
            "artifact.too_many_chunks",
        ),
    ]
    before = world.safe()
    height = world.mine([leaf for leaf, _ in cases])
    expected = [(index, 0, code) for index, (_, code) in enumerate(cases, 1) if code is not None]
    assert world.codes(height) == expected
    assert world.channels(height) == {}
    assert world.outcome(height)["pending"] == []
    assert world.safe() == before


def test_outputs_carry_garbage_too(world: World) -> None:
    """OP_RETURN is read by the same rules; positions count the inputs first."""
    signer = xonly_public_key(world.batcher)
    header = build_header(
        world.batcher, FRAME, JUNK, identity=world.config.identity, number=world.next_channel()
    )
    good = encode_op_return(signer, header, JUNK)
    copied = encode_op_return(xonly_public_key(STRANGER), header, JUNK)
    height = world.forge.mine(world.forge.publish([copied, good[:-1] + b"\0", good[:200]]))
    assert world.codes(height) == [
        (1, 1, "envelope.bad_signature"),
        (1, 2, "envelope.bad_payload_hash"),
        (1, 3, "envelope.template"),
    ]


def test_one_witness_means_one_thing_on_any_output(world: World) -> None:
    """The batcher's leaf, copied from the mempool onto outputs that accept anything, is the batcher's word once."""
    witness, _, number = world.pending_reveal()
    assert number == world.next_channel()
    height = world.forge.mine(*world.forge.show([witness, witness], [WITNESS_V2, PAY_TO_ANCHOR]))
    assert world.codes(height) == [(1, 0, ""), (2, 0, "frame.duplicate")]
    assert world.channels(height) == {number: ""}
    world.bitcoin.mine()
    envelopes = world.outcome(world.bitcoin.height)["envelopes"]
    assert [each["code"] for each in envelopes if each["number"] == number] == ["frame.channel_closed"]
    world.settle()


def test_frames_come_in_any_order_and_the_first_of_two_counts(world: World) -> None:
    """A batch, cut anew and shown out of order between repeats and contradictions, is read as it was made."""
    _, content, number = world.pending_reveal()
    first, second, third = split_frames(content, len(content) // 3 + 1)
    contradicting = first[:-1] + bytes([first[-1] ^ 1])
    stray = split_frames(JUNK, len(JUNK) // 3 + 1)[1]
    one = world.mine([world.frame(third, number, 2), world.frame(third, number, 2)])
    assert world.codes(one) == [(1, 0, ""), (2, 0, "frame.duplicate")]
    assert world.outcome(one)["pending"] == [{"number": number, "have": 1, "of": 3}]
    shown = [(first, 0), (contradicting, 0), (stray, 1)]
    two = world.mine([world.frame(payload, number, index) for payload, index in shown])
    assert world.codes(two) == [(1, 0, ""), (2, 0, "frame.conflict"), (3, 0, "frame.conflict")]
    assert world.channels(two) == {}
    before = world.safe()
    three = world.mine([world.frame(second, number, 1)])
    assert world.channels(three) == {number: ""}
    assert world.safe() > before
    world.settle()
    number = world.next_channel()
    four = world.mine(
        [world.frame(contradicting, number, 0), world.frame(second, number, 1), world.frame(third, number, 2)]
    )
    assert world.channels(four) == {number: "channel.content_hash"}
    world.settle()


def test_channels_that_never_end_hold_up_nobody_for_long(world: World) -> None:
    """Numbers that stay incomplete, or that nobody uses, time out together; what follows them is read then."""
    number = world.next_channel()
    endless = encode_frame(Frame(2, sha256(JUNK), JUNK))
    leaves = [world.frame(endless, number), world.frame(endless, number + 5)]
    height = world.mine([*leaves, world.frame(split_frames(JUNK)[0], number + 6)])
    assert [each["number"] for each in world.outcome(height)["pending"]] == [number, number + 5, number + 6]
    timeout = world.config.parameters.channel_timeout
    for _ in range(timeout):
        assert world.channels(world.bitcoin.height) == {}
        world.forge.mine()
    assert world.channels(height + timeout) == {
        **dict.fromkeys(range(number, number + 6), "channel.timed_out"),
        number + 6: "channel.unknown_version",
    }
    world.settle()


def unfold_to(size: int, *, tell: bool = True) -> bytes:
    """Return a channel's content whose zstd frame unfolds to this many zeros."""
    compressor = zstandard.ZstdCompressor(write_content_size=tell).compressobj(size=size if tell else -1)
    pieces = [compressor.compress(bytes(MIB)) for _ in range(size // MIB)]
    return bytes([PLAIN]) + b"".join(pieces) + compressor.flush()


def crowd(world: World, number: int, *, transactions: int) -> bytes:
    """Return a channel's content: one block after the safe head, or elsewhere, of one transaction again and again."""
    safe = world.dev.rpc("eth_getBlockByNumber", hex(world.safe()), False)
    anchor = world.dev.rpc("bitai_getL1Anchor", safe["number"])
    origin = bytes.fromhex(anchor["originHash"])[::-1][:4]
    raw = Sender(world.dev, DEV_ACCOUNTS[5], nonce=1_000_000).sign(DEV_ACCOUNTS[6].address, gas=21_000)
    block = BatchBlock(
        int(safe["timestamp"], 16) + 2, anchor["originHeight"], origin, (raw,) * transactions, ()
    )
    form = BatchFormat(world.config.chain_id, world.config.parameters.block_time_s)
    return compress_batch(encode_batch(form, Batch(number, (block,))))


def peak_bytes(node: NodeProcess) -> int:
    """Return the most memory that a process had resident since the last reset."""
    (line,) = [
        each for each in Path(f"/proc/{node.process.pid}/status").read_text().splitlines() if "VmHWM" in each
    ]
    return int(line.split()[1]) * 1024


def test_bombs_are_refused_within_bounded_memory(world: World) -> None:
    """A channel of the batcher's own key unfolds to no more than allowed, whatever it claims.

    One that unfolds and is no batch leaves no room for others at the same height: they are not even unfolded.
    """
    lying = bytearray(unfold_to(100 * MIB))
    lying[7:11] = struct.pack("<I", 1_000)  # version byte, magic, descriptor, window; then the content's size
    heights = [
        [
            (unfold_to(1024 * MIB), "channel.too_large"),
            (unfold_to(100 * MIB, tell=False), "channel.size_unknown"),
            (bytes(lying), "channel.bad_compression"),
        ],
        [
            (crowd(world, 10**6, transactions=50_000), "block.number"),
            (crowd(world, world.safe() + 1, transactions=2_000), ""),
            (unfold_to(40 * MIB), "batch.too_many_blocks"),
            (unfold_to(40 * MIB), "block.epoch_full"),
        ],
    ]
    Path(f"/proc/{world.dev.process.pid}/clear_refs").write_text("5")
    before, number = peak_bytes(world.dev), world.next_channel()
    endless = encode_frame(Frame(2, sha256(JUNK), JUNK * 2_900))
    for bombs in heights:
        leaves = [
            world.frame(split_frames(content)[0], number + place) for place, (content, _) in enumerate(bombs)
        ]
        waiting = [world.frame(endless, number + 10 + place) for place in range(9)]
        height = world.mine([*leaves, *waiting] if bombs is heights[-1] else leaves)
        assert world.channels(height) == {number + place: code for place, (_, code) in enumerate(bombs)}
        number += len(bombs)
    assert len(world.outcome(height)["pending"]) == 9
    grown = peak_bytes(world.dev) - before
    print(f"peak memory grew by {grown / MIB:.0f} MiB, from {before / MIB:.0f} MiB")
    assert grown < MEMORY_BOUND_BYTES
    for _ in range(world.config.parameters.channel_timeout):
        world.forge.mine()
    world.settle()


def dropped_total(node: NodeProcess) -> dict[str, int]:
    """Return the node's count of dropped pieces by code."""
    text = httpx.get(node.run_file["admin_url"] + "/metrics", trust_env=False).text
    lines = [each for each in text.splitlines() if each.startswith("bitai_derivation_dropped_total{")]
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


def test_the_chain_goes_on_and_a_full_node_agrees(world: World) -> None:
    """After all this transactions get in; a full node finds the same chain, the same reasons and the same counts."""
    sender = Sender(world.dev, DEV_ACCOUNTS[5])
    receipt = sender.receipt(sender.send(DEV_ACCOUNTS[6].address, value=1, gas=21_000))
    world.settle()
    assert world.safe() >= int(receipt["blockNumber"], 16)
    with full_node(world.folder, world.dev, "second").start() as second:
        safe = wait_converged(world.bitcoin, [world.dev, second])
        assert_same_chain(world.dev, second, safe["number"])
        heights = range(world.config.l1_start.height + 1, world.bitcoin.height + 1)
        calls = [("bitai_getOutcomes", [hex(height)]) for height in heights]
        ours, theirs = world.dev.rpc.batch(calls), second.rpc.batch(calls)
        assert ours == theirs
        outcomes = [reply["result"][0] for reply in ours]
        codes = Counter(
            each["code"]
            for outcome in outcomes
            for part in ("envelopes", "channels", "models")
            for each in outcome[part]
        )
        del codes[""]
        assert dropped_total(world.dev) == dropped_total(second) == codes
        print(f"left out, by code: {dict(codes)}")
