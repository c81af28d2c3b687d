"""The door for neurons: who gets in, what ends a connection, and that one neuron's trouble is its own."""

import asyncio

import pytest

from bitai import neuron_server
from bitai.neuron_server import MAX_STRANGERS_OF_ONE, NeuronServer
from primitives.curve import address_of
from primitives.hashes import sha256
from tests.bitai.neuron_peer import connected, listening
from vm.inference.messages import (
    Answer,
    Decline,
    DeclineReason,
    Goodbye,
    Heartbeat,
    Hello,
    Job,
    Welcome,
    encode_message,
)
from vm.inference.wire import Request, Status

IDENTITY = sha256(b"chain")
MODEL = sha256(b"model")
ANN, BOB = sha256(b"ann"), sha256(b"bob")


class Events:
    """Writes down what the server tells, and lets everyone wait for it."""

    def __init__(self):
        self.told = []
        self.barred = set()
        self._news = asyncio.Condition()

    def admits(self, neuron, models):
        return neuron not in self.barred

    def joined(self, neuron, models, capacity):
        self._tell("joined", neuron, models, capacity)

    def left(self, neuron):
        self._tell("left", neuron)

    def answered(self, neuron, answer):
        self._tell("answered", neuron, answer)

    def declined(self, neuron, request_hash, reason):
        self._tell("declined", neuron, request_hash, reason)

    def _tell(self, *event):
        self.told.append(event)
        self._task = asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self):
        async with self._news:
            self._news.notify_all()

    async def until(self, count):
        """Wait for so many events."""
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: len(self.told) >= count)
        return self.told


@pytest.fixture
def events():
    """What the server tells."""
    return Events()


@pytest.fixture
def server(events):
    """A server of one chain."""
    return NeuronServer(IDENTITY, "test-node", events)


@pytest.fixture
async def url(server):
    """Where it listens."""
    async with listening(server.application()) as url:
        yield url


def job(number=0):
    """A job for the model."""
    request = Request(MODEL, b"input %d" % number, b"", 21)
    return Job(request.hash, request, 100)


async def test_handshake_jobs_answers_and_leaving(url, server, events):
    """A neuron proves its key, gets jobs in order, answers, declines, beats, and leaves."""
    async with connected(url) as peer:
        welcome = await peer.hello(ANN, [MODEL], capacity=3)
        assert welcome == Welcome(address_of(ANN), neuron_server.HEARTBEAT_MS)
        assert await events.until(1) == [("joined", address_of(ANN), (MODEL,), 3)]
        assert server.connected == {address_of(ANN): (MODEL,)}
        assert server.send(address_of(ANN), job(1))
        assert server.send(address_of(ANN), job(2))
        assert [await peer.receive(), await peer.receive()] == [job(1), job(2)]
        answer = peer.answer(ANN, job(1), b"7")
        await peer.send(Answer(answer))
        await peer.send(Heartbeat(1, 1))
        await peer.send(Decline(job(2).request_hash, DeclineReason.QUEUE_FULL))
        told = await events.until(3)
        assert told[1] == ("answered", address_of(ANN), answer)
        assert told[2] == ("declined", address_of(ANN), job(2).request_hash, DeclineReason.QUEUE_FULL)
        await peer.send(Goodbye("neuron.stopping", "bye"))
        assert (await events.until(4))[3] == ("left", address_of(ANN))
    assert server.connected == {}
    assert not server.send(address_of(ANN), job())


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("garbage", "message.version"),
        ("text", "neuron.text"),
        ("not a hello", "neuron.handshake"),
        ("old nonce", "neuron.handshake"),
        ("no signature", "signature"),
        ("too long", None),
    ],
)
async def test_a_broken_handshake_ends_there(url, events, case, code):
    """Whatever is not a hello over this nonce is sent away with a code, and the dispatcher hears nothing."""
    async with connected(url) as peer:
        challenge = await peer.receive()
        hello = Hello(challenge.nonce, (MODEL,), 1, "x", bytes(65))
        await peer.send(
            {
                "garbage": b"\xff" * 40,
                "text": "hello",
                "not a hello": Heartbeat(0, 0),
                "old nonce": Hello(bytes(32), (MODEL,), 1, "x", bytes(65)),
                "no signature": hello,
                "too long": bytes(3 << 20),
            }[case]
        )
        goodbye = await peer.receive()
        if code is None:
            assert goodbye is None
        else:
            assert goodbye.code.startswith(code)
            assert await peer.receive() is None
    assert events.told == []


