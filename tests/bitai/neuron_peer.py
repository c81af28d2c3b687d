"""A neuron's side of the connection, one message at a time, honest only as far as a test wants."""

from contextlib import asynccontextmanager

from aiohttp import ClientSession, WSMsgType, web

from primitives.curve import ECDSA_BYTES
from vm.inference.messages import (
    Challenge,
    Hello,
    Welcome,
    decode_message,
    encode_message,
    sign_hello,
)
from vm.inference.wire import Status, sign_answer


class Peer:
    """One open connection to a node."""

    def __init__(self, socket):
        self.socket = socket
        self.identity = None

    async def send(self, message):
        """Send a message, or bytes or text as they are."""
        if isinstance(message, str):
            await self.socket.send_str(message)
        else:
            await self.socket.send_bytes(message if isinstance(message, bytes) else encode_message(message))

    async def receive(self):
        """The next message; None when the node has closed the connection."""
        frame = await self.socket.receive(timeout=10)
        return decode_message(frame.data) if frame.type is WSMsgType.BINARY else None

    async def hello(self, secret, models, *, capacity=4, nonce=None, chain=None):
        """Answer the challenge; return what the node says to that."""
        challenge = await self.receive()
        assert isinstance(challenge, Challenge)
        self.identity = challenge.config_identity
        unsigned = Hello(
            nonce or challenge.nonce, tuple(sorted(models)), capacity, "test", bytes(ECDSA_BYTES)
        )
        await self.send(sign_hello(secret, chain or self.identity, unsigned))
        return await self.receive()

    async def join(self, secret, models, **how):
        """Shake hands and be let in."""
        welcome = await self.hello(secret, models, **how)
        assert isinstance(welcome, Welcome), welcome
        return self

    def answer(self, secret, job, output, status=Status.OK):
        """A signed answer to a job."""
        return sign_answer(secret, self.identity, job.request, (status, output))


@asynccontextmanager
async def listening(application, make_site=web.TCPSite):
    """Serve an application on loopback; yields its ws:// URL."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = make_site(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def connected(url):
    """Open a connection as a neuron would."""
    async with ClientSession() as session, session.ws_connect(url + "/") as socket:
        yield Peer(socket)
