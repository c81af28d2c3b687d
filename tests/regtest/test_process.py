"""The real process: it starts, serves, stops cleanly, and loses nothing to kill -9."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.functional, pytest.mark.timeout(180)]
READY = re.compile(r"ready at (http://\S+) ")
ANYWHERE = "raw(51)"


class Process:
    """One `python -m regtest` on a free port."""

    def __init__(self, directory: Path, *flags: str):
        command = [sys.executable, "-m", "regtest", "--datadir", str(directory), "--port", "0", *flags]
        self.directory = directory
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        found = READY.search(line)
        assert found, line + self.process.stderr.read()
        self.url = found[1]
        self.login = (directory / ".cookie").read_text()

    def call(self, method, *params, login=None):
        """One JSON-RPC call; raises on an error object."""
        status, reply = self.post(
            {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, login=login
        )
        assert status == 200, status
        assert "error" not in reply, reply
        return reply["result"]

    def post(self, request, *, login=None):
        """Status and decoded reply."""
        pair = b64encode((login or self.login).encode()).decode()
        outgoing = urllib.request.Request(
            self.url, json.dumps(request).encode(), {"Authorization": "Basic " + pair}
        )
        try:
            with urllib.request.urlopen(outgoing, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def kill(self):
        """Kill it on whatever line it is."""
        self.process.send_signal(signal.SIGKILL)
        self.finish()

    def stop(self) -> int:
        """Ask it to stop, and wait."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish()

    def finish(self) -> int:
        """Wait for the end and close the pipes."""
        status = self.process.wait(timeout=60)
        self.errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return status


@pytest.fixture
def start(tmp_path):
    """Start processes; whatever still runs at the end is killed."""
    started: list[Process] = []

    def start_one(*flags, name="btc"):
        process = Process(tmp_path / name, *flags)
        started.append(process)
        return process

    yield start_one
    for process in started:
        if process.process.poll() is None:
            process.kill()


def test_life(start, tmp_path):
    """Start, serve cookie and user, stop on SIGTERM with status 0, come back with the mempool."""
    password = tmp_path / "password"
    password.write_text("hunter2\n")
    flags = ["--premine", "105", "--rpc-user", "alice", "--rpc-password-file", str(password)]
    one = start(*flags)
    assert one.call("getblockcount", login="alice:hunter2") == 105
    assert one.post({}, login="alice:wrong")[0] == 401
    address = one.call("getnewaddress")
    txid = one.call("sendtoaddress", address, 1)
    assert oct((one.directory / ".cookie").stat().st_mode)[-3:] == "600"
    assert one.stop() == 0
    assert not (one.directory / ".cookie").exists()
    two = start(*flags)
    assert (two.call("getblockcount"), two.call("getrawmempool")) == (105, [txid])
    assert not (two.directory / "mempool.dat").exists()
    assert two.call("stop") == "regtest Bitcoin stopping"
    assert two.finish() == 0


@pytest.mark.parametrize(
    "attempt", [*range(3), *(pytest.param(number, marks=pytest.mark.soak) for number in range(3, 20))]
)
def test_killed_under_load(start, attempt):
    """Every block that was acknowledged before kill -9 is there after it, and the chain goes on."""
    one = start()
    acknowledged: list[str] = []
    enough = threading.Event()

    def mine():
        with contextlib.suppress(OSError, ConnectionError):
            while True:
                acknowledged.extend(one.call("generatetodescriptor", 1, ANYWHERE))
                if len(acknowledged) >= 20 * (attempt % 3 + 1) + attempt:
                    enough.set()

    miner = threading.Thread(target=mine)
    miner.start()
    assert enough.wait(60)
    one.kill()
    miner.join()
    two = start()
    assert two.call("getblockcount") - len(acknowledged) in (0, 1)
    for height, block_hash in enumerate(acknowledged, 1):
        assert two.call("getblockhash", height) == block_hash
    two.call("invalidateblock", acknowledged[-3])
    two.kill()
    three = start()
    assert three.call("getblockcount") == len(acknowledged) - 3
    three.call("reconsiderblock", acknowledged[-3])
    assert three.call("getblockcount") >= len(acknowledged)
    assert three.call("generatetodescriptor", 1, ANYWHERE)
    assert three.stop() == 0


def test_second_instance_and_taken_port(start, tmp_path):
    """Both are refused with status 2, a remedy and a code; the running one is not disturbed."""
    one = start()

    def refused(*flags):
        command = [sys.executable, "-m", "regtest", *flags]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    second = refused("--datadir", str(one.directory), "--port", "0")
    assert (second.returncode, "instance.taken" in second.stderr) == (2, True)
    assert str(one.process.pid) in second.stderr
    port = one.url.rpartition(":")[2]
    taken = refused("--datadir", str(tmp_path / "other"), "--port", port)
    assert (taken.returncode, "server.port_in_use" in taken.stderr) == (2, True)
    assert not (tmp_path / "other" / ".cookie").exists()
    assert one.call("getblockcount") == 0


def test_interval_mining(start):
    """Blocks come by themselves."""
    one = start("--mine-interval", "0.05")
    deadline = time.monotonic() + 60
    while one.call("getblockcount") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert one.stop() == 0


def test_hostile_bytes_on_the_socket(start):
    """Broken HTTP, half a request and a vanished client do not disturb the next one."""
    one = start()
    host, port = one.url.removeprefix("http://").rsplit(":", 1)
    for junk in (b"\x00" * 1000, b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", os.urandom(500)):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(junk)
    pair = b64encode(one.login.encode()).decode()
    head = f"POST / HTTP/1.1\r\nAuthorization: Basic {pair}\r\nContent-Length: 1000000\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head + b"x" * 1000)
    assert one.call("getblockcount") == 0
    assert one.stop() == 0


def test_block_over_http(start):
    """A block built here comes back the same after submitblock."""
    one = start("--premine", "101")
    address = one.call("getnewaddress")
    assert one.call("sendtoaddress", address, 1)
    made = one.call("generateblock", ANYWHERE, one.call("getrawmempool"), False)
    assert one.call("submitblock", made["hex"]) is None
    assert one.call("getblock", made["hash"], 0) == made["hex"]
    assert one.stop() == 0
