"""Accept neurons on a WebSocket: handshake, jobs out, answers in; who gets which job is decided elsewhere.

Layout and order of messages: docs/spec/neuron-protocol.md. A neuron proves its key by signing a fresh nonce;
whatever breaks the protocol ends that connection with a stable code and touches nothing else.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from aiohttp import WSMsgType, web

from primitives.errors import BitaiError, InvalidInput
from vm.inference.messages import (
    MAX_MESSAGE_BYTES,
    NONCE_BYTES,
    Answer,
    Challenge,
    Decline,
    DeclineReason,
    Goodbye,
    Heartbeat,
    Hello,
    Job,
    Message,
    Welcome,
    decode_message,
    encode_message,
    recover_hello,
)

if TYPE_CHECKING:
    from primitives.ids import Address, Hash32, ModelId
    from vm.inference.wire import SignedAnswer

log = structlog.get_logger(__name__)

HEARTBEAT_MS: Final = 10_000
SILENCE_LIMIT_S: Final = 35.0
"""Three heartbeats and a little: a neuron silent for longer is taken for gone."""
HANDSHAKE_LIMIT_S: Final = 10.0
MAX_CONNECTIONS: Final = 256
SEND_QUEUE: Final = 1_024
"""Jobs waiting for one slow socket; beyond it the neuron is dropped and its jobs go to others."""


class NeuronEvents(Protocol):
    """What the dispatcher wants to hear, on the event loop."""

    def joined(self, neuron: Address, models: tuple[ModelId, ...], capacity: int) -> None: ...
    def left(self, neuron: Address) -> None: ...
    def answered(self, neuron: Address, answer: SignedAnswer) -> None: ...
    def declined(self, neuron: Address, request_hash: Hash32, reason: DeclineReason) -> None: ...


@dataclass(slots=True)
class _Connection:
    neuron: Address
    models: tuple[ModelId, ...]
    socket: web.WebSocketResponse
    outbox: asyncio.Queue[Job] = field(default_factory=lambda: asyncio.Queue(SEND_QUEUE))


class NeuronServer:
    """The listening side of the neuron protocol."""

    def __init__(self, identity: Hash32, software: str, events: NeuronEvents) -> None:
        """Serve neurons of the chain with this config identity."""
        self._identity = identity
        self._software = software
        self._events = events
        self._connections: dict[Address, _Connection] = {}
        self._open = 0

    @property
    def connected(self) -> dict[Address, tuple[ModelId, ...]]:
        """The neurons at hand and the models each offers."""
        return {each.neuron: each.models for each in self._connections.values()}

    def application(self) -> web.Application:
        """Return the aiohttp application with the WebSocket at /."""
        app = web.Application()
        app.router.add_get("/", self._serve)
        return app

    def send(self, neuron: Address, job: Job) -> bool:
        """Queue a job for a neuron; False if it is gone or too slow to take more."""
        connection = self._connections.get(neuron)
        if connection is None:
            return False
        try:
            connection.outbox.put_nowait(job)
        except asyncio.QueueFull:
            return False
        return True

    async def close(self) -> None:
        """Say goodbye to everyone."""
        for connection in list(self._connections.values()):
            await _say(connection.socket, Goodbye("node.stopping", "the node stops"))
            await connection.socket.close()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=15)
        await socket.prepare(request)
        if self._open >= MAX_CONNECTIONS:
            await _say(socket, Goodbye("neuron.too_many", "this node serves no more neurons"))
            await socket.close()
            return socket
        self._open += 1
        try:
            connection = await self._shake_hands(socket)
            await self._attend(connection)
        except BitaiError as error:
            log.warning("neuron refused", code=error.code, reason=error.message)
            await _say(socket, Goodbye(error.code, "the connection broke the protocol"))
        except (TimeoutError, ConnectionError):
            log.info("neuron went silent")
        finally:
            self._open -= 1
            await socket.close()
        return socket

    async def _shake_hands(self, socket: web.WebSocketResponse) -> _Connection:
        nonce = secrets.token_bytes(NONCE_BYTES)
        await socket.send_bytes(encode_message(Challenge(self._identity, nonce, self._software)))
        hello = await _receive(socket, HANDSHAKE_LIMIT_S)
        if not isinstance(hello, Hello) or hello.nonce != nonce:
            raise InvalidInput("neuron.handshake", "the first message must be a hello over this nonce")
        neuron = recover_hello(self._identity, hello)
        old = self._connections.pop(neuron, None)
        if old is not None:  # the key is proved, so the newer connection is the neuron after a broken link
            self._events.left(neuron)
            await _say(old.socket, Goodbye("neuron.replaced", "the same key connected again"))
            await old.socket.close()
        connection = _Connection(neuron, hello.models, socket)
        self._connections[neuron] = connection
        await socket.send_bytes(encode_message(Welcome(neuron, HEARTBEAT_MS)))
        log.info("neuron joined", neuron="0x" + neuron.hex(), models=len(hello.models), software=hello.software)
        self._events.joined(neuron, hello.models, hello.capacity)
        return connection

    async def _attend(self, connection: _Connection) -> None:
        sender = asyncio.create_task(_drain(connection))
        try:
            while True:
                message = await _receive(connection.socket, SILENCE_LIMIT_S)
                if isinstance(message, Goodbye):
                    return
                self._take(connection.neuron, message)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            if self._connections.get(connection.neuron) is connection:
                del self._connections[connection.neuron]
                self._events.left(connection.neuron)
            log.info("neuron left", neuron="0x" + connection.neuron.hex())

    def _take(self, neuron: Address, message: Message) -> None:
        if isinstance(message, Answer):
            self._events.answered(neuron, message.answer)
        elif isinstance(message, Decline):
            self._events.declined(neuron, message.request_hash, message.reason)
        elif not isinstance(message, Heartbeat):
            raise InvalidInput("neuron.unexpected", "a neuron answers, declines, beats or leaves")


async def _drain(connection: _Connection) -> None:
    while True:
        job = await connection.outbox.get()
        await connection.socket.send_bytes(encode_message(job))


async def _receive(socket: web.WebSocketResponse, limit_s: float) -> Message:
    async with asyncio.timeout(limit_s):
        frame = await socket.receive()
    if frame.type is WSMsgType.BINARY:
        return decode_message(frame.data)
    if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
        return Goodbye("neuron.closed", "connection closed")
    raise InvalidInput("neuron.text", "messages are binary frames")


async def _say(socket: web.WebSocketResponse, message: Message) -> None:
    if not socket.closed:
        await socket.send_bytes(encode_message(message))
