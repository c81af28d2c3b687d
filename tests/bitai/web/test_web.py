"""The page for people: readable without script, honest while starting, and a faucet that keeps its head."""

from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bitai.metrics import Metrics
from bitai.rate_limit import Budget
from bitai.status import L1Status, Phase
from bitai.web import WebOptions, web_app
from tests.bitai.nodes import ADDRESS, READY, FixedNode, RecordedWorld

JSON = {"Accept": "application/json"}
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def node() -> FixedNode:
    """A ready node."""
    return FixedNode()


@pytest.fixture
def world() -> RecordedWorld:
    """A regtest world that notes what is done to it."""
    return RecordedWorld()


@pytest.fixture
async def client(node, world):
    """A client of the page; its faucet gives twice, then not again (the clock stands still)."""
    options = WebOptions(dev=world, each=Budget(2, 60.0), clock=lambda: 0.0)
    async with TestClient(TestServer(web_app(node, Metrics(), options))) as client:
        yield client


async def test_home_shows_both_layers(client):
    """Heads, last blocks, inscriptions with their txids and sats, models: all on one page."""
    text = await (await client.get("/", headers=HTML)).text()
    for shown in ("112", "c0" * 32, "d1" * 32, "410 sats", "digits", "waits for its commit", "726945"):
        assert shown in text


async def test_page_loads_nothing_from_elsewhere(client):
    """No script, no foreign resource, and a policy that forbids both."""
    response = await client.get("/", headers=HTML)
    text = await response.text()
    assert "<script" not in text
    assert 'src="http' not in text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert (await client.get("/style.css")).content_type == "text/css"


@pytest.mark.parametrize("path", ["/", "/models/" + READY.models[0].model_id])
async def test_every_page_answers_json(client, path):
    """The same address answers programs."""
    response = await client.get(path, headers=JSON)
    assert response.content_type == "application/json"
    assert "digits" in await response.text()
    assert (await client.get(path, headers=HTML)).content_type == "text/html"


async def test_unknown_model_is_not_found(client):
    """A model that is not registered is a 404 with a code."""
    response = await client.get("/models/0x00", headers=JSON)
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "model.unknown"


async def test_page_of_a_starting_node(client, node):
    """While starting, the page says what is missing, and shows an empty chain without falling over."""
    nowhere = L1Status("http://x", connected=False)
    node.current = replace(READY, heads={}, blocks=(), inscriptions=(), models=(), l1=nowhere)
    node.unready(Phase.CONNECTING_BITCOIN, "no Bitcoin at http://x")
    text = await (await client.get("/", headers=HTML)).text()
    assert "Not ready: no Bitcoin at http://x" in text
    assert "not connected to http://x" in text


async def test_faucet_pays(client, world):
    """A form without script pays and shows the transaction."""
    response = await client.post("/faucet", data={"address": f" {ADDRESS} "}, headers=HTML)
    assert response.status == 200
    assert "0x" + "fa" * 32 in await response.text()
    assert world.asked == [("faucet", (ADDRESS, 100_000_000))]


async def test_faucet_is_bounded(client, world):
    """The third payment in a row is refused with the time to wait."""
    answers = [await client.post("/faucet", data={"address": ADDRESS}, headers=JSON) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert (await answers[2].json())["error"]["code"] == "faucet.too_fast"
    assert len(world.asked) == 2


@pytest.mark.parametrize("address", ["", "0x12", "<script>alert(1)</script>", "bc1qexample", "0x" + "g" * 40])
async def test_no_address_no_coins(client, world, address):
    """What is no address is refused, and shown back escaped."""
    response = await client.post("/faucet", data={"address": address}, headers=HTML)
    assert response.status == 400
    assert "<script>" not in await response.text()
    assert world.asked == []


async def test_regtest_bitcoin_addresses_are_paid_too(client, world):
    """The faucet serves both layers."""
    address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
    await client.post("/faucet", data={"address": address}, headers=JSON)
    assert world.asked == [("faucet", (address, 100_000_000))]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"address=\xff\xfe"),
        ("application/x-www-form-urlencoded; charset=bogus", b"address=0x"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"a"),
        ("multipart/form-data; boundary=x", b"garbage"),
        ("multipart/form-data", b"garbage"),
        ("application/json", b"{}"),
    ],
)
async def test_what_is_no_form_is_the_callers_fault(client, world, kind, body):
    """Bytes that no browser sends are refused like a wrong address, not met with a fault."""
    response = await client.post("/faucet", data=body, headers=JSON | {"Content-Type": kind})
    assert response.status == 400
    assert (await response.json())["error"]["code"] in {"faucet.bad_form", "faucet.bad_address"}
    assert world.asked == []


