"""Accounts that send without rest: transfers, and questions to models, each with its own account and thread."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import httpx

from bitai.l2_wallet import Unsigned, sign_transaction
from primitives.hashes import keccak256
from primitives.ids import Address
from tests.functional.conftest import ARTIFACT
from tests.functional.harness import CallFailed, JsonRpc, NodeProcess, wait_until
from vm.dev_accounts import DEV_ACCOUNTS, DevAccount

GAS_LIMIT = 3_000_000
TIP_WEI = 1_000_000
FEE_CAP_WEI = 10**10
"""Far above any base fee of an idle chain, far below what a test account holds."""
FAST_S = 0.15
PARKED_S = 2.5
"""A sender's next transaction waits while one is parked: one a block time is what one account can have answered."""
READ = keccak256(b"read(bytes32,bytes)")[:4]
DIGIT_READ = "0x" + keccak256(b"DigitRead(uint256,address,bytes32,uint8,uint16)").hex()


class Sent(NamedTuple):
    """A transaction that the node took, and what it asked, if anything."""

    hash: str
    model_id: str = ""
    image: bytes = b""


def encode_question(selector: bytes, model_id: str, image: bytes) -> bytes:
    """Return the call data of a function (bytes32 modelId, bytes image)."""
    head = bytes.fromhex(model_id[2:]) + (64).to_bytes(32, "big") + len(image).to_bytes(32, "big")
    return selector + head + image + bytes(-len(image) % 32)


class Sender:
    """One account that knows its next nonce."""

    def __init__(self, node: NodeProcess, account: DevAccount, *, nonce: int = 0) -> None:
        """Send from `account` to this node."""
        self.rpc: JsonRpc = node.rpc
        self.account = account
        self.nonce = nonce
        self.chain_id = int(self.rpc("eth_chainId"), 16)

    def sign(self, to: bytes | None, *, data: bytes = b"", value: int = 0, gas: int = GAS_LIMIT) -> bytes:
        """Return a signed transaction with the next nonce."""
        unsigned = Unsigned(
            chain_id=self.chain_id,
            nonce=self.nonce,
            max_fee_per_gas=FEE_CAP_WEI,
            max_priority_fee_per_gas=TIP_WEI,
            gas_limit=gas,
            to=None if to is None else Address(to),
            value=value,
            data=data,
        )
        return sign_transaction(unsigned, self.account.secret)

    def send(self, to: bytes | None, **fields: Any) -> str:
        """Send a transaction and return its hash; the nonce moves on only when it was taken."""
        transaction_hash: str = self.rpc("eth_sendRawTransaction", "0x" + self.sign(to, **fields).hex())
        self.nonce += 1
        return transaction_hash

    def receipt(self, transaction_hash: str, *, limit_s: float = 30.0) -> dict[str, Any]:
        """Wait for a receipt."""
        receipt: dict[str, Any] = wait_until(
            lambda: self.rpc("eth_getTransactionReceipt", transaction_hash), "a receipt", limit_s=limit_s
        )
        return receipt


def deploy_reader(sender: Sender) -> bytes:
    """Deploy DigitReader and return its address."""
    receipt = sender.receipt(sender.send(None, data=bytes.fromhex(ARTIFACT["bytecode"].removeprefix("0x"))))
    assert receipt["status"] == "0x1"
    return bytes.fromhex(receipt["contractAddress"][2:])


class Load:
    """Threads that send until they are told to stop; `sent` is what the node took."""

    def __init__(self, node: NodeProcess, reader: bytes, models: dict[str, str]) -> None:
        """Transfer from two accounts, and ask each tier's model from one account."""
        self._node = node
        self._reader = reader
        self._stopping = threading.Event()
        self._draws = random.Random(20260101)
        self._lock = threading.Lock()
        self.sent: list[Sent] = []
        self.refused: list[str] = []
        jobs = [(self._transfer, FAST_S), (self._transfer, FAST_S)]
        jobs += [
            (self._asking(each), PARKED_S if tier == "neuron" else FAST_S) for tier, each in models.items()
        ]
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

    def _run(self, account: DevAccount, job: Callable[[Sender], Sent], pause_s: float) -> None:
        sender = Sender(self._node, account)
        sender.nonce = int(sender.rpc("eth_getTransactionCount", "0x" + account.address.hex(), "pending"), 16)
        while not self._stopping.is_set():
            try:
                sent = job(sender)
            except (
                CallFailed,
                httpx.HTTPError,
            ) as error:  # asked again with the same nonce: nothing is sent twice
                with self._lock:
                    self.refused.append(str(error))
                time.sleep(0.1)
                continue
            with self._lock:
                self.sent.append(sent)
            time.sleep(pause_s)

    def _transfer(self, sender: Sender) -> Sent:
        to = DEV_ACCOUNTS[8].address
        return Sent(sender.send(to, value=sender.nonce + 1, gas=21_000))

    def _asking(self, model_id: str) -> Callable[[Sender], Sent]:
        def ask(sender: Sender) -> Sent:
            with self._lock:
                image = bytes(self._draws.randrange(17) for _ in range(64))
            data = encode_question(READ, model_id, image)
            return Sent(sender.send(self._reader, data=data), model_id, image)

        return ask


def digit_of(receipt: dict[str, Any]) -> int:
    """Return the digit that a successful read logged."""
    (event,) = [log for log in receipt["logs"] if log["topics"][0] == DIGIT_READ]
    return int(event["data"][2:66], 16)
