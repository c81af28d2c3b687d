"""JSON-RPC 1.0 and 2.0, arrays, notifications and nonsense are answered as Bitcoin Core answers them."""

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from primitives.errors import InvariantViolation
from regtest.limits import MAX_BATCH_CALLS
from regtest.rpc import dispatch
from regtest.rpc.method import Method
from regtest.rpc.registry import METHODS, with_help
from tests.regtest.conftest import SEED_HEIGHT


def ask(rpc, request):
    """Status and reply of one request."""
    return rpc.post(orjson.dumps(request))


def code_of(reply) -> int:
    """The error code."""
    return reply["error"]["code"]


@pytest.mark.parametrize("version", [None, "1.0"])
def test_old_version(rpc, version):
    """Old replies have both result and error; errors are HTTP errors."""
    extra = {} if version is None else {"jsonrpc": version}
    status, reply = ask(rpc, {**extra, "id": 7, "method": "getblockcount"})
    assert (status, reply) == (200, {"result": SEED_HEIGHT, "error": None, "id": 7})
    status, reply = ask(rpc, {**extra, "id": 7, "method": "nothing"})
    assert (status, code_of(reply), reply["result"]) == (404, -32601, None)
    status, reply = ask(rpc, {**extra, "id": 7, "method": "getblockhash", "params": [10**6]})
    assert (status, code_of(reply)) == (500, -8)
    assert ask(rpc, {**extra, "method": "getblockcount"})[1]["id"] is None


def test_new_version(rpc):
    """2.0 replies have result or error, never both; HTTP says 200."""
    status, reply = ask(rpc, {"jsonrpc": "2.0", "id": "a", "method": "getblockcount"})
    assert (status, reply) == (200, {"jsonrpc": "2.0", "result": SEED_HEIGHT, "id": "a"})
    status, reply = ask(rpc, {"jsonrpc": "2.0", "id": None, "method": "nothing"})
    assert status == 200
    assert reply == {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": None}


def test_notifications(rpc):
    """A 2.0 call without id is done and not answered, even when it fails."""
    assert ask(rpc, {"jsonrpc": "2.0", "method": "getblockcount"}) == (204, None)
    assert ask(rpc, {"jsonrpc": "2.0", "method": "nothing"}) == (204, None)
    assert ask(rpc, [{"jsonrpc": "2.0", "method": "getblockcount"}]) == (204, None)


def test_arrays(rpc):
    """Arrays are answered in order with HTTP 200, broken members in their place."""
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "getblockcount"},
        {"id": 2, "method": "getblockcount"},
        {"jsonrpc": "2.0", "method": "getblockcount"},
        {"jsonrpc": "2.0", "id": 3, "method": "nothing"},
        7,
        {"id": 4},
    ]
    status, replies = ask(rpc, calls)
    assert status == 200
    assert [reply["id"] for reply in replies] == [1, 2, 3, None, 4]
    assert replies[1] == {"result": SEED_HEIGHT, "error": None, "id": 2}
    assert [code_of(reply) for reply in replies[2:]] == [-32601, -32600, -32600]
    assert ask(rpc, []) == (200, [])
    assert ask(rpc, [1] * (MAX_BATCH_CALLS + 1))[0] == 400


@pytest.mark.parametrize(
    ("request_body", "status", "code", "word"),
    [
        (b"", 500, -32700, "Parse error"),
        (b"\xff\xfe", 500, -32700, "Parse error"),
        (b"{" * 5, 500, -32700, "Parse error"),
        (b"[" * 100_000, 500, -32700, "Parse error"),
        (b'{"a":' * 100_000, 500, -32700, "Parse error"),
        (b"3", 500, -32700, "Top-level"),
        (b"null", 500, -32700, "Top-level"),
        (b"{}", 400, -32600, "Missing method"),
        (b'{"method":7}', 400, -32600, "Method must be a string"),
        (b'{"method":"uptime","jsonrpc":"2.1"}', 400, -32600, "version not supported"),
        (b'{"method":"uptime","jsonrpc":2.0}', 400, -32600, "jsonrpc field must be a string"),
        (b'{"method":"uptime","id":[1]}', 400, -32600, "Identifier"),
        (b'{"method":"uptime","id":' + b"[" * 300 + b"]" * 300 + b"}", 400, -32600, "Identifier"),
        (b'{"method":"getblockcount","params":"x"}', 400, -32600, "Params must be an array or object"),
        (b'{"method":"getblockcount","params":[1]}', 500, -1, "too many arguments"),
        (b'{"method":"getblockhash"}', 500, -1, "missing argument 1: height"),
        (b'{"method":"getblockhash","params":["1"]}', 500, -3, "Position 1 (height)"),
        (b'{"method":"getblockhash","params":[1e400]}', 500, None, ""),
        (b'{"method":"getblockhash","params":[1.5]}', 500, -1, "JSON integer out of range"),
        (b'{"method":"getblockhash","params":[1e99]}', 500, -1, "JSON integer out of range"),
        (b'{"method":"getblockhash","params":[99999999999999999999999999]}', 500, -1, "out of range"),
        (b'{"method":"getblockhash","params":[-1]}', 500, -8, "Block height out of range"),
        (b'{"method":"getblockhash","params":{"heigth":1}}', 500, -8, "Unknown named parameter heigth"),
        (b'{"method":"getblockhash","params":{"args":[1],"height":1}}', 500, -8, "specified twice"),
        (b'{"method":"getblockhash","params":{"args":1}}', 500, -8, "args must be an array"),
    ],
)
def test_broken_requests(rpc, request_body, status, code, word):
    """Everything that is wrong with a request has its code, status and words."""
    found, reply = rpc.post(request_body)
    assert found == status
    assert word in reply["error"]["message"]
    assert code is None or code_of(reply) == code


