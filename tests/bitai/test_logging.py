"""Logs: one form, to standard error, and no secret in any field."""

import contextlib
import io
import json
import logging
import re

import pytest
import structlog
from aiohttp import TCPConnector, web
from aiohttp.test_utils import TestClient, TestServer

from bitai.logging import REDACTED, configure_logging


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    filters = logging.getLogger("aiohttp.server").filters[:]
    yield
    logging.getLogger("aiohttp.server").filters[:] = filters
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_json_lines_hold_event_and_fields():
    """Each line is one JSON object, our records and the standard library's alike."""
    stream = io.StringIO()
    configure_logging(as_json=True, stream=stream)
    structlog.get_logger("node").info("block made", number=7)
    logging.getLogger("other").warning("old style %d", 1)
    first, second = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["event"], first["number"], first["level"]) == ("block made", 7, "info")
    assert (second["event"], second["level"]) == ("old style 1", "warning")
    assert first["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_are_blanked(as_json):
    """Fields named like secrets, nested ones, and credentials inside URLs never reach a line."""
    stream = io.StringIO()
    configure_logging(as_json=as_json, stream=stream)
    structlog.get_logger("node").info(
        "connect",
        l1_password="hunter2",
        nested={"private_key": "hunter2", "list": ["http://u:hunter2@h"]},
        url="http://user:hunter2@127.0.0.1:18443/",
    )
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count(REDACTED) == 4


@pytest.mark.parametrize("as_json", [True, False])
def test_tracebacks_show_no_local_variables(as_json):
    """A traceback names lines, never values: a key is a local variable somewhere."""
    stream = io.StringIO()
    configure_logging(as_json=as_json, stream=stream)
    hidden = "hunter" + "2"
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("node").exception("failed")
    assert "ValueError: broken" in stream.getvalue()
    assert hidden not in stream.getvalue()


def test_level_is_honoured():
    """Less severe records than the level are not written."""
    stream = io.StringIO()
    configure_logging(as_json=True, level="warning", stream=stream)
    structlog.get_logger("node").info("quiet")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 2)])
async def test_bodies_packed_wrongly_fill_no_log(level, lines):
    """Anybody may send them: each is a counted line for debugging, without traceback; other faults are shown."""
    stream = io.StringIO()
    configure_logging(as_json=True, level=level, stream=stream)

    async def read(request):
        if request.query:
            raise ValueError("a bug")
        with contextlib.suppress(web.RequestPayloadError):
            await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", read)
    async with TestClient(TestServer(app), connector=TCPConnector(force_close=True)) as client:
        packed = {"Content-Encoding": "gzip"}
        for _ in range(2):
            assert (await client.post("/", data=io.BytesIO(b"no gzip"), headers=packed)).status == 200
        assert (await client.post("/?bug", data=b"")).status == 500
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    bodies = [each for each in told if "packed wrongly" in each["event"]]
    assert [each["level"] for each in bodies] == ["debug"] * lines
    assert ["exception" in each for each in bodies] == [False] * lines
    counted = [int(re.search(r"(\d+)\. so far", each["event"])[1]) for each in bodies]
    assert counted == list(range(counted[0], counted[0] + lines) if lines else ())
    (bug,) = (each for each in told if each["level"] == "error")
    assert "a bug" in bug["exception"]
