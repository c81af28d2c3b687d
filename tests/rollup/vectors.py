"""Write tests/vectors/{batch,channel,derivation}.json: `python -m tests.rollup.vectors` from the root.

The files are for other implementations and against silent changes; tests compare them with what this makes.
Channels are written without the dictionary and by stored blocks, because a compressor's output is no rule.
"""

import json
from dataclasses import replace
from pathlib import Path

from primitives.errors import InvalidInput
from primitives.hashes import sha256
from rollup.batch.channel import PLAIN, WITH_DICTIONARY, compress_batch, decompress_batch, split_frames
from rollup.batch.codec import Batch, BatchBlock, BatchFormat, decode_batch, encode_batch
from rollup.batch.transactions import Authorization, Fields, put_together
from rollup.limits import Limits
from tests.rollup.chains import (
    BATCHER,
    CONFIG,
    START,
    FakeBitcoin,
    HonestSequencer,
    derive,
    make_config,
    make_envelope,
    make_frames,
)
from vm.types import InferenceRecord

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
FORM = BatchFormat(726_945, 2)
LIMITS = Limits()
ALICE, BOB = b"\xa1" * 20, b"\xb0" * 20
_R, _S = 2**255 + 12_345, 2**254 + 54_321


def _fields(kind, **changes):
    priority_fee = 10**9 if kind in (2, 4) else 0
    first = Fields(kind, 7, 21_000, 3 * 10**9, priority_fee, ALICE, 15 * 10**16, b"", (), (), 1, _R, _S)
    return put_together(first._replace(**changes), FORM.chain_id)


def _record(**changes):
    first = InferenceRecord(0, sha256(b"request"), 0, b"answer", BOB, bytes(range(65)), 498)
    return replace(first, **changes)


def batch_cases():
    """Name and batch of every valid case."""
    transfer = bytes.fromhex("a9059cbb") + bytes(12) + BOB + (10**18).to_bytes(32, "big")
    slots = (sha256(b"1"), sha256(b"2"))
    every_type = (
        _fields(0),
        _fields(1, access_list=((BOB, slots), (ALICE, ()))),
        _fields(2, to=b"", data=bytes.fromhex("6001600255"), value=0),
        _fields(4, authorizations=(Authorization(0, BOB, 3, 1, 5, 6),), parity=0),
    )
    whole = (b"", b"\0", b"no transaction at all", _fields(2)[:-1])
    one = BatchBlock(1_700_000_000, 500, b"\1\2\3\4", (_fields(2, to=BOB, data=transfer),), (_record(),))
    empty = BatchBlock(1_700_000_000, 500, b"\1\2\3\4", (), ())
    moved = BatchBlock(1_700_000_060, 501, b"\5\6\7\x08", (_fields(2),), (_record(ask_height=501),))
    return {
        "one empty block": Batch(1, (empty,)),
        "a token transfer and a record": Batch(1, (one,)),
        "every type": Batch(77, (empty._replace(transactions=every_type),)),
        "kept whole": Batch(2**40, (empty._replace(transactions=whole),)),
        "three blocks, two origins": Batch(9, (one, one._replace(timestamp=1_700_000_002), moved)),
    }


def _refusals(batches):
    """Malformed batches, each from a valid one."""
    plain = encode_batch(FORM, batches["one empty block"])
    rich = encode_batch(FORM, batches["every type"])
    return {
        "empty": b"",
        "version": b"\1" + plain[1:],
        "no blocks": b"\0\1\0" + plain[3:],
        "cut": rich[:-1],
        "trailing": rich + b"\0",
        "long integer": plain[:1] + b"\x81\0" + plain[2:],
        "too many blocks": b"\0\1" + b"\x81\x80\x01" + plain[3:],
    }


def _block_to_json(block):
    records = [
        {
            "tx_index": record.tx_index,
            "request_hash": record.request_hash.hex(),
            "status": record.status,
            "output": record.output.hex(),
            "neuron": record.neuron.hex(),
            "ask_height": record.ask_height,
            "signature": record.signature.hex(),
        }
        for record in block.records
    ]
    return {
        "timestamp": block.timestamp,
        "origin_height": block.origin_height,
        "origin_hash": block.origin_hash.hex(),
        "transactions": [raw.hex() for raw in block.transactions],
        "records": records,
    }


def _code(call):
    try:
        call()
    except InvalidInput as error:
        return error.code
    raise AssertionError("a refusal was expected")


def batch_vectors():
    """What docs/spec/batch.md is pinned by."""
    batches = batch_cases()
    return {
        "chain_id": FORM.chain_id,
        "block_time_s": FORM.block_time_s,
        "valid": [
            {
                "name": name,
                "first_number": batch.first_number,
                "blocks": [_block_to_json(block) for block in batch.blocks],
                "encoded": encode_batch(FORM, batch).hex(),
            }
            for name, batch in batches.items()
        ],
        "invalid": [
            {
                "name": name,
                "encoded": data.hex(),
                "code": _code(lambda data=data: decode_batch(FORM, data, LIMITS)),
            }
            for name, data in _refusals(batches).items()
        ],
    }


def stored(batch):
    """A channel's content whose zstd frame compresses nothing: one raw block."""
    header = b"\x28\xb5\x2f\xfd\xa0" + len(batch).to_bytes(4, "little")
    return bytes([PLAIN]) + header + (len(batch) << 3 | 1).to_bytes(3, "little") + batch


