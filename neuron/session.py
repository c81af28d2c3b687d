"""One connection to a node: handshake, then jobs in and answers out until either side leaves.

The order of messages is docs/spec/neuron-protocol.md. Three tasks share the socket: one receives, one takes
jobs from a bounded queue to the desk's thread and sends what comes back, one sends heartbeats. Whatever
ends one ends the session.
"""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import structlog

from neuron.desk import Desk
from primitives.curve import ECDSA_BYTES, address_of
from primitives.errors import ConfigError, InvalidInput, Temporary
from primitives.ids import Hash32
from vm.inference.messages import (
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
    sign_hello,
)

HANDSHAKE_SECONDS: Final = 10.0
SEND_SECONDS: Final = 30.0
LEAST_HEARTBEAT_MS: Final = 20
MOST_HEARTBEAT_MS: Final = 60_000

_log = structlog.get_logger("neuron.session")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Say who connects: key, software, jobs held at most, and the only chain to sign for (None: any)."""

    secret: bytes = field(repr=False)
    software: str
    capacity: int
    only_chain: Hash32 | None = None


class Session:
    """Serve one connection with a desk whose work runs on `thread`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, desk: Desk, thread: Executor) -> None:
        """Take a connected socket."""
        self._socket = socket
        self._desk = desk
        self._thread = thread
        self._held: dict[Hash32, Job] = {}
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._capacity = 0
        self._answered = 0
        self._leaving = False
        self._identity = Hash32(b"")
        self._heartbeat_s = 0.0

    @property
    def answered(self) -> int:
        """Return the number of answers sent on this connection."""
        return self._answered

    async def shake_hands(self, credentials: Credentials) -> None:
        """Prove the key to the node.

        Raises Temporary `session.*` when the node does not speak the protocol or sends the neuron away,
        ConfigError `session.other_chain` when it is of another chain than the one to serve.
        """
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            challenge = await self._receive()
            if not isinstance(challenge, Challenge):
                raise _unexpected(challenge, "challenge")
            _require_chain(challenge.config_identity, credentials.only_chain)
            hello = Hello(
                challenge.nonce,
                self._desk.model_ids,
                credentials.capacity,
                credentials.software,
                bytes(ECDSA_BYTES),
            )
            await self._send(sign_hello(credentials.secret, challenge.config_identity, hello))
            welcome = await self._receive()
            if not isinstance(welcome, Welcome):
                raise _unexpected(welcome, "welcome")
        if welcome.neuron != address_of(credentials.secret):
            raise Temporary("session.misread", "the node took this neuron for another one")
        self._identity, self._capacity = challenge.config_identity, credentials.capacity
        self._heartbeat_s = min(max(welcome.heartbeat_ms, LEAST_HEARTBEAT_MS), MOST_HEARTBEAT_MS) / 1_000
        _log.info("connected", node=challenge.server, chain=challenge.config_identity.hex())

    async def serve(self) -> None:
        """Work until the connection ends; raises Temporary `session.*` with the reason."""
        tasks = [asyncio.create_task(work()) for work in (self._listen, self._work, self._beat)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def leave(self, within_s: float) -> None:
        """Take no more jobs, answer those held within a time, and say goodbye."""
        self._leaving = True
        try:
            async with asyncio.timeout(within_s):
                await self._queue.join()
                await self._send(Goodbye("neuron.stopping", "the neuron is shutting down"))
        except (TimeoutError, Temporary):
            _log.warning("left with jobs unanswered", jobs=len(self._held))

    async def _listen(self) -> None:
        while True:
            message = await self._receive()
            if not isinstance(message, Job):
                raise _unexpected(message, "job")
            refusal = self._refuse(message)
            if refusal is not None:
                _log.info("declined", request=message.request_hash.hex(), reason=refusal.reason.name)
                await self._send(refusal)
            elif message.request_hash not in self._held:
                self._held[message.request_hash] = message
                self._queue.put_nowait(message)

    def _refuse(self, job: Job) -> Decline | None:
        if self._leaving:
            return Decline(job.request_hash, DeclineReason.SHUTTING_DOWN)
        if len(self._held) >= self._capacity and job.request_hash not in self._held:
            return Decline(job.request_hash, DeclineReason.QUEUE_FULL)
        return self._desk.refuse(job)

    async def _work(self) -> None:
        """Answer the jobs one after the other; a job is held until its answer is sent."""
        loop = asyncio.get_running_loop()
        while True:
            job = await self._queue.get()
            reply = await loop.run_in_executor(self._thread, self._desk.answer, self._identity, job)
            await self._send(reply)
            if isinstance(reply, Answer):
                self._answered += 1
                _log.info("answered", request=job.request_hash.hex(), status=reply.answer.status.name)
            del self._held[job.request_hash]
            self._queue.task_done()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self._send(Heartbeat(len(self._held), self._answered))

    async def _send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send_bytes(encode_message(message))
        except (ConnectionError, TimeoutError, aiohttp.ClientError) as error:
            raise Temporary("session.lost", "the connection broke while sending") from error

    async def _receive(self) -> Message:
        """Return the next message; raises Temporary `session.closed`, `.garbage` or `.sent_away`."""
        frame = await self._socket.receive()
        if frame.type is aiohttp.WSMsgType.BINARY:
            try:
                message = decode_message(frame.data)
            except InvalidInput as error:
                raise Temporary(
                    "session.garbage", "the node sent what is not a message", cause=error.code
                ) from error
            if isinstance(message, Goodbye):
                raise Temporary("session.sent_away", message.reason, goodbye=message.code)
            return message
        if frame.type is aiohttp.WSMsgType.TEXT:
            raise Temporary("session.garbage", "the node sent text; messages are binary")
        raise Temporary(
            "session.closed", "the node closed the connection", close_code=self._socket.close_code
        )


def _require_chain(found: Hash32, wanted: Hash32 | None) -> None:
    if wanted is not None and found != wanted:
        raise ConfigError(
            "session.other_chain",
            "the node serves another chain than --chain names",
            fix=f"--chain {found.hex()}",
            found=found.hex(),
        )


def _unexpected(message: Message, wanted: str) -> Temporary:
    return Temporary("session.unexpected", f"a {wanted} was due", found=type(message).__name__.lower())
