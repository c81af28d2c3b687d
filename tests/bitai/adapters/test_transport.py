"""Every way a Bitcoin node can fail to answer becomes one of our errors; nothing wrong passes for an answer."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from bitai.adapters.bitcoin import node as adapter
from bitai.adapters.bitcoin.credentials import CookieFile, UserPassword
from bitai.adapters.bitcoin.node import BitcoinNode
from bitai.adapters.bitcoin.transport import RpcTransport, TransportLimits
from bitai.adapters.bitcoin.verdicts import verdict_of_text
from l1.ports import Verdict
from primitives.bitcoin.header import parse_header
from primitives.errors import BitaiError, ConfigError, Rejected, Temporary
from primitives.ids import OutPoint, Txid
from tests.bitai.adapters.block_maker import make_block
from tests.bitai.adapters.peers import FixedCredentials, sign
from tests.bitai.adapters.rpc_profile import ProfileServer, load_profile
from tests.l1.fake_bitcoin import FakeBitcoin

COIN = (OutPoint(Txid(b"\x22" * 32), 0), 50_000)
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


def client(
    answer: Answer, clock: TestClock | None = None, limits: TransportLimits | None = None
) -> RpcTransport:
    """Return a transport whose node answers like this."""
    mock = httpx.MockTransport(answer)
    return RpcTransport(
        "http://node", FixedCredentials("u", "p"), clock or TestClock(), limits=limits, transport=mock
    )


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
        (lambda r: result(r, None, error="no"), Temporary, "l1.bad_answer"),
        (lambda r: result(r, None, error=[-5]), Temporary, "l1.bad_answer"),
        (lambda r: result(r, None, error={}), Temporary, "l1.bad_answer"),
        (lambda _: httpx.Response(302, headers={"location": "http://else/"}), Temporary, "l1.bad_answer"),
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


class Body(httpx.AsyncByteStream):
    """A body that comes in pieces, and counts how many were taken."""

    def __init__(self, piece: bytes, *, stalls: bool = False) -> None:
        self.piece = piece
        self.stalls = stalls
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.taken < 1_000:
            self.taken += 1
            yield self.piece
            if self.stalls:
                await asyncio.Event().wait()


async def test_an_endless_answer_is_cut_off() -> None:
    """Of an answer without end no more is read than the limit, whatever its head says."""
    limits = TransportLimits(answer_bytes=10_000, tries=1)
    for headers in ({}, {"content-length": "5"}):
        body = Body(b"x" * 1_000)
        transport = client(
            lambda _, body=body, headers=headers: httpx.Response(200, headers=headers, stream=body),
            limits=limits,
        )
        with pytest.raises(Temporary, match=r"l1\.bad_answer.*too long"):
            await transport.call("getblock")
        assert body.taken == 11


async def test_a_compressed_answer_is_not_unpacked() -> None:
    """Nobody asked for compression: a small body that unpacks to gigabytes is refused by its head."""
    body = Body(zlib.compress(bytes(1_000_000)))
    transport = client(lambda _: httpx.Response(200, headers={"content-encoding": "deflate"}, stream=body))
    with pytest.raises(Temporary, match=r"l1\.bad_answer.*compressed"):
        await transport.call("getblock", idempotent=False)
    assert body.taken == 0


async def test_an_answer_that_never_ends_is_given_up() -> None:
    """A node that begins to answer and then says nothing holds nobody for ever."""
    transport = client(
        lambda _: httpx.Response(200, stream=Body(b"{", stalls=True)),
        limits=TransportLimits(whole_s=0.01, tries=2),
    )
    with pytest.raises(Temporary, match=r"l1\.unreachable"):
        await transport.call("getblock")


async def test_a_node_that_hangs_is_noticed_by_the_tip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only wants to know whether the node is there does not wait as long as for a block, try after try."""
    monkeypatch.setattr(adapter, "TIP_LIMIT_S", 0.05)
    server = ProfileServer(FakeBitcoin(), load_profile("core"))
    for hanging in ("getbestblockhash", "getblockheader"):

        async def answer(request: httpx.Request, hanging: str = hanging) -> httpx.Response:
            if json.loads(request.content)["method"] == hanging:
                await asyncio.Event().wait()
            return await server.handler(request)

        transport = RpcTransport(
            "http://node", FixedCredentials("u", "p"), TestClock(), transport=httpx.MockTransport(answer)
        )
        async with asyncio.timeout(5), transport:
            with pytest.raises(Temporary, match=r"l1\.unreachable.*0\.05 s"):
                await BitcoinNode(transport).best_tip()


