"""Every way a Bitcoin node can fail to answer becomes one of our errors; nothing wrong passes for an answer."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bitai.adapters.bitcoin.credentials import CookieFile, UserPassword
from bitai.adapters.bitcoin.node import BitcoinNode
from bitai.adapters.bitcoin.transport import RpcTransport
from bitai.adapters.bitcoin.verdicts import verdict_of_text
from l1.ports import Verdict
from primitives.errors import BitaiError, ConfigError, Rejected, Temporary
from tests.bitai.adapters.peers import FixedCredentials
from tests.bitai.adapters.rpc_profile import ProfileServer, load_profile
from tests.l1.fake_bitcoin import FakeBitcoin

Answer = Callable[[httpx.Request], httpx.Response]


class TestClock:
    """A clock that only counts what it was asked to wait."""

    __test__ = False

    def __init__(self) -> None:
        self.waited: list[int] = []

    def now_ms(self) -> int:
        """See Clock."""
        return sum(self.waited)

    async def sleep_ms(self, duration_ms: int) -> None:
        """See Clock."""
        self.waited.append(duration_ms)


def result(request: httpx.Request, value: object, **more: object) -> httpx.Response:
    """Return a well-formed answer."""
    return httpx.Response(200, json={"id": json.loads(request.content)["id"], "result": value, **more})


def client(answer: Answer, clock: TestClock | None = None) -> RpcTransport:
    """Return a transport whose node answers like this."""
    mock = httpx.MockTransport(answer)
    return RpcTransport("http://node", FixedCredentials("u", "p"), clock or TestClock(), transport=mock)


async def failure(answer: Answer, clock: TestClock | None = None) -> BitaiError:
    """Return what a call raises."""
    async with client(answer, clock) as transport:
        with pytest.raises(BitaiError) as caught:
            await transport.call("getblockcount")
    return caught.value


def refuse(code: int, message: str) -> Answer:
    """Return a node that answers every call with this error object."""
    return lambda request: result(request, None, error={"code": code, "message": message})


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (lambda _: httpx.Response(503, text="Work queue depth exceeded"), Temporary, "l1.busy"),
        (lambda _: httpx.Response(500, text="<html>"), Temporary, "l1.bad_answer"),
        (lambda _: httpx.Response(200, text=""), Temporary, "l1.bad_answer"),
        (lambda _: httpx.Response(200, text="{"), Temporary, "l1.bad_answer"),
        (lambda _: httpx.Response(200, json={"id": -5, "result": 1}), Temporary, "l1.bad_answer"),
        (lambda r: httpx.Response(200, json={"id": json.loads(r.content)["id"]}), Temporary, "l1.bad_answer"),
        (lambda _: httpx.Response(403, text=""), ConfigError, "l1.forbidden"),
        (lambda _: httpx.Response(401, text="401 Unauthorized."), ConfigError, "l1.unauthorized"),
        (lambda _: httpx.Response(401), ConfigError, "l1.unauthorized"),
        (refuse(-28, "Loading block index"), Temporary, "l1.warming_up"),
        (refuse(-32601, "Method not found"), Rejected, "l1.unsupported"),
        (refuse(-1, "Command unimplemented"), Rejected, "l1.unsupported"),
        (refuse(-1, "something else"), Rejected, "l1.refused"),
        (refuse(-5, "Block not found"), Rejected, "l1.not_found"),
        (refuse(-8, "Block height out of range"), Rejected, "l1.bad_parameter"),
    ],
)
async def test_failures_have_names(answer: Answer, kind: type[BitaiError], code: str) -> None:
    """Each failure is of the kind that says what to do next, under a stable code."""
    error = await failure(answer)
    assert isinstance(error, kind)
    assert error.code == code


async def test_connection_errors_are_temporary() -> None:
    """A node that is away, or slow, is asked again later."""

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    def slow(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    for answer in (away, slow):
        error = await failure(answer)
        assert isinstance(error, Temporary)
        assert error.code == "l1.unreachable"


async def test_idempotent_calls_are_tried_again_with_capped_waits() -> None:
    """Three failures are waited out, each wait twice the last up to a cap; other calls are tried once."""
    calls = 0

    def flaky(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(503, text="busy") if calls % 4 else result(request, 7)

    clock = TestClock()
    async with client(flaky, clock) as transport:
        assert await transport.call("getblockcount") == 7
        assert clock.waited == [200, 400, 800]
        with pytest.raises(Temporary):
            await transport.call("generatetoaddress", 1, "x", idempotent=False)
    assert calls == 5


async def test_cookie_is_read_again_when_refused(tmp_path: Path) -> None:
    """A node that restarted has a new cookie; the call goes through without a person's help."""
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:old")

    def strict(request: httpx.Request) -> httpx.Response:
        good = httpx.BasicAuth("__cookie__", "new")
        wanted = next(good.auth_flow(httpx.Request("GET", "http://node"))).headers["authorization"]
        if request.headers["authorization"] != wanted:
            cookie.write_text("__cookie__:new")
            return httpx.Response(401)
        return result(request, "ok")

    transport = RpcTransport(
        "http://node", CookieFile(cookie), TestClock(), transport=httpx.MockTransport(strict)
    )
    async with transport:
        assert await transport.call("uptime") == "ok"
        assert await transport.call("uptime") == "ok"


