"""The doctor: each finding says what is, and what to do where something is wrong."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import orjson
import pytest

from bitai.config import NodeConfig
from bitai.doctor import Verdict, examine


class _Bitcoin(BaseHTTPRequestHandler):
    """A Bitcoin node as far as the doctor asks."""

    chain = "regtest"
    status = 200
    date: str | None = None

    def do_POST(self) -> None:
        """Answer getblockchaininfo."""
        body = orjson.dumps({"result": {"chain": self.chain, "blocks": 7, "initialblockdownload": False}})
        self.send_response_only(self.status)
        if self.date:
            self.send_header("Date", self.date)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def bitcoin(tmp_path):
    """Start a stand-in Bitcoin node and return settings that lead to it."""
    servers = []

    def start(**facts: object) -> NodeConfig:
        server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Bitcoin,), facts))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        cookie = tmp_path / "cookie"
        cookie.write_text("__cookie__:x")
        url = f"http://127.0.0.1:{server.server_port}"
        return NodeConfig(datadir=tmp_path, l1_rpc=url, l1_cookie=cookie)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _found(config: NodeConfig) -> dict[str, tuple[Verdict, str]]:
    return {finding.name: (finding.verdict, finding.what) for finding in examine(config)}


def test_a_healthy_machine_can_run(tmp_path):
    """Embedded, with free ports and space: nothing but the core may be missing in a fresh checkout."""
    found = _found(NodeConfig(datadir=tmp_path / "node", rpc_port=0))
    assert found["disk"][0] in {Verdict.OK, Verdict.WARN}
    assert found["rpc_port"] == (Verdict.OK, "any free port")
    assert found["bitcoin"][0] is Verdict.OK
    assert found["python"][0] is Verdict.OK


def test_a_taken_port_is_named(tmp_path):
    """The process that has the port is named."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        verdict, what = _found(NodeConfig(datadir=tmp_path, rpc_port=port))["rpc_port"]
    assert verdict is Verdict.WARN
    assert str(port) in what
    assert "process" in what


def test_a_public_bind_is_warned_of(tmp_path):
    """Listening to the world is told before it happens."""
    assert _found(NodeConfig(datadir=tmp_path, rpc_bind="0.0.0.0"))["bind"][0] is Verdict.WARN


def test_a_readonly_place_fails(tmp_path, monkeypatch):
    """A folder that cannot be written stops a node."""
    monkeypatch.setattr("os.access", lambda *_args: False)
    assert _found(NodeConfig(datadir=tmp_path / "x"))["disk"][0] is Verdict.FAIL


def test_a_bitcoin_node_on_the_right_chain(bitcoin):
    """Reachable, right chain: its height is shown."""
    verdict, what = _found(bitcoin())["bitcoin"]
    assert verdict is Verdict.OK
    assert "height 7" in what


@pytest.mark.parametrize(
    ("facts", "words"),
    [({"chain": "main"}, "mainnet, not regtest"), ({"status": 401}, "refuses our user name")],
)
def test_a_wrong_bitcoin_node_fails(bitcoin, facts, words):
    """Wrong chain and wrong password are told apart."""
    verdict, what = _found(bitcoin(**facts))["bitcoin"]
    assert verdict is Verdict.FAIL
    assert words in what


def test_a_wrong_clock_is_noticed(bitcoin):
    """A clock far from the Bitcoin node's is a warning."""
    found = _found(bitcoin(date="Mon, 01 Jan 2024 00:00:00 GMT"))
    assert found["clock"][0] is Verdict.WARN


def test_no_bitcoin_node_fails(tmp_path):
    """Nothing listens: the address is shown without credentials."""
    verdict, what = _found(NodeConfig(datadir=tmp_path, l1_rpc="http://127.0.0.1:1"))["bitcoin"]
    assert verdict is Verdict.FAIL
    assert "127.0.0.1:1" in what
    assert "hunter2" not in what