async def test_a_long_complaint_is_cut() -> None:
    """What a node says reaches logs, pages and the disk: no more of it than a person would read."""
    error = await failure(refuse(-26, "x" * 1_000_000))
    assert len(str(error)) < 3_000
    assert len(verdict_of_text("x" * 1_000_000).text) == 500


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


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8332", "ftp://node", "http://", "http://node:port", "http://me:secret@node:8332"]
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    """A typing mistake is no node that is away; a password in the URL would be shown wherever the URL is."""
    with pytest.raises(ConfigError, match=r"l1\.bad_url") as caught:
        RpcTransport(url, FixedCredentials("u", "p"), TestClock())
    assert "secret" not in f"{caught.value} {caught.value.fix}"


async def test_what_knows_no_blocks_is_no_bitcoin() -> None:
    """Another kind of server under the given URL is named as such at the start, and not waited for."""
    async with client(refuse(-32601, "the method getblockhash does not exist")) as transport:
        with pytest.raises(ConfigError, match=r"l1\.no_bitcoin"):
            await BitcoinNode(transport).check_network("regtest")


async def test_probe_outlives_a_node_that_goes_away() -> None:
    """A node that is busy while it is asked what it can do lacks nothing yet."""
    async with client(lambda _: httpx.Response(503, text="Work queue depth exceeded")) as transport:
        assert await BitcoinNode(transport).probe() == ()


async def test_a_pruned_block_is_named_by_height() -> None:
    """A node that has thrown away what we still have to read is a person's to change, and is not polled."""
    bitcoin = FakeBitcoin()
    bitcoin.mine(2)

    def pruned(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["method"] == "getblockheader":
            return result(request, {"height": 2})
        return refuse(-1, "Block not available (pruned data)")(request)

    async with client(pruned) as transport:
        with pytest.raises(ConfigError, match=r"l1\.pruned: .*block 2") as caught:
            await BitcoinNode(transport).raw_block(bitcoin.tip.hash)
        assert "from 2 on" in caught.value.fix


async def test_unknown_refusals_of_reads_are_waited_out() -> None:
    """A block that is not downloaded yet, or words of a version to come: asked again, and never a crash."""
    async with client(refuse(-1, "Block not available (not fully downloaded)")) as transport:
        node, there = BitcoinNode(transport), FakeBitcoin().tip.hash
        for call in (node.best_tip(), node.header(there), node.raw_block(there)):
            with pytest.raises(Temporary, match=r"l1\.bad_answer"):
                await call


async def test_a_block_is_believed_whole_or_not_at_all() -> None:
    """Under the right header: a cut, longer or altered body, and a changed witness, are no answer."""
    parent = FakeBitcoin().chain()[0].raw
    spend = sign([COIN], [40_000])
    good = make_block(parent, 1, b"\x51", [spend.raw])
    at = good.index(spend.inputs[0].witness[0])
    flipped = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    value = good.index((40_000).to_bytes(8, "little"))
    altered = good[:value] + (40_001).to_bytes(8, "little") + good[value + 8 :]
    block_hash = parse_header(good[:80]).hash
    for bad in (good[:-1], good + b"\0", good[:80], good[:79], b"", flipped, altered):
        async with client(lambda request, bad=bad: result(request, bad.hex())) as transport:
            with pytest.raises(Temporary, match=r"l1\.bad_answer"):
                await BitcoinNode(transport).raw_block(block_hash)
    async with client(lambda request: result(request, good.hex())) as transport:
        assert await BitcoinNode(transport).raw_block(block_hash) == good


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


@pytest.mark.parametrize(
    "answer",
    [
        *(None, 5, "zz", [], ["a"] * 64, [{"allowed": 1}]),
        *({"height": "1"}, {"height": True}, {"height": -1}),
        *({"tx-results": {}}, {"tx-results": {"w": 1}, "package_msg": {}}),
        *({"feerate": 1e308}, {"feerate": True}, {"feerate": -1}, {"mempoolminfee": 1e308}),
    ],
)
async def test_answers_of_a_wrong_shape_are_refused(answer: object) -> None:
    """Whatever JSON a node sends, the result is our type or an error of ours, never another exception."""
    async with client(lambda request: result(request, answer)) as transport:
        node = BitcoinNode(transport)
        bitcoin = FakeBitcoin()
        calls = [node.best_tip(), node.block_hash(1), node.test_accept(b"\0"), node.send_package([b"\0"])]
        calls += [node.header(bitcoin.tip.hash), node.raw_block(bitcoin.tip.hash)]
        calls += [node.check_network("regtest"), node.send(sign([COIN], [1]).raw)]
        for call in calls:
            with pytest.raises(Temporary):
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
