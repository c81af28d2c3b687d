"""JSON-RPC framing: every body gets the reply it deserves, whatever it holds."""

import asyncio
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitai.rpc import framing
from bitai.rpc.framing import MAX_BATCH_CALLS, MAX_BODY_BYTES, Call, Gathered, RpcError, answer_body

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


async def echo(call):
    """Answer with the method and parameters, fail where asked to."""
    if call.method == "fail":
        raise RpcError(-32000, "failed", {"code": "x"})
    return {"method": call.method, "params": call.params}


def ask(body, dispatch=echo):
    """The parsed reply to a body, or None."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = asyncio.run(answer_body(raw, dispatch))
    return None if reply is None else json.loads(reply)


def request(method="m", **members):
    """A request object."""
    return {"jsonrpc": "2.0", "id": 1, "method": method} | members


@pytest.mark.parametrize("call_id", [1, 0, -7, 1.5, "", "abc", None, 2**53, 3503995874084926])
def test_the_id_comes_back(call_id):
    """Whatever number, string or null the caller chose names the reply."""
    assert ask(request(id=call_id)) == {
        "jsonrpc": "2.0",
        "id": call_id,
        "result": {"method": "m", "params": []},
    }


@pytest.mark.parametrize(
    ("body", "code", "call_id"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b'{"id": "\\ud800"}', -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, -32700, None),
        (b"NaN", -32700, None),
        (b"1", -32600, None),
        (b"[]", -32600, None),
        (b'"text"', -32600, None),
        ({"id": 1}, -32600, 1),
        (request(method=None), -32600, 1),
        (request(method=["eth_chainId"]), -32600, 1),
        (request(id=True), -32600, None),
        (request(id=[1]), -32600, None),
        (request(id={}), -32600, None),
        (request(jsonrpc="1.0"), -32600, 1),
        (request(jsonrpc=2), -32600, 1),
        (request(params={"a": 1}), -32602, 1),
        (request(params="x"), -32602, 1),
        (b" " * (MAX_BODY_BYTES + 1), -32005, None),
    ],
)
def test_what_is_no_request_has_its_code(body, code, call_id):
    """Broken bodies get one error each, under the id if there was one to read."""
    reply = ask(body)
    assert (reply["error"]["code"], reply["id"], reply["jsonrpc"]) == (code, call_id, "2.0")


def test_optional_members():
    """Parameters may be absent or null, the version may be absent."""
    for body in (request(), request(params=None), request(params=[]), {"id": 1, "method": "m"}):
        assert ask(body)["result"] == {"method": "m", "params": []}


def test_an_error_has_code_words_and_data():
    """A failed call is an error object, with data only where there is some."""
    assert ask(request("fail"))["error"] == {"code": -32000, "message": "failed", "data": {"code": "x"}}

    async def bare(call):
        raise RpcError(3, "reverted")

    assert ask(request(), bare)["error"] == {"code": 3, "message": "reverted"}


def test_notifications_are_run_and_not_answered():
    """A request without an id gets no reply, alone or in an array; it runs all the same."""
    ran = []

    async def note(call):
        ran.append(call.method)
        return 1

    silent = {"jsonrpc": "2.0", "method": "quiet"}
    assert ask(silent, note) is None
    assert ask([silent, silent], note) is None
    assert [each["id"] for each in ask([silent, request(id=5), silent], note)] == [5]
    assert sorted(ran) == ["m"] + ["quiet"] * 5
    assert ask({"jsonrpc": "2.0", "method": "fail"}) is None


def test_batches_are_answered_in_order_with_their_broken_parts():
    """Each entry of an array has its own outcome, in the order of the array."""
    replies = ask([request(id=1), 7, request("fail", id=2), {"id": 3}, request(id=4)])
    assert [reply["id"] for reply in replies] == [1, None, 2, 3, 4]
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, -32600, -32000, -32600, None]


def test_batches_are_bounded():
    """An array of too many calls is refused whole; one of exactly so many is not."""
    assert ask([1] * (MAX_BATCH_CALLS + 1))["error"]["code"] == -32005
    assert len(ask([1] * MAX_BATCH_CALLS)) == MAX_BATCH_CALLS


def test_a_batch_cannot_collect_endless_replies(monkeypatch):
    """Once the replies are too many bytes, the rest of the calls are not even run."""
    monkeypatch.setattr(framing, "MAX_BATCH_REPLY_BYTES", 1_000)
    ran = []

    async def large(call):
        ran.append(call.id)
        return "x" * 600

    replies = ask([request(id=n) for n in range(10)], large)
    assert [each.get("error", {}).get("code") for each in replies] == [None] * 2 + [-32005] * 8
    assert ran == [0, 1]


def test_arrays_of_many_clients_share_one_room(monkeypatch):
    """What all arrays under way have gathered is bounded together; each gets its first reply, and returns its room."""
    monkeypatch.setattr(framing, "MAX_GATHERED_BYTES", 1_000)
    gathered, body = Gathered(), json.dumps([request(id=n) for n in range(3)]).encode()

    async def large(call):
        await asyncio.sleep(0)  # the other array's turn
        return "x" * 600

    async def both():
        asked = (answer_body(body, large, gathered=gathered) for _ in range(2))
        return [json.loads(reply) for reply in await asyncio.gather(*asked)]

    for replies in asyncio.run(both()):
        codes = [each.get("error", {}).get("code") for each in replies]
        assert (codes[0], codes[-1]) == (None, -32005)
    assert gathered.waiting_bytes == 0


def test_a_batch_cannot_run_for_ever(monkeypatch):
    """After its time the rest of an array is refused: whoever sent it may be gone."""
    monkeypatch.setattr(framing, "BATCH_LIMIT_S", -1.0)
    replies = ask([request(id=n) for n in range(3)])
    assert [each["error"]["code"] for each in replies] == [-32005] * 3


def test_sends_in_a_row_wait_together_and_in_order():
    """Neighbouring sends of an array are under way at once; what follows them sees all of them done."""
    story = []

    async def slow(call):
        story.append(("begin", call.id))
        await asyncio.sleep(0)
        story.append(("end", call.id))
        return call.id

    send = "eth_sendRawTransaction"
    body = [request(send, id=1), request(send, id=2), request("look", id=3), request(send, id=4)]
    assert [each["result"] for each in ask(body, slow)] == [1, 2, 3, 4]
    assert story == [
        *[("begin", 1), ("begin", 2), ("end", 1), ("end", 2)],
        *[("begin", 3), ("end", 3), ("begin", 4), ("end", 4)],
    ]


def test_a_result_that_is_no_json_is_an_error_not_a_crash():
    """A method's bug reaches its caller as an internal error, and the others of the array their results."""

    async def buggy(call):
        return {1, 2} if call.id == 1 else 2**64 if call.id == 2 else "fine"

    replies = ask([request(id=n) for n in (1, 2, 3)], buggy)
    assert [each.get("error", {}).get("code") for each in replies] == [-32603, -32603, None]


