"""Accept neurons on a WebSocket: handshake, jobs out, answers in; who gets which job is decided elsewhere.

Layout and order of messages: docs/spec/neuron-protocol.md. A neuron proves its key by signing a fresh nonce, and
only those that the chain would ask are let in; whatever breaks the protocol ends that connection with a stable
code and touches nothing else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from aiohttp import WSMsgType, web

from primitives.errors import BitaiError, InvalidInput, Rejected
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
SEND_LIMIT_S: Final = 10.0
"""A neuron that does not read for this long is taken for gone."""
MAX_CONNECTIONS: Final = 256
MAX_STRANGERS: Final = 64
MAX_STRANGERS_OF_ONE: Final = 16
"""Connections that have not proved a key yet, in all and from one address: anyone may open those."""
SEND_QUEUE: Final = 1_024
"""Jobs waiting for one socket; beyond it the job goes to another neuron."""


class NeuronEvents(Protocol):
    """What the dispatcher decides and wants to hear, on the event loop."""

    def admits(self, neuron: Address, models: tuple[ModelId, ...]) -> bool:
        """Tell whether this neuron may serve at all."""
        ...

    def joined(self, neuron: Address, models: tuple[ModelId, ...], capacity: int) -> None:
        """Take note of a neuron that can be sent jobs."""
        ...

    def left(self, neuron: Address) -> None:
        """Take note that a neuron is gone."""
        ...

    def answered(self, neuron: Address, answer: SignedAnswer) -> None:
        """Take an answer, asked for or not."""
        ...

    def declined(self, neuron: Address, request_hash: Hash32, reason: DeclineReason) -> None:
        """Take a job back."""
        ...


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
        self._strangers: Counter[str] = Counter()
        self._goodbyes: set[asyncio.Task[None]] = set()

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
        goodbye = Goodbye("node.stopping", "the node stops")
        partings = [_part(each.socket, goodbye) for each in self._connections.values()]
        await asyncio.gather(*partings, *self._goodbyes)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, heartbeat=15)
        await socket.prepare(request)
        try:
            connection = await self._receive_neuron(socket, request.remote or "")
            await self._attend(connection)
        except BitaiError as error:
            log.info("neuron refused", code=error.code, reason=error.message, remote=request.remote)
            await _part(socket, Goodbye(error.code, "the connection broke the protocol"))
        except (TimeoutError, ConnectionError):
            log.info("neuron went silent", remote=request.remote)
        finally:
            await _part(socket)
        return socket

    async def _receive_neuron(self, socket: web.WebSocketResponse, remote: str) -> _Connection:
        """Shake hands, with no more strangers at once than can do harm."""
        if self._strangers.total() >= MAX_STRANGERS or self._strangers[remote] >= MAX_STRANGERS_OF_ONE:
            raise Rejected("neuron.too_many", "too many handshakes at once")
        self._strangers[remote] += 1
        try:
            async with asyncio.timeout(HANDSHAKE_LIMIT_S):
                hello, neuron = await self._shake_hands(socket)
                await socket.send_bytes(encode_message(Welcome(neuron, HEARTBEAT_MS)))
        finally:
            self._strangers[remote] -= 1
            if not self._strangers[remote]:
                del self._strangers[remote]
        return self._register(_Connection(neuron, hello.models, socket), hello)

    async def _shake_hands(self, socket: web.WebSocketResponse) -> tuple[Hello, Address]:
        nonce = secrets.token_bytes(NONCE_BYTES)
        await socket.send_bytes(encode_message(Challenge(self._identity, nonce, self._software)))
        hello = await _receive(socket)
        if not isinstance(hello, Hello) or hello.nonce != nonce:
            raise InvalidInput("neuron.handshake", "the first message must be a hello over this nonce")
        neuron = recover_hello(self._identity, hello)
        if not self._events.admits(neuron, hello.models):
            raise Rejected("neuron.not_eligible", "the chain would not ask this neuron for these models")
        if len(self._connections) >= MAX_CONNECTIONS and neuron not in self._connections:
            raise Rejected("neuron.too_many", "this node serves no more neurons")
        return hello, neuron

    def _register(self, connection: _Connection, hello: Hello) -> _Connection:
        """Put a connection in the place of an older one of the same key: the neuron after a broken link.

        Nothing is awaited in between, so there is never a moment with two or none.
        """
        neuron = connection.neuron
        old = self._connections.get(neuron)
        self._connections[neuron] = connection
        if old is not None:
            self._events.left(neuron)
            goodbye = _part(old.socket, Goodbye("neuron.replaced", "the same key connected again"))
            task = asyncio.create_task(goodbye)
            self._goodbyes.add(task)
            task.add_done_callback(self._goodbyes.discard)
        log.info(
            "neuron joined", neuron="0x" + neuron.hex(), models=len(hello.models), software=hello.software
        )
        self._events.joined(neuron, hello.models, min(hello.capacity, SEND_QUEUE))
        return connection

    async def _attend(self, connection: _Connection) -> None:
        """Carry messages both ways until either direction fails."""
        tasks = [asyncio.create_task(each) for each in (_drain(connection), self._listen(connection))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._connections.get(connection.neuron) is connection:
                del self._connections[connection.neuron]
                self._events.left(connection.neuron)
            log.info("neuron left", neuron="0x" + connection.neuron.hex())

    async def _listen(self, connection: _Connection) -> None:
        while True:
            async with asyncio.timeout(SILENCE_LIMIT_S):
                message = await _receive(connection.socket)
            if isinstance(message, Goodbye):
                return
            if self._connections.get(connection.neuron) is not connection:
                return  # a newer connection speaks for this key
            self._take(connection.neuron, message)

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
        async with asyncio.timeout(SEND_LIMIT_S):
            await connection.socket.send_bytes(encode_message(job))


async def _receive(socket: web.WebSocketResponse) -> Message:
    frame = await socket.receive()
    if frame.type is WSMsgType.BINARY:
        return decode_message(frame.data)
    if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
        return Goodbye("neuron.closed", "connection closed")
    raise InvalidInput("neuron.text", "messages are binary frames")


async def _part(socket: web.WebSocketResponse, word: Goodbye | None = None) -> None:
    """Close a socket, with a word if it still takes one; a peer that does not read cannot hold us up."""
    try:
        async with asyncio.timeout(SEND_LIMIT_S):
            if word is not None and not socket.closed:
                await socket.send_bytes(encode_message(word))
            await socket.close()
    except (TimeoutError, ConnectionError) as error:
        log.debug("neuron did not hear goodbye", reason=str(error))
