"""Forwarding to the sequencer: its refusals keep their codes, and what is no answer is not taken for one."""

import json

import pytest
from aiohttp import web

from bitai.sequencer_client import SequencerClient
from primitives.errors import Duplicate, Rejected, Temporary
from primitives.hashes import keccak256
from tests.bitai.neuron_peer import listening
from tests.bitai.rig import Rig

RAW = b"\x02raw"
HASH = "0x" + keccak256(RAW).hex()


async def answer_to(reply):
    """What submitting gives when the server answers with this."""

    async def serve(request):
        asked = json.loads(await request.read())
        assert (asked["method"], asked["params"]) == ("eth_sendRawTransaction", ["0x" + RAW.hex()])
        return web.Response(body=reply if isinstance(reply, bytes) else json.dumps(reply).encode())

    application = web.Application()
    application.router.add_post("/", serve)
    async with listening(application) as url:
        client = SequencerClient(url)
        try:
            return await client.submit(RAW)
        finally:
            await client.close()


async def test_the_hash_comes_back():
    """An accepted transaction's hash is its own."""
    assert await answer_to({"id": 1, "result": HASH}) == keccak256(RAW)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (
            {"code": -32000, "message": "nonce too low", "data": {"code": "pool.nonce_too_low"}},
            Rejected,
            "pool.nonce_too_low",
        ),
        (
            {"code": -32000, "message": "already known", "data": {"code": "pool.already_known"}},
            Duplicate,
            "pool.already_known",
        ),
        ({"code": 1, "message": "x" * 9_999, "data": {"code": "evil.code"}}, Rejected, "sequencer.refused"),
        ({"code": 1, "message": ["no"], "data": "text"}, Rejected, "sequencer.refused"),
        ("no", Rejected, "sequencer.refused"),
    ],
)
async def test_refusals_keep_their_code(error, kind, code):
    """The sequencer's own codes reach the caller; anything else is one code, with bounded words."""
    with pytest.raises(kind) as caught:
        await answer_to({"id": 1, "error": error})
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert len(caught.value.message) <= 300


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"<html>",
        b"[1]",
        {"id": 1},
        {"id": 1, "result": "0x" + "00" * 32},
        {"id": 1, "result": 5},
        b"{" + b" " * 99_999,
    ],
)
async def test_what_is_no_answer_is_temporary(reply):
    """A proxy's page, another hash, or endless bytes: try again later, and say so."""
    with pytest.raises(Temporary) as caught:
        await answer_to(reply)
    assert caught.value.code == "sequencer.bad_answer"


async def test_nobody_there():
    """A sequencer that is away is away for now."""
    client = SequencerClient("ws://127.0.0.1:1")
    with pytest.raises(Temporary) as caught:
        await client.submit(RAW)
    assert caught.value.code == "sequencer.away"
    await client.close()


async def test_against_the_real_rpc():
    """Through a real node's JSON-RPC, on one connection: accepted, known, refused."""
    async with Rig() as rig:
        client = SequencerClient(rig.rpc_url)
        raw = rig.world.alice.sign(b"\1" * 20, nonce=1)
        assert await client.submit(raw) == keccak256(raw)
        with pytest.raises(Duplicate):
            await client.submit(raw)
        with pytest.raises(Rejected, match="insufficient funds"):
            await client.submit(rig.world.alice.sign(b"\1" * 20, nonce=2, value=10**30))
        await client.close()