def test_credentials_say_what_is_wrong(tmp_path: Path) -> None:
    """A cookie that is not there yet is waited for; a file that cannot be read is a person's to mend."""
    with pytest.raises(Temporary, match=r"l1\.no_cookie"):
        CookieFile(tmp_path / "absent").read()
    (tmp_path / "empty").write_text("")
    with pytest.raises(Temporary, match=r"l1\.no_cookie"):
        CookieFile(tmp_path / "empty").read()
    with pytest.raises(ConfigError, match=r"l1\.unreadable_cookie"):
        CookieFile(tmp_path).read()
    with pytest.raises(ConfigError, match=r"l1\.unreadable_password"):
        UserPassword("me", tmp_path / "absent").read()
    (tmp_path / "password").write_text("secret\n")
    assert UserPassword("me", tmp_path / "password").read() == ("me", "secret")


async def test_closed_client_is_temporary() -> None:
    """A call after closing ends like any lost connection, so that a stopping driver needs no special case."""
    transport = client(lambda request: result(request, 1))
    await transport.close()
    with pytest.raises(Temporary, match=r"l1\.closed"):
        await transport.call("uptime", idempotent=False)


async def test_wrong_network_is_refused() -> None:
    """A node of another network is named, with the command that starts on the right one."""
    mainnet = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
    async with client(lambda request: result(request, mainnet)) as transport:
        node = BitcoinNode(transport)
        await node.check_network("mainnet")
        with pytest.raises(ConfigError, match="follows mainnet, not regtest"):
            await node.check_network("regtest")
        with pytest.raises(ConfigError, match=r"l1\.unknown_network"):
            await node.check_network("nonet")


async def test_probe_finds_what_a_node_lacks() -> None:
    """Btcd's profile lacks three calls, Core's none; a missing call is not asked for twice."""
    for name, missing in (("btcd", ("estimatesmartfee", "getmempoolentry", "submitpackage")), ("core", ())):
        server = ProfileServer(FakeBitcoin(), load_profile(name))
        mock = httpx.MockTransport(server.handler)
        node = BitcoinNode(
            RpcTransport("http://node", FixedCredentials("u", "p"), TestClock(), transport=mock)
        )
        assert await node.probe() == missing
        asked = len(server.calls)
        await node.send_package([b""]) if missing else None
        assert len(server.calls) == asked


async def test_a_node_that_lies_about_blocks_is_not_believed() -> None:
    """A header or block of another hash is no answer to what was asked."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(2)
    wrong = bitcoin.chain()[1].raw

    def liar(request: httpx.Request) -> httpx.Response:
        method = json.loads(request.content)["method"]
        return result(request, wrong.hex() if method == "getblock" else wrong[:80].hex())

    async with client(liar) as transport:
        node = BitcoinNode(transport)
        for call in (node.header, node.raw_block):
            with pytest.raises(Temporary, match=r"l1\.bad_answer"):
                await call(bitcoin.tip.hash)


@pytest.mark.parametrize("answer", [None, 5, "zz", {"height": "1"}, [], {"height": True}])
async def test_answers_of_a_wrong_shape_are_refused(answer: object) -> None:
    """Whatever JSON a node sends, the result is our type or an error of ours, never another exception."""
    async with client(lambda request: result(request, answer)) as transport:
        node = BitcoinNode(transport)
        bitcoin = FakeBitcoin()
        calls = [node.best_tip(), node.block_hash(1), node.test_accept(b"\0"), node.send_package([b"\0"])]
        calls += [node.header(bitcoin.tip.hash), node.raw_block(bitcoin.tip.hash)]
        for call in calls:
            with pytest.raises(BitaiError):
                await call
        assert await node.fee_rate(2) is None


async def test_rates_are_converted_without_drift() -> None:
    """BTC per kvB, which JSON carries as a float, becomes the exact integer of sats."""
    for text, sats in ((0.00001, 1_000), (0.00012345, 12_345), (0.29, 29_000_000)):
        async with client(lambda request, text=text: result(request, {"feerate": text})) as transport:
            assert await BitcoinNode(transport).fee_rate(2) == sats


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("min relay fee not met, 100 < 153", Verdict.FEE_TOO_LOW),
        ("mempool min fee not met, 1 < 2", Verdict.FEE_TOO_LOW),
        ("insufficient fee, rejecting replacement abc; new feerate 1 <= old", Verdict.FEE_TOO_LOW),
        ("insufficient feerate: does not improve feerate diagram", Verdict.FEE_TOO_LOW),
        ("bad-txns-inputs-missingorspent", Verdict.MISSING_INPUTS),
        ("Transaction outputs already in utxo set", Verdict.IN_CHAIN),
        ("too-large-cluster", Verdict.CLUSTER_FULL),
        ("too-long-mempool-chain, exceeds descendant size limit", Verdict.CLUSTER_FULL),
        ("txn-mempool-conflict", Verdict.CONFLICT),
        ("bad-txns-spends-conflicting-tx", Verdict.CONFLICT),
        ("dust, tx with dust output must be 0-fee", Verdict.POLICY),
        ("words of a version to come", Verdict.POLICY),
    ],
)
def test_words_of_refusal_are_understood(text: str, verdict: Verdict) -> None:
    """Core's and btcd's words map to what we do next; unknown words wait and are shown."""
    assert verdict_of_text(text).verdict is verdict
    assert verdict_of_text(text).text == text


async def test_calls_are_counted_with_their_outcome() -> None:
    """An observer hears of each try: the method, ok or the error's code, and how long it took."""
    heard: list[tuple[str, str]] = []
    answers = iter([httpx.Response(503, text="busy"), None])

    def answer(request: httpx.Request) -> httpx.Response:
        return next(answers) or result(request, 1)

    mock = httpx.MockTransport(answer)
    transport = RpcTransport(
        "http://node",
        FixedCredentials("u", "p"),
        TestClock(),
        transport=mock,
        observer=lambda method, outcome, _: heard.append((method, outcome)),
    )
    assert await transport.call("uptime") == 1
    assert heard == [("uptime", "l1.busy"), ("uptime", "ok")]