def channel_vectors():
    """What docs/spec/channel.md is pinned by; contents are zstd's of today, and stay readable for ever."""
    batch = encode_batch(FORM, batch_cases()["every type"])
    path = FOLDER / "channel.json"
    kept = json.loads(path.read_text())["contents"] if path.exists() else None
    contents = kept or [
        {"version": version, "content": compress_batch(batch, version).hex()}
        for version in (PLAIN, WITH_DICTIONARY)
    ]
    content = stored(batch)
    refused = {
        "empty": b"",
        "version": b"\2" + content[1:],
        "no zstd": content[:1] + b"\0" + content[2:],
        "no size": content[:5] + b"\0" + content[6:],
        "bomb": content[:6] + b"\xff\xff\xff\x7f" + content[10:],
        "cut": content[:-1],
        "trailing": content + b"\0",
    }
    return {
        "batch": batch.hex(),
        "contents": contents,
        "stored": content.hex(),
        "frames_of_100_bytes": [payload.hex() for payload in split_frames(content, 100)],
        "invalid": [
            {
                "name": name,
                "content": data.hex(),
                "code": _code(lambda data=data: decompress_batch(data, LIMITS.decompressed_bytes)),
            }
            for name, data in refused.items()
        ],
    }


def derivation_stories():
    """Name and L1 blocks of every story."""
    return {
        "channels out of order, a copy, a conflict, a stranger": _unruly(),
        "a channel that never ends, and one after it": _unfinished(),
        "void from the second block on": _void(),
        "no sequencer": _silent(),
        "an L1 block that is full": _full(),
    }


STORY_LIMITS = {"an L1 block that is full": {"channel_blocks": 2, "epoch_blocks": 3}}
"""Limits that differ from the usual ones."""


def _frames(made, number, size=10**6):
    batch = Batch(made[0][0], tuple(block for _, block in made))
    return make_frames(stored(encode_batch(FORM, batch)), number, size)


def _start(blocks=2):
    bitcoin = FakeBitcoin()
    for _ in range(blocks):
        bitcoin.mine()
    return bitcoin, HonestSequencer(bitcoin)


def _unruly():
    bitcoin, sequencer = _start()
    made = [sequencer.make() for _ in range(5)]
    first, second = _frames(made[:3], 0, 60), _frames(made[3:], 1, 60)
    other = make_envelope(first[0].payload[:-1] + b"?")
    stranger = make_envelope(first[1].payload, index=1, signer=sha256(b"stranger"))
    bitcoin.mine(*reversed(second), stranger)
    bitcoin.mine(first[0], first[0], other, *first[1:])
    bitcoin.mine(first[0])
    return bitcoin


def _unfinished():
    bitcoin, sequencer = _start()
    made = [sequencer.make() for _ in range(3)]
    bitcoin.mine(_frames(made, 0, 60)[0])
    bitcoin.mine(*_frames(made, 1))
    for _ in range(CONFIG.parameters.channel_timeout):
        bitcoin.mine()
    return bitcoin


def _void():
    bitcoin, sequencer = _start(1)
    made = [sequencer.make() for _ in range(3)]
    late = [(number, block._replace(timestamp=block.timestamp + 10**8)) for number, block in made[1:]]
    bitcoin.mine(*_frames([made[0], *late], 0))
    bitcoin.mine(*_frames(made[1:], 1), *_frames(made, 2))
    return bitcoin


def _full():
    bitcoin, sequencer = _start(1)
    made = [sequencer.make() for _ in range(4)]
    bitcoin.mine(*_frames(made[:2], 0), *_frames(made[2:], 1), *make_frames(b"unread", 2))
    bitcoin.mine(*_frames(made[3:], 3))
    return bitcoin


def _silent():
    bitcoin, sequencer = _start(1)
    made = [sequencer.make(), sequencer.make()]
    for _ in range(CONFIG.parameters.seq_window + 2):
        bitcoin.mine()
    bitcoin.mine(*_frames(made, 0))
    return bitcoin


def derivation_vectors():
    """What docs/spec/derivation.md is pinned by."""
    start = {"height": START.height, "hash": START.hash.hex(), "mtp": START.origin.mtp}
    return {
        "parameters": "regtest",
        "chain_id": CONFIG.chain_id,
        "batcher": BATCHER.hex(),
        "start": start,
        "stories": [
            {"name": name, "limits": limits, "l1_blocks": _tell(bitcoin, make_config(Limits(**limits)))}
            for name, bitcoin in derivation_stories().items()
            for limits in [STORY_LIMITS.get(name, {})]
        ],
    }


def _tell(bitcoin, config):
    """Return each L1 block with what it leads to."""
    told, state = [], None
    for facts in bitcoin.blocks:
        state, blocks, (outcome,) = derive(config, [facts], state)
        told.append(
            {
                "height": facts.height,
                "hash": facts.hash.hex(),
                "mtp": facts.mtp,
                "envelopes": [
                    {
                        "signer": each.signer.hex(),
                        "kind": int(each.header.kind),
                        "number": each.header.number,
                        "index": each.header.index,
                        "payload": each.payload.hex(),
                    }
                    for each in facts.envelopes
                ],
                "codes": [each.code for each in outcome.envelopes],
                "channels": [list(each) for each in outcome.channels],
                "pending": [list(each) for each in outcome.pending],
                "blocks": [
                    {
                        "number": block.number,
                        "timestamp": block.timestamp,
                        "origin_height": block.origin.height,
                        "epoch_begins": bool(block.system_transactions),
                        "transactions": [raw.hex() for raw in block.transactions],
                    }
                    for block in blocks
                ],
            }
        )
    return told


VECTORS = {"batch": batch_vectors, "channel": channel_vectors, "derivation": derivation_vectors}


def text(name):
    """Return a file's text."""
    return json.dumps(VECTORS[name](), indent=1) + "\n"


if __name__ == "__main__":
    for each in VECTORS:
        (FOLDER / f"{each}.json").write_text(text(each))