async def test_a_hello_for_another_chain_is_another_key(url, events):
    """A hello signed over another chain's identity recovers a stranger, who is not admitted."""
    events.admits = lambda neuron, _: neuron == address_of(ANN)
    async with connected(url) as peer:
        goodbye = await peer.hello(ANN, [MODEL], chain=sha256(b"other"))
        assert goodbye.code == "neuron.not_eligible"
    assert events.told == []


async def test_garbage_from_a_member_ends_its_connection_alone(url, server, events):
    """One neuron breaks the protocol: it is gone, the other goes on."""
    async with connected(url) as good, connected(url) as bad:
        await good.join(ANN, [MODEL])
        await bad.join(BOB, [MODEL])
        await bad.send(Welcome(address_of(BOB), 1))
        assert (await bad.receive()).code == "neuron.unexpected"
        told = await events.until(3)
        assert told[2] == ("left", address_of(BOB))
        assert server.send(address_of(ANN), job())
        assert await good.receive() == job()


async def test_the_newer_connection_of_a_key_counts(url, server, events):
    """A neuron that reconnects replaces itself at once, and the old socket is told."""
    async with connected(url) as old, connected(url) as new:
        await old.join(ANN, [MODEL])
        await new.join(ANN, [MODEL])
        told = [each[0] for each in await events.until(3)]
        assert told == ["joined", "left", "joined"]
        assert (await old.receive()).code == "neuron.replaced"
        assert server.send(address_of(ANN), job())
        assert await new.receive() == job()
        await new.send(Decline(job().request_hash, DeclineReason.QUEUE_FULL))
        assert [each[0] for each in await events.until(4)] == ["joined", "left", "joined", "declined"]


async def test_a_silent_neuron_is_taken_for_gone(url, server, events, monkeypatch):
    """Without a message for three heartbeats the connection ends."""
    monkeypatch.setattr(neuron_server, "SILENCE_LIMIT_S", 0.05)
    async with connected(url) as peer:
        await peer.join(ANN, [MODEL])
        assert (await events.until(2))[1] == ("left", address_of(ANN))
        assert await peer.receive() is None


async def test_a_slow_handshake_ends(url, events, monkeypatch):
    """Who does not answer the challenge is not waited for."""
    monkeypatch.setattr(neuron_server, "HANDSHAKE_LIMIT_S", 0.05)
    async with connected(url) as peer:
        await peer.receive()
        assert await peer.receive() is None
    assert events.told == []


async def test_strangers_are_bounded_and_members_not_kept_out(url, events):
    """One address opens so many unproved connections; when one of them is gone, the next gets in."""
    async with connected(url) as member:
        await member.join(BOB, [MODEL])
        strangers = [connected(url) for _ in range(MAX_STRANGERS_OF_ONE)]
        peers = [await each.__aenter__() for each in strangers]
        for each in peers:
            await each.receive()
        async with connected(url) as late:
            assert (await late.receive()).code == "neuron.too_many"
        await peers[0].send(b"\xff")
        assert (await peers[0].receive()).code == "message.version"
        async with connected(url) as late:
            await late.join(ANN, [MODEL])
        for each in strangers:
            await each.__aexit__(None, None, None)


async def test_the_outbox_is_bounded(url, server, events, monkeypatch):
    """A socket that takes no more jobs is skipped, not waited for."""
    async with connected(url) as peer:
        await peer.join(ANN, [MODEL])
        await events.until(1)
        taken = sum(server.send(address_of(ANN), job(number)) for number in range(2_000))
        assert taken == neuron_server.SEND_QUEUE


async def test_closing_says_goodbye(url, server, events):
    """Neurons are told that the node stops, so that they come back soon."""
    async with connected(url) as peer:
        await peer.join(ANN, [MODEL])
        await server.close()
        assert await peer.receive() == Goodbye("node.stopping", "the node stops")


async def test_answers_are_passed_on_as_they_are(url, server, events):
    """An unasked answer reaches the dispatcher, which judges; a status no neuron may sign does not."""
    async with connected(url) as peer:
        await peer.join(ANN, [MODEL])
        answer = peer.answer(ANN, job(), b"x", Status.BAD_INPUT)
        await peer.send(Answer(answer))
        assert (await events.until(2))[1] == ("answered", address_of(ANN), answer)
        raw = bytearray(encode_message(Answer(answer)))
        raw[34] = Status.UNAVAILABLE
        await peer.send(bytes(raw))
        assert (await peer.receive()).code == "answer.status"
