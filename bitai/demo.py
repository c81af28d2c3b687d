"""Show the whole path once: a contract asks a trained network about a digit, and the answer reaches Bitcoin.

It speaks to the node as any user would, through JSON-RPC, and prints each step for a person.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from bitai.l2_wallet import Unsigned, sign_transaction
from primitives.errors import Temporary
from primitives.hashes import keccak256
from primitives.ids import Address
from vm.dev_accounts import DEV_ACCOUNTS

GAS_LIMIT: Final = 3_000_000
IMAGE_BYTES: Final = 64
_SHADES: Final = " .:-=+*#%@"


@dataclass(frozen=True, slots=True)
class DemoUrls:
    """Where the node answers."""

    rpc: str
    web: str


class RpcSession:
    """JSON-RPC over one HTTP connection."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def call(self, method: str, *params: Any) -> Any:
        """Return a call's result. Errors: `Temporary` "demo.refused" with the node's words."""
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as response:
            answer = orjson.loads(await response.read())
        if answer.get("error"):
            raise Temporary("demo.refused", f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    async def until(self, method: str, *params: Any, limit_s: float = 120.0) -> Any:
        """Ask again until the result is not null."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            result = await self.call(method, *params)
            if result:
                return result
            await asyncio.sleep(0.2)
        raise Temporary("demo.too_slow", f"{method} gave nothing within {limit_s:.0f} s")


async def run_demo(urls: DemoUrls, *, limit_s: float = 180.0) -> dict[str, Any]:
    """Deploy DigitReader, ask it one image on each tier, wait until Bitcoin has the answers; return what happened."""
    async with aiohttp.ClientSession() as session:
        rpc = RpcSession(urls.rpc, session)
        models = await _models(rpc, limit_s)
        secret = DEV_ACCOUNTS[0].secret
        artifact = json.loads(resources.files("bitai").joinpath("artifacts/DigitReader.json").read_text())
        created = await _send(rpc, secret, None, bytes.fromhex(artifact["bytecode"].removeprefix("0x")))
        reader = Address(bytes.fromhex(created["contractAddress"][2:]))
        say(
            f"deployed DigitReader at {created['contractAddress']} in block {int(created['blockNumber'], 16)}"
        )
        image, label = held_out_images()[0]
        say(_draw(image))
        told: dict[str, Any] = {"reader": created["contractAddress"], "label": label, "answers": []}
        for model in models:
            receipt = await _send(rpc, secret, reader, _read_call(model["modelId"], image))
            digit, confidence = _reading(receipt)
            number = int(receipt["blockNumber"], 16)
            told["answers"].append({"tier": model["tier"], "digit": digit, "block": number})
            say(
                f"{model['tier']:8} model {model['modelId'][:10]}… read {digit} "
                f"(sure {100 * confidence // 32_768} %, truly {label}) in block {number}, "
                f"{int(receipt['inferGasUsed'], 16):,} of {int(receipt['gasUsed'], 16):,} gas for the model"
            )
        last = max(answer["block"] for answer in told["answers"])
        anchor = await _until_safe(rpc, last, limit_s)
        told["anchor"] = anchor
        _conclude(urls, told, anchor)
        return told


def held_out_images() -> list[tuple[bytes, int]]:
    """Return images (64 bytes, 0 to 16, row-major) with their labels that the shipped models were not trained on."""
    records = resources.files("vm.inference").joinpath("models/digits-heldout.bin").read_bytes()
    size = IMAGE_BYTES + 1
    return [
        (records[start : start + IMAGE_BYTES], records[start + IMAGE_BYTES])
        for start in range(0, len(records), size)
    ]


def say(text: str) -> None:
    """Print a line of the demonstration: standard output is for people, logs go to standard error."""
    print(text, flush=True)  # noqa: T201 -- the demonstration's whole purpose


async def _models(rpc: RpcSession, limit_s: float) -> list[dict[str, Any]]:
    say("waiting for the digit models to be inscribed and registered …")
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        models = [model for model in await rpc.call("bitai_getModels") if model["active"]]
        if {model["tier"] for model in models} >= {"on-chain", "neuron"}:
            return sorted(models, key=lambda model: str(model["tier"]), reverse=True)
        await asyncio.sleep(0.5)
    raise Temporary("demo.no_models", f"the digit models were not registered within {limit_s:.0f} s")


async def _send(rpc: RpcSession, secret: bytes, to: Address | None, data: bytes) -> dict[str, Any]:
    nonce = int(
        await rpc.call("eth_getTransactionCount", "0x" + DEV_ACCOUNTS[0].address.hex(), "pending"), 16
    )
    unsigned = Unsigned(
        chain_id=int(await rpc.call("eth_chainId"), 16),
        nonce=nonce,
        max_fee_per_gas=2 * int(await rpc.call("eth_gasPrice"), 16),
        max_priority_fee_per_gas=int(await rpc.call("eth_maxPriorityFeePerGas"), 16),
        gas_limit=GAS_LIMIT,
        to=to,
        data=data,
    )
    transaction_hash = await rpc.call(
        "eth_sendRawTransaction", "0x" + sign_transaction(unsigned, secret).hex()
    )
    receipt: dict[str, Any] = await rpc.until("eth_getTransactionReceipt", transaction_hash)
    if receipt["status"] != "0x1":
        raise Temporary("demo.reverted", f"transaction {transaction_hash} reverted")
    return receipt


def _read_call(model_id: str, image: bytes) -> bytes:
    """Encode read(bytes32,bytes)."""
    padded = image + bytes(-len(image) % 32)
    words = bytes.fromhex(model_id[2:]) + (64).to_bytes(32, "big") + len(image).to_bytes(32, "big")
    return keccak256(b"read(bytes32,bytes)")[:4] + words + padded


def _reading(receipt: dict[str, Any]) -> tuple[int, int]:
    topic = "0x" + keccak256(b"DigitRead(uint256,address,bytes32,uint8,uint16)").hex()
    (event,) = [log for log in receipt["logs"] if log["topics"][0] == topic]
    data = bytes.fromhex(event["data"][2:])
    return int.from_bytes(data[:32], "big"), int.from_bytes(data[32:64], "big")


async def _until_safe(rpc: RpcSession, number: int, limit_s: float) -> dict[str, Any]:
    say(f"waiting for Bitcoin to hold block {number} …")
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        anchor: dict[str, Any] | None = await rpc.call("bitai_getL1Anchor", hex(number))
        if anchor is not None and anchor.get("safeAtHeight") is not None and anchor.get("inscriptions"):
            return anchor
        await asyncio.sleep(0.3)
    raise Temporary("demo.not_safe", f"block {number} was not on Bitcoin within {limit_s:.0f} s")


def _conclude(urls: DemoUrls, told: dict[str, Any], anchor: dict[str, Any]) -> None:
    say("")
    say(f"  JSON-RPC       {urls.rpc}")
    say(f"  status page    {urls.web}")
    for answer in told["answers"]:
        say(f"  answer         {answer['digit']} from the {answer['tier']} model, L2 block {answer['block']}")
    for row in anchor["inscriptions"]:
        say(f"  on Bitcoin     block {anchor['safeAtHeight']}")
        say(f"    commit tx    {row['commitTxid']}")
        say(f"    reveal tx    {row['revealTxid']}")
        say(f"    cost         {row['costSats']:,} sats for {row['payloadBytes']:,} bytes of payload")
    say("")
    reader = told["reader"]
    say("  next: look at the node")
    say(f"    {command_name()} status")
    say("  or read the stored answers with any Ethereum tool, for instance Foundry's")
    say(f"    cast call {reader} 'readingCount()(uint256)' --rpc-url {urls.rpc}")


def command_name() -> str:
    """Return how this command can be typed here: by its name if it is on PATH, else by the path that started us."""
    if shutil.which("bitai-node") or Path(sys.argv[0]).name != "bitai-node":
        return "bitai-node"
    return sys.argv[0]


def _draw(image: bytes) -> str:
    rows = [image[start : start + 8] for start in range(0, 64, 8)]
    return "\n".join(
        "    " + "".join(_SHADES[pixel * (len(_SHADES) - 1) // 16] * 2 for pixel in row) for row in rows
    )
