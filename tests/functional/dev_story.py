"""One story for anvil and for a development node: what its owner does, and what each answers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.functional.harness import CallFailed, JsonRpc, wait_until

SOMEBODY = "0x00000000000000000000000000000000000000aa"
CONTRACT = "0x00000000000000000000000000000000000000cc"
ALICE = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
BOB = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
COUNTER = "0x5f5460010180602055805f5500"
"""PUSH0 SLOAD, plus one, to slots 0x20 and 0."""
NOTHING = "0x" + "00" * 31 + "01"
TYPED = {
    "types": {
        "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"}],
        "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
        "Mail": [
            {"name": "from", "type": "Person"},
            {"name": "to", "type": "Person[]"},
            {"name": "contents", "type": "string"},
            {"name": "amount", "type": "int64"},
            {"name": "tag", "type": "bytes4"},
            {"name": "attached", "type": "bytes"},
            {"name": "urgent", "type": "bool"},
        ],
    },
    "primaryType": "Mail",
    "domain": {"name": "Post", "chainId": 1},
    "message": {
        "from": {"name": "A", "wallet": ALICE},
        "to": [{"name": "B", "wallet": BOB}, {"name": "C", "wallet": SOMEBODY}],
        "contents": "hello",
        "amount": -5,
        "tag": "0x01020304",
        "attached": "0x0102",
        "urgent": True,
    },
}


class Teller:
    """Calls one node and writes down what it answered."""

    def __init__(self, url: str) -> None:
        self.rpc = JsonRpc(url)
        self.said: list[tuple[str, Any]] = []

    def ask(self, method: str, *params: Any) -> Any:
        """Call, and keep the answer, or the code of the refusal."""
        try:
            answer = self.rpc(method, *params)
        except CallFailed as refused:
            answer = ("refused", refused.code)
        self.said.append((method, answer))
        return answer

    def note(self, name: str, value: Any) -> None:
        """Keep something that was worked out from answers."""
        self.said.append((name, value))

    def block(self) -> dict[str, Any]:
        """The head."""
        block: dict[str, Any] = self.rpc("eth_getBlockByNumber", "latest", False)
        return block

    def sent(self, **fields: Any) -> dict[str, Any]:
        """Send a transaction and return its receipt once it is in a block."""
        transaction_hash = self.rpc("eth_sendTransaction", fields)
        wait_until(lambda: self.rpc("eth_getTransactionReceipt", transaction_hash), "in a block", limit_s=20)
        receipt: dict[str, Any] = self.rpc("eth_getTransactionReceipt", transaction_hash)
        return receipt


def tell_state(teller: Teller) -> None:
    """Balances, code, slots and nonces are what the owner says, and go with the snapshot before them."""
    ask = teller.ask
    first = ask("evm_snapshot")
    ask("anvil_setBalance", SOMEBODY, "0xde0b6b3a7640000")
    ask("hardhat_setNonce", SOMEBODY, "0x5")
    ask("eth_getTransactionCount", SOMEBODY, "latest")
    ask("hardhat_setCode", CONTRACT, COUNTER)
    ask("eth_getCode", CONTRACT, "latest")
    ask("anvil_setStorageAt", CONTRACT, "0x0", "0x" + "00" * 31 + "29")
    ask("hardhat_setStorageAt", CONTRACT, "0x1", "0x" + "ff" * 32)
    teller.note("gas", teller.sent(**{"from": ALICE, "to": CONTRACT})["gasUsed"])
    for slot in ("0x0", "0x1", "0x20"):
        ask("eth_getStorageAt", CONTRACT, slot, "latest")
    ask("evm_revert", first)
    ask("evm_revert", first)
    ask("eth_getBalance", SOMEBODY, "latest")
    ask("eth_getTransactionCount", SOMEBODY, "latest")
    ask("eth_getCode", CONTRACT, "latest")
    ask("eth_getStorageAt", CONTRACT, "0x0", "latest")
    ask("anvil_setBalance", SOMEBODY, "nothing")


def tell_snapshots(teller: Teller) -> None:
    """A snapshot takes back blocks and edits after it, and the snapshots too; one before it stays."""
    ask = teller.ask
    ask("anvil_setBalance", SOMEBODY, "0x1")
    outer = ask("evm_snapshot")
    ask("anvil_setBalance", SOMEBODY, "0x2")
    inner = ask("evm_snapshot")
    ask("anvil_setBalance", SOMEBODY, "0x3")
    ask("evm_mine")
    ask("evm_revert", inner)
    ask("eth_getBalance", SOMEBODY, "latest")
    ask("anvil_setBalance", SOMEBODY, "0x4")
    last = ask("evm_snapshot")
    ask("evm_revert", outer)
    ask("eth_getBalance", SOMEBODY, "latest")
    ask("evm_revert", last)
    ask("evm_revert", "0x77")


def tell_time(teller: Teller) -> None:
    """Blocks have the times that they are given, and the clock goes on from there."""
    ask = teller.ask
    start = int(teller.block()["timestamp"], 16)
    for seconds in (10_000, "0x2710"):
        before = int(teller.block()["timestamp"], 16)
        teller.rpc("evm_increaseTime", seconds)
        ask("evm_mine")
        passed = int(teller.block()["timestamp"], 16) - before
        teller.note("passed about 10,000 s", abs(passed - 10_000) < 60)
    ask("evm_setNextBlockTimestamp", start + 50_000)
    ask("evm_mine")
    teller.note("at", int(teller.block()["timestamp"], 16) - start)
    ask("evm_setNextBlockTimestamp", start)
    ask("evm_mine", {"timestamp": start + 60_000, "blocks": 1})
    teller.note("at", int(teller.block()["timestamp"], 16) - start)
    ask("evm_mine", start + 70_000)
    teller.note("at", int(teller.block()["timestamp"], 16) - start)
    ask("anvil_setBlockTimestampInterval", 7)
    ask("anvil_mine", "0x3", "0x0")
    ask("anvil_removeBlockTimestampInterval")
    ask("anvil_removeBlockTimestampInterval")
    number = int(teller.block()["number"], 16)
    ask("hardhat_mine", "0x4", "0x64")
    times = [
        int(teller.rpc("eth_getBlockByNumber", hex(number + each), False)["timestamp"], 16)
        for each in range(1, 5)
    ]
    teller.note("intervals", [later - earlier for earlier, later in pairwise(times)])
    teller.note("mined", int(teller.block()["number"], 16) - number)


def tell_mining(teller: Teller) -> None:
    """Transactions wait while nothing is mined, in one block if they are asked to, and are dropped by name."""
    ask = teller.ask
    ask("evm_setAutomine", False)
    ask("anvil_getAutomine")
    ask("hardhat_getAutomine")
    ask("anvil_getIntervalMining")
    number = int(teller.block()["number"], 16)
    hashes = [
        teller.rpc("eth_sendTransaction", {"from": each, "to": SOMEBODY, "value": "0x7"})
        for each in (ALICE, BOB)
    ]
    teller.note("waits", int(teller.block()["number"], 16) - number)
    ask("txpool_status")
    dropped = ask("anvil_dropTransaction", hashes[1]) == hashes[1]
    teller.said[-1] = ("dropped", dropped)
    ask("anvil_dropTransaction", NOTHING)
    ask("evm_mine")
    teller.note("in one block", len(teller.block()["transactions"]))
    teller.rpc("eth_sendTransaction", {"from": ALICE, "to": SOMEBODY, "value": "0x7"})
    ask("anvil_dropAllTransactions")
    ask("evm_mine")
    teller.note("dropped all", len(teller.block()["transactions"]))
    ask("evm_setIntervalMining", 1)
    ask("anvil_getIntervalMining")
    number = int(teller.block()["number"], 16)
    wait_until(lambda: int(teller.block()["number"], 16) >= number + 2, "blocks at intervals", limit_s=20)
    ask("evm_setIntervalMining", 0)
    ask("evm_setAutomine", True)
    ask("anvil_getAutomine")
    ask("anvil_getIntervalMining")


def tell_blocks(teller: Teller) -> None:
    """The next block has the fee, the coinbase and the gas limit that were asked for."""
    ask = teller.ask
    ask("anvil_setNextBlockBaseFeePerGas", "0x3b9aca07")
    ask("anvil_setCoinbase", SOMEBODY)
    ask("evm_setBlockGasLimit", "0x1c9c380")
    ask("evm_mine")
    block = teller.block()
    teller.note("block", [block["baseFeePerGas"], block["miner"], block["gasLimit"]])
    ask("anvil_setMinGasPrice", "0x1")
    number = int(teller.block()["number"], 16)
    ask("evm_mine")
    ask("anvil_rollback", 1)
    teller.note("rolled back", int(teller.block()["number"], 16) - number)
    ask("evm_mine")
    ask("evm_mine")
    ask("anvil_reorg", 2, [])
    teller.note("reorganised", int(teller.block()["number"], 16) - number)


def tell_names(teller: Teller) -> None:
    """Who is impersonated sends, contracts too; nobody else does; the ten sign as anvil's ten do."""
    ask = teller.ask
    ask("eth_accounts")
    ask("eth_sendTransaction", {"from": CONTRACT, "to": ALICE})
    ask("anvil_setBalance", CONTRACT, "0xde0b6b3a7640000")
    ask("hardhat_setCode", CONTRACT, COUNTER)
    ask("anvil_impersonateAccount", CONTRACT)
    receipt = teller.sent(**{"from": CONTRACT, "to": BOB, "value": "0x1", "gas": "0x186a0"})
    teller.note("receipt", [receipt["from"], receipt["status"], receipt["gasUsed"], receipt["type"]])
    shown = teller.rpc("eth_getTransactionByHash", receipt["transactionHash"])
    teller.note("shown", [shown["from"], shown["to"], shown["value"], shown["nonce"]])
    ask("anvil_stopImpersonatingAccount", CONTRACT)
    ask("eth_sendTransaction", {"from": CONTRACT, "to": ALICE})
    ask("anvil_autoImpersonateAccount", True)
    teller.note("anybody", teller.sent(**{"from": CONTRACT, "to": BOB, "value": "0x1"})["status"])
    ask("anvil_autoImpersonateAccount", False)
    ask("eth_sendTransaction", {"from": CONTRACT, "to": ALICE})
    ask("eth_sign", ALICE, "0x68656c6c6f")
    ask("personal_sign", "0x68656c6c6f", ALICE)
    ask("eth_signTypedData_v4", ALICE, TYPED)
    ask("eth_sign", SOMEBODY, "0x68656c6c6f")


STORIES = {
    each.__name__: each
    for each in (tell_state, tell_snapshots, tell_time, tell_mining, tell_blocks, tell_names)
}
