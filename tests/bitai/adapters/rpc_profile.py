"""Answer JSON-RPC as a recorded node does, out of the fake Bitcoin: shapes, codes and words are its own."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from l1.ports import Verdict
from primitives.ids import L1Hash, Txid, display_hash, parse_display_hash
from tests.l1.fake_bitcoin import FakeBitcoin, txid_of

PROFILES = Path(__file__).resolve().parents[2] / "vectors" / "rpc_profiles.json"


class RpcError(Exception):
    """An error object of the node."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error)
        self.error = error


def load_profile(name: str) -> dict[str, Any]:
    """Return one recorded profile: which calls are missing, and the error objects by situation."""
    profile: dict[str, Any] = json.loads(PROFILES.read_text())[name]
    return profile


class ProfileServer:
    """A JSON-RPC server in memory; `handler` goes into httpx.MockTransport."""

    def __init__(self, bitcoin: FakeBitcoin, profile: dict[str, Any]) -> None:
        self.bitcoin = bitcoin
        self.profile = profile
        self.calls: list[str] = []
        self._methods: dict[str, Callable[..., Any]] = {
            "getblockhash": self._block_hash,
            "getbestblockhash": lambda: display_hash(self.bitcoin.tip.hash),
            "getblockheader": self._header,
            "getblock": lambda name, _detail: self._known(name).raw.hex(),
            "sendrawtransaction": self._send,
            "testmempoolaccept": self._test,
            "getrawmempool": lambda: [display_hash(txid) for txid in self.bitcoin.mempool],
            "getmempoolinfo": lambda: self.profile["mempoolinfo"],
            "getmempoolentry": self._entry,
            "estimatesmartfee": lambda _blocks: {"errors": ["Insufficient data"], "blocks": 2},
            "submitpackage": self._package,
        }

    async def handler(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        asked = json.loads(request.content)
        method = asked["method"]
        self.calls.append(method)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        try:
            if method in self.profile["missing"]:
                raise RpcError(self.profile["missing"][method])
            result = self._methods[method](*asked["params"])
            answer["result"] = await result if inspect.isawaitable(result) else result
            if self.profile["null_errors"]:
                answer["error"] = None
        except RpcError as error:
            answer |= {"result": None, "error": error.error}
        return httpx.Response(200, json=answer)

    def _error(self, situation: str) -> RpcError:
        return RpcError(self.profile["errors"][situation])

    def _block_hash(self, height: int) -> str:
        chain = self.bitcoin.chain()
        if not 0 <= height < len(chain):
            raise self._error("height out of range")
        return display_hash(chain[height].point.hash)

    def _known(self, name: str) -> Any:
        block = self.bitcoin.blocks.get(L1Hash(parse_display_hash(name)))
        if block is None:
            raise self._error("unknown block")
        return block

    def _header(self, name: str, verbose: bool) -> Any:  # noqa: FBT001 (as the RPC has it)
        block = self._known(name)
        return {"height": block.point.height, "hash": name} if verbose else block.raw[:80].hex()

    async def _send(self, raw: str) -> str:
        outcome = await self.bitcoin.send(bytes.fromhex(raw))
        words = self.profile["errors"].get(outcome.verdict.name)
        if outcome.verdict is Verdict.ACCEPTED or (outcome.verdict.holds and words is None):
            return display_hash(txid_of(bytes.fromhex(raw)))
        raise RpcError(words)

    async def _test(self, raws: list[str], _rate: float) -> list[dict[str, Any]]:
        outcome = await self.bitcoin.test_accept(bytes.fromhex(raws[0]))
        if outcome.verdict is Verdict.ACCEPTED:
            return [{"allowed": True}]
        reason = self.profile["reject_reasons"][outcome.verdict.name]
        return [{**self.profile["refused"], "reject-reason": reason}]

    def _entry(self, name: str) -> dict[str, Any]:
        if Txid(parse_display_hash(name)) not in self.bitcoin.mempool:
            raise self._error("not in mempool")
        return {"vsize": 1}

    async def _package(self, raws: list[str]) -> dict[str, Any]:
        if not raws:
            raise self._error("empty package")
        outcome = await self.bitcoin.send_package([bytes.fromhex(raw) for raw in raws])
        if outcome.verdict.holds:
            return {"package_msg": "success", "tx-results": {}}
        error = self.profile["reject_reasons"][outcome.verdict.name]
        return {"package_msg": "transaction failed", "tx-results": {"w": {"error": error}}}
