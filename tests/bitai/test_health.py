"""The operator's door: what each health page means, and who may administer."""

import asyncio
import io

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bitai.health import AdminAccess, health_app
from bitai.metrics import Metrics
from bitai.status import Phase
from tests.bitai.nodes import ADDRESS, FixedNode, RecordedWorld

COOKIE = "c0ffee"
OWNER = {"Authorization": f"Bearer {COOKIE}"}


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
    """A client of the door."""
    app = health_app(node, Metrics(), AdminAccess(COOKIE, world))
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_ready_node(client):
    """A ready node answers 200 everywhere."""
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/status"):
        response = await client.get(path)
        assert response.status == 200, path


async def test_starting_node_is_live_but_not_ready(client, node):
    """Start-up is no death: liveness stays 200 while readiness is 503 and says why in words."""
    node.unready(Phase.REPLAYING, "replaying block 5 of 9")
    assert (await client.get("/livez")).status == 200
    ready = await client.get("/readyz")
    assert ready.status == 503
    assert (await ready.json())["reasons"] == ["replaying block 5 of 9"]
    startup = await client.get("/startupz")
    assert startup.status == 503
    assert (await startup.json())["phase"] == "replaying"
    assert "bitai_up 0.0" in await (await client.get("/metrics")).text()


async def test_status_is_whole(client):
    """The status page carries heads, Bitcoin, inscriptions and models as JSON."""
    status = await (await client.get("/status")).json()
    assert status["chain_id"] == 726_945
    assert status["heads"]["safe"]["number"] == 7
    assert status["inscriptions"][0]["cost_sats"] == 410
    assert status["models"][0]["name"] == "digits"


async def test_metrics_speak_prometheus(client):
    """The content type is the one Prometheus asks for."""
    response = await client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    assert "# TYPE bitai_up gauge" in await response.text()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": COOKIE}])
async def test_strangers_may_not_administer(client, world, headers):
    """Without the cookie nothing happens to the world."""
    response = await client.post("/admin/dev/mine", json={"blocks": 1}, headers=headers)
    assert response.status == 401
    assert (await response.json())["error"]["code"] == "admin.no_cookie"
    assert world.asked == []


async def test_no_bytes_in_a_request_are_a_fault(client, world):
    """A header that is no text and a body that does not unpack are the caller's fault."""
    host, port = client.host, client.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"POST /admin/dev/mine HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\r\n")
    writer.write(b"Content-Length: 2\r\n\r\n{}")
    assert b" 401 " in await reader.readline()
    writer.close()
    await writer.wait_closed()
    packed = OWNER | {"Content-Encoding": "gzip"}
    response = await client.post("/admin/dev/mine", data=io.BytesIO(b"{}"), headers=packed)
    assert response.status == 400
    assert world.asked == []


async def test_owner_administers(client, world):
    """The owner pays, mines and reorganises."""
    paid = await client.post("/admin/dev/faucet", json={"address": ADDRESS, "amount_sats": 5}, headers=OWNER)
    mined = await client.post("/admin/dev/mine", json={"blocks": 2}, headers=OWNER)
    moved = await client.post("/admin/dev/reorg", json={"depth": 3}, headers=OWNER)
    assert [response.status for response in (paid, mined, moved)] == [200, 200, 200]
    assert world.asked == [("faucet", (ADDRESS, 5)), ("mine", 2), ("reorg", 3)]
    assert len((await mined.json())["hashes"]) == 2


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", *(b'{"blocks": %b}' % value for value in (b"0", b'"1"', b"true", b"99999"))]
)
async def test_senseless_requests_are_refused(client, world, body):
    """What is no sensible request is refused in words and changes nothing."""
    response = await client.post("/admin/dev/mine", data=body, headers=OWNER)
    assert response.status == 400
    assert (await response.json())["error"]["what"]
    assert world.asked == []


async def test_refusals_carry_the_code_of_the_world(client, world):
    """An empty faucet is told as such."""
    world.coins_sats = 0
    response = await client.post(
        "/admin/dev/faucet", json={"address": ADDRESS, "amount_sats": 5}, headers=OWNER
    )
    assert response.status == 409
    assert (await response.json())["error"]["code"] == "faucet.empty"


async def test_a_real_network_has_no_dev_controls(node):
    """Where coins are real there is nothing to mine or to give away."""
    async with TestClient(TestServer(health_app(node, Metrics(), AdminAccess(COOKIE, None)))) as client:
        response = await client.post("/admin/dev/mine", json={"blocks": 1}, headers=OWNER)
        assert (await response.json())["error"]["code"] == "admin.not_dev"


async def test_foreign_host_names_are_refused(client):
    """A page that points its own name at loopback reads nothing of ours."""
    response = await client.get("/status", headers={"Host": "evil.example:9550"})
    assert response.status == 403
    assert "chain_id" not in await response.text()
