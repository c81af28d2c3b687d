"""A node's side of the neuron protocol, just enough to test the other side: real sockets, no rollup."""

import asyncio
import secrets

from aiohttp import WSMsgType, web

from vm.inference.messages import (
    Answer,
    Challenge,
    Decline,
    Goodbye,
    Heartbeat,
    Hello,
    Job,
    Welcome,
    decode_message,
    encode_message,
    recover_hello,
)
from vm.inference.wire import NO_SEED, Request, recover_neuron

CHAIN = b"\xc0" * 32


class FakeNode:
    """Serve on a free port (or a given one), keep every message by kind, and send what a test says."""

    def __init__(self, *, chain=CHAIN, heartbeat_ms=60_000, before_welcome=None):
        self.chain = chain
        self.heartbeat_ms = heartbeat_ms
        self.before_welcome = before_welcome
        self.socket = None
        self.connections = 0
        self.hellos, self.answers, self.declines, self.heartbeats, self.goodbyes = [], [], [], [], []
        self._news = asyncio.Condition()
        self._runner = None

    async def start(self, port=0):
        """Listen on loopback."""
        application = web.Application()
        application.router.add_get("/", self._serve)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self):
        """Close everything at once, as a dying node does."""
        if self.socket is not None:
            await self.drop()
        await self._runner.cleanup()

    async def drop(self):
        """Cut the connection without a word."""
        socket, self.socket = self.socket, None
        if socket._writer is not None:
            socket._writer.transport.abort()

    @property
    def url(self):
        """Where to connect."""
        return f"ws://127.0.0.1:{self.port}/"

    async def send(self, *messages):
        """Send messages, or raw bytes or text, on the open connection."""
        for message in messages:
            if isinstance(message, str):
                await self.socket.send_str(message)
            else:
                await self.socket.send_bytes(
                    message if isinstance(message, bytes) else encode_message(message)
                )

    async def until(self, holds, within_s=20):
        """Wait for a condition over what has arrived."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(lambda: holds(self))

    async def joined(self, times=1):
        """Wait for the neuron's nth handshake."""
        await self.until(lambda node: len(node.hellos) >= times and node.socket is not None)

    async def _serve(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        nonce = secrets.token_bytes(32)
        await socket.send_bytes(encode_message(Challenge(self.chain, nonce, "fake node")))
        async for frame in socket:
            if frame.type is WSMsgType.BINARY:
                await self._take(socket, nonce, decode_message(frame.data))
        return socket

    async def _take(self, socket, nonce, message):
        if isinstance(message, Hello):
            assert message.nonce == nonce
            neuron = recover_hello(self.chain, message)
            said = self.before_welcome or Welcome(neuron, self.heartbeat_ms)
            await socket.send_bytes(encode_message(said))
            self.socket = socket
        shelf = {
            Hello: self.hellos,
            Answer: self.answers,
            Decline: self.declines,
            Heartbeat: self.heartbeats,
            Goodbye: self.goodbyes,
        }[type(message)]
        shelf.append(message)
        async with self._news:
            self._news.notify_all()


def job_for(artifact, data, *, max_output=None, ask_height=100):
    """Return the job that asks a model about some bytes."""
    size = artifact.manifest.output_bytes if max_output is None else max_output
    request = Request(artifact.model_id, data, b"", size, NO_SEED)
    return Job(request.hash, request, ask_height)


def signer_of(answer, artifact, chain=CHAIN):
    """Return who signed an answer message."""
    return recover_neuron(chain, artifact.model_id, answer.answer)
