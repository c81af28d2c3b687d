"""The page in a real browser: what only a browser does to a form, a stylesheet and a narrow screen."""

import asyncio
import re
import shutil
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from bitai.metrics import Metrics
from bitai.web import WebOptions, web_app
from tests.bitai.nodes import ADDRESS, FixedNode, RecordedWorld

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here")


class Tab:
    """One tab, driven by the browser's debugging protocol."""

    def __init__(self, socket):
        self.socket = socket
        self.number = 0

    async def send(self, method, **params):
        """Give an order and return its result."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        while (message := await self.socket.receive_json(timeout=30)).get("id") != self.number:
            pass
        return message["result"]

    async def run(self, script):
        """Return what a script in the page gives."""
        result = await self.send("Runtime.evaluate", expression=script, returnByValue=True)
        return result["result"].get("value")

    async def open(self, url):
        """Show a page."""
        await self.send("Page.navigate", url=url)
        await self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    async def until(self, script):
        """Wait until a script gives something true."""
        async with asyncio.timeout(30):
            while not await self.run(script):
                pass


@asynccontextmanager
async def browsing(folder):
    """A browser with one tab."""
    process = await asyncio.create_subprocess_exec(
        BROWSER,
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(rb"ws://(\S+?)/", await process.stderr.readline())):
                pass
        draining = asyncio.create_task(process.stderr.read())
        async with ClientSession() as session:
            async with session.get(f"http://{found[1].decode()}/json") as response:
                tabs = await response.json(content_type=None)
            url = next(each["webSocketDebuggerUrl"] for each in tabs if each["type"] == "page")
            async with session.ws_connect(url, max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        process.terminate()
        await process.wait()
        await draining


async def test_the_faucets_form_pays(tmp_path):
    """Filled in and sent by a browser, the form pays: neither our headers nor the browser's stop it."""
    world = RecordedWorld()
    app = web_app(FixedNode(), Metrics(), WebOptions(dev=world))
    async with TestServer(app) as server, browsing(tmp_path) as tab:
        await tab.open(str(server.make_url("/")))
        await tab.run(f"document.querySelector('#address').value = '{ADDRESS}'")
        await tab.run("document.querySelector('form button').click()")
        await tab.until("document.body.innerText.includes('Sent')")
    assert world.asked == [("faucet", (ADDRESS, 100_000_000))]


async def test_every_screen_shows_the_page_whole(tmp_path):
    """Nothing runs over the side of a telephone or of a desk's screen, and the stylesheet is loaded."""
    app = web_app(FixedNode(), Metrics(), WebOptions(dev=RecordedWorld()))
    async with TestServer(app) as server, browsing(tmp_path) as tab:
        for width in (320, 1280):
            await tab.send(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=800,
                deviceScaleFactor=1,
                mobile=width < 600,
            )
            await tab.open(str(server.make_url("/")))
            assert await tab.run("document.documentElement.scrollWidth") <= width
            assert await tab.run("document.styleSheets[0].cssRules.length") > 5
