"""Accounts that keep sending through anything: whoever hears no answer sends the same bytes again."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Self

import httpx

from primitives.hashes import keccak256
from tests.functional.harness import CallFailed, NodeProcess
from tests.functional.load import READ, Sender, Sent, encode_question
from vm.dev_accounts import DEV_ACCOUNTS, DevAccount

TAKEN = ("already known", "nonce too low")
"""What a node answers to what it took before the answer was lost."""
PAUSE_S = 0.15
RETRY_S = 0.1
NEURON_PAUSE_S = 5.0
"""One account gets one answer a block, of two seconds: what gathers while no neuron is there must drain again."""


class Hammer:
    """Threads that send to a node that may be dead at any moment; `sent` is what a node said that it took."""

    def __init__(self, node: NodeProcess, reader: bytes, models: dict[str, str]) -> None:
        """Transfer from two accounts, and ask each tier's model from one more."""
        self._node = node
        self._reader = reader
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.sent: list[Sent] = []
        self.retried = 0
        jobs: list[tuple[Callable[[Sender], tuple[bytes, Sent]], float]] = [(_transfer, PAUSE_S)] * 2
        for tier, model in models.items():
            jobs.append((self._asking(model), NEURON_PAUSE_S if tier == "neuron" else PAUSE_S))
        self._threads = [
            threading.Thread(target=self._run, args=(account, *job), daemon=True)
            for account, job in zip(DEV_ACCOUNTS[1:], jobs, strict=False)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, account: DevAccount, job: Callable[[Sender], tuple[bytes, Sent]], pause_s: float) -> None:
        sender = Sender(self._node, account)
        while not self._stopping.is_set():
            raw, sent = job(sender)
            while not self._stopping.is_set():
                if self._offer(sender, raw):
                    with self._lock:
                        self.sent.append(sent)
                    sender.nonce += 1
                    break
                self.retried += 1
                self._stopping.wait(RETRY_S)
            self._stopping.wait(pause_s)

    def _offer(self, sender: Sender, raw: bytes) -> bool:
        """Send once; tell whether the node has it for sure."""
        try:
            sender.rpc = self._node.rpc  # after a restart it listens elsewhere
            sender.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        except CallFailed as error:
            if not any(words in error.message for words in TAKEN):
                raise
        except (httpx.HTTPError, OSError, ValueError):
            return False
        return True

    def _asking(self, model_id: str) -> Callable[[Sender], tuple[bytes, Sent]]:
        draws = random.Random(model_id)

        def ask(sender: Sender) -> tuple[bytes, Sent]:
            image = bytes(draws.randrange(17) for _ in range(64))
            raw = sender.sign(self._reader, data=encode_question(READ, model_id, image))
            return raw, Sent("0x" + keccak256(raw).hex(), model_id, image)

        return ask


def _transfer(sender: Sender) -> tuple[bytes, Sent]:
    raw = sender.sign(DEV_ACCOUNTS[8].address, value=sender.nonce + 1, gas=21_000)
    return raw, Sent("0x" + keccak256(raw).hex())