async def test_nothing_from_outside_becomes_markup(node):
    """Names of models, reasons and URLs are text, whatever is written in them."""
    evil = "<script>alert(1)</script>"
    status = node.status()
    shown = replace(
        status,
        models=(replace(status.models[0], name=evil, callable=False, reason=evil),),
        inscriptions=(replace(status.inscriptions[0], reason=evil),),
        urls={evil: evil},
    )
    node.status = lambda: shown
    async with TestClient(TestServer(web_app(node, Metrics()))) as client:
        for path in ("/", f"/models/{status.models[0].model_id}"):
            text = await (await client.get(path, headers=HTML)).text()
            assert evil not in text
            assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("names", "host", "status"),
    [
        (frozenset(), "LOCALHOST:8550", 200),
        (frozenset(), "192.0.2.7:8550", 200),
        (frozenset(), "[2001:db8::1]:8550", 200),
        (frozenset(), "node.example", 403),
        (frozenset(), "127.0.0.1.evil.example", 403),
        (frozenset({"node.example"}), "node.example", 200),
        (frozenset({"*"}), "node.example", 200),
    ],
)
async def test_names_that_the_page_answers_to(node, names, host, status):
    """Loopback's names, bare addresses, which no page can point elsewhere, and what the node was told it is called."""
    async with TestClient(TestServer(web_app(node, Metrics(), WebOptions(host_names=names)))) as client:
        assert (await client.get("/", headers=HTML | {"Host": host})).status == status


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
async def test_forms_of_strangers_are_refused(client, world, headers):
    """A page elsewhere cannot make a visitor's browser use the faucet."""
    response = await client.post("/faucet", data={"address": ADDRESS}, headers=headers)
    assert response.status == 403
    assert world.asked == []


async def test_own_forms_are_taken(client, world):
    """What a browser sends from our own page passes."""
    origin = str(client.make_url("/")).rstrip("/")
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/faucet", data={"address": ADDRESS}, headers=headers)).status == 200
    assert (await client.post("/faucet", data={"address": ADDRESS}, headers={"Origin": origin})).status == 200


async def test_our_policy_leaves_our_form_its_origin(client):
    """Under "no-referrer" browsers send `Origin: null` with a page's own form, which is a stranger's to us."""
    assert (await client.get("/", headers=HTML)).headers["Referrer-Policy"] == "same-origin"


async def test_no_faucet_where_coins_are_real(node):
    """Without dev controls there is no form, and posting to it is refused."""
    async with TestClient(TestServer(web_app(node, Metrics()))) as client:
        assert "Faucet" not in await (await client.get("/", headers=HTML)).text()
        response = await client.post("/faucet", data={"address": ADDRESS}, headers=JSON)
        assert (await response.json())["error"]["code"] == "faucet.none"


async def test_refreshing_is_the_readers_choice(client):
    """The page reloads itself only when asked, so that nobody's typing is lost."""
    assert "http-equiv" not in await (await client.get("/", headers=HTML)).text()
    assert "http-equiv" in await (await client.get("/?live", headers=HTML)).text()