@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)))
def test_any_body_is_answered(raw):
    """Random JSON and random bytes: a well-formed reply or none, never an exception."""
    reply = asyncio.run(answer_body(raw, echo))
    if reply is None:
        return
    parsed = orjson.loads(reply)
    for each in parsed if isinstance(parsed, list) else [parsed]:
        assert each["jsonrpc"] == "2.0"
        assert ("result" in each) != ("error" in each)


@given(st.lists(st.tuples(st.sampled_from(["m", "fail"]), st.integers(0, 9), st.booleans()), min_size=1))
def test_one_reply_for_each_that_waits_for_one(calls):
    """An array has exactly the replies of its calls with ids, in order."""
    body = []
    for method, number, quiet in calls:
        made = request(method, id=number)
        if quiet:
            del made["id"]
        body.append(made)
    replies = ask(body) or []
    assert [each["id"] for each in replies] == [number for _, number, quiet in calls if not quiet]


def test_calls_carry_what_was_sent():
    """Method, parameters and id reach the dispatcher as they were."""
    seen = []

    async def keep(call):
        seen.append(call)

    assert ask(request("eth_call", params=[{"to": None}, "latest"]), keep)["result"] is None
    assert seen == [Call("eth_call", [{"to": None}, "latest"], 1, notification=False)]