def test_deep_identifier_in_an_array(rpc):
    """An identifier that cannot be written back spoils its own call, not its neighbours'."""
    deep = b'{"jsonrpc":"2.0","method":"getblockcount","id":' + b"[" * 300 + b"]" * 300 + b"}"
    status, replies = rpc.post(b'[{"method":"getblockcount","id":1},' + deep + b"]")
    assert status == 200
    assert replies[0]["result"] == SEED_HEIGHT
    assert (replies[1]["id"], code_of(replies[1])) == (None, -32600)


def test_array_with_huge_answers(rpc, monkeypatch):
    """Once the answers to an array fill their room, its other calls are not done, and say so."""
    block_hash = rpc.getbestblockhash()
    tip = {"method": "getblock", "params": [block_hash, 0]}
    mine = {"method": "generatetodescriptor", "params": [1, "raw(51)"]}
    length = len(rpc.dispatcher.answer(orjson.dumps({**tip, "id": 0})).body)
    monkeypatch.setattr(dispatch, "MAX_BATCH_REPLY_BYTES", length)
    status, replies = ask(rpc, [{**tip, "id": 0}, {**tip, "id": 1}, {**mine, "id": 2}, {**mine, "id": 3}])
    assert status == 200
    assert [reply["id"] for reply in replies] == [0, 1, 2, 3]
    assert replies[0]["result"] == replies[1]["result"] == rpc.getblock(block_hash, 0)
    assert [code_of(reply) for reply in replies[2:]] == [-1, -1]
    assert rpc.getblockcount() == SEED_HEIGHT


def test_array_at_the_stop(rpc, node):
    """A process that stops leaves the rest of a long array undone."""
    node.interrupted = lambda: True
    (reply,) = ask(rpc, [{"id": 1, "method": "getblockcount"}])[1]
    assert (code_of(reply), "stopping" in reply["error"]["message"]) == (-1, True)


def test_failures_of_our_own(rpc):
    """A bug is answered with -32603 and does not end the process; a failing disk does end it."""

    def failing(error):
        def handler(_node, _args):
            raise error

        return Method("fail", handler)

    rpc.dispatcher._methods = {"fail": failing(ZeroDivisionError("surprise"))}
    status, reply = ask(rpc, {"id": 1, "method": "fail"})
    assert (status, code_of(reply)) == (500, -32603)
    assert "surprise" not in reply["error"]["message"]
    rpc.dispatcher._methods = {"fail": failing(OSError(5, "Input/output error"))}
    with pytest.raises(InvariantViolation) as caught:
        ask(rpc, {"id": 1, "method": "fail"})
    assert caught.value.code == "node.disk_failed"


def test_named_parameters(rpc):
    """Names, names after positions in args, and null for a default."""
    first = rpc.getblockhash(1)
    assert rpc.getblockhash(height=1) == first
    assert rpc.getblock(args=[first], verbosity=0) == rpc.getblock(first, 0)
    assert rpc.getblock(first, None) == rpc.getblock(first, 1)
    assert rpc.getblock(first, True) == rpc.getblock(first, 1)


def test_warming_up(rpc):
    """Before the node is open every call is told to wait."""
    rpc.dispatcher.node = None
    rpc.dispatcher.warmup_status = "Loading"
    status, reply = ask(rpc, {"id": 1, "method": "getblockcount"})
    assert (status, reply["error"]) == (500, {"code": -28, "message": "Loading"})


def test_help(rpc):
    """Help lists every method, and describes each."""
    listed = rpc.help()
    for name in METHODS:
        assert name in listed
        assert rpc.help(name).startswith(name)
    assert rpc.help("nothing") == "help: unknown command: nothing"


def test_help_knows_what_a_process_adds(rpc):
    """Calls that only the process answers are listed and described like the others."""

    def stop(_node, _args):
        """Stop the process."""

    rpc.dispatcher._methods = with_help([*METHODS.values(), Method("stop", stop)])
    assert rpc.help().endswith("== Server ==\nhelp [command]\nstop")
    assert rpc.help("stop") == "stop\n\nStop the process."


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=70)
    | st.sampled_from(["00" * 32, "ab", "raw(51)", "start", "bcrt1q", "0" * 64, "7f" * 100]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
HARMLESS = sorted(set(METHODS) - {"generatetoaddress", "generatetodescriptor"})


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(HARMLESS), params=st.lists(json_values, max_size=4), data=st.data())
def test_any_parameters_are_answered(rpc, method, params, data):
    """Whatever is passed to whatever method, there is an answer, and an error has one of Core's codes."""
    if data.draw(st.booleans()):
        names = [param.name for param in METHODS[method].params] or ["x"]
        params = {data.draw(st.sampled_from(names)): value for value in params}
    try:
        body = orjson.dumps({"id": 1, "method": method, "params": params})
    except TypeError:
        return  # integers beyond 64 bits are sent as raw text elsewhere
    status, reply = rpc.post(body)
    assert status in (200, 400, 404, 500)
    if reply["error"]:
        assert code_of(reply) in (-1, -3, -4, -5, -6, -8, -22, -25, -26, -27, -32600)
