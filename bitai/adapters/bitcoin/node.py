"""A Bitcoin node behind our ports, using only calls that bitcoind, btcd and the embedded node answer alike.

It asks for raw bytes and lets the rest be computed here, and believes a block only once its header commits to
all of it. What a node lacks (packages, fee estimates, mempool entries) is found out once, by asking, and
replaced or said to be unsupported.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from bitai.adapters.bitcoin.transport import RpcTransport
from bitai.adapters.bitcoin.verdicts import verdict_of_error, verdict_of_text
from l1.ports import ChainPoint, SendOutcome, Verdict
from primitives.bitcoin.header import HEADER_BYTES, BlockHeader, parse_header
from primitives.bitcoin.parser import check_commitments, parse_block, parse_whole_transaction
from primitives.errors import ConfigError, InvalidInput, Rejected, Temporary
from primitives.ids import L1Hash, Txid, display_hash, parse_display_hash

SATS_PER_BTC: Final = 100_000_000
_MAX_FEE_RATE_BTC: Final = 0.1
"""Core's own default bound on what a transaction may pay per kvB; ours lies far below."""
_QUIET_RATE: Final = 1_000
"""A mempool minimum up to this is no news: every policy of ours pays as much anyway."""
_GENESIS: Final = {
    "mainnet": "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    "testnet4": "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
    "signet": "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
    "regtest": "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
}
_MOST_BTC_PER_KVB: Final = 21_000
"""No rate: more than anyone could pay."""
_PRUNED: Final = "pruned"
TIP_LIMIT_S: Final = 10.0
"""How long the tip may be waited for: it is asked for every second, and tells whether the node is there at all."""
_OPTIONAL: Final = ("submitpackage", "getmempoolentry", "estimatesmartfee", "getmempoolinfo")


class BitcoinNode:
    """One node; implements the ports L1Source and L1Broadcaster. Errors are those of `RpcTransport.call`."""

    def __init__(self, transport: RpcTransport) -> None:
        """Use a transport; nothing is asked yet."""
        self._transport = transport
        self._missing: set[str] = set()
        self._heights: dict[L1Hash, int] = {}

    @property
    def unsupported(self) -> tuple[str, ...]:
        """Optional calls that this node turned out not to have."""
        return tuple(sorted(self._missing))

    async def check_network(self, network: str) -> None:
        """Require that the node follows the network we are configured for.

        Raises ConfigError `l1.wrong_network`, `l1.unknown_network`, `l1.no_bitcoin`.
        """
        wanted = _GENESIS.get(network)
        if wanted is None:
            raise ConfigError(
                "l1.unknown_network",
                f"no Bitcoin network is called {network}",
                fix=f"choose one of {', '.join(_GENESIS)}",
            )
        try:
            found = display_hash(_hash(await self._transport.call("getblockhash", 0)))
        except Rejected as error:
            raise ConfigError(
                "l1.no_bitcoin",
                f"what answers at {self._transport.url} knows no Bitcoin blocks: {error.message}",
                fix=f"bitai-node run --network {network} --l1-rpc <URL of a {network} node>",
            ) from error
        if found != wanted:
            names = {genesis: name for name, genesis in _GENESIS.items()}
            raise ConfigError(
                "l1.wrong_network",
                f"the Bitcoin node follows {names.get(found, 'another network')}, not {network}",
                fix=f"bitai-node run --network {network} --l1-rpc <URL of a {network} node>",
                genesis=found,
            )

    async def probe(self) -> tuple[str, ...]:
        """Ask for every optional call once, in a form that changes nothing; return those that are missing.

        What gets no answer now is found out when it is used.
        """
        absent = display_hash(bytes(32))
        asks: dict[str, list[Any]] = {
            "submitpackage": [[]],
            "getmempoolentry": [absent],
            "estimatesmartfee": [6],
            "getmempoolinfo": [],
        }
        for method in _OPTIONAL:
            try:
                await self._optional(method, *asks[method])
            except (Rejected, Temporary):
                continue
        return self.unsupported

    async def best_tip(self) -> ChainPoint:
        """See L1Source; a node that hangs is given up after TIP_LIMIT_S."""
        try:
            answer = await self._transport.call("getbestblockhash", within_s=TIP_LIMIT_S)
            block_hash = L1Hash(_hash(answer))
        except Rejected as error:
            raise _unexpected("getbestblockhash", error) from error
        height = self._heights.get(block_hash)
        if height is None:
            facts = await self._block_call("getblockheader", block_hash, True, within_s=TIP_LIMIT_S)
            height = _integer(facts, "height")
            self._heights = {block_hash: height}
        return ChainPoint(height, block_hash)

    async def block_hash(self, height: int) -> L1Hash:
        """See L1Source."""
        try:
            return L1Hash(_hash(await self._transport.call("getblockhash", height)))
        except Rejected as error:
            if error.code in ("l1.bad_parameter", "l1.not_found") or error.details.get("rpc_code") == -1:
                raise Rejected("l1.unknown_height", "no block at this height", height=height) from error
            raise _unexpected("getblockhash", error) from error

    async def header(self, block_hash: L1Hash) -> BlockHeader:
        """See L1Source."""
        raw = _bytes(await self._block_call("getblockheader", block_hash, False))
        if len(raw) != HEADER_BYTES or (header := parse_header(raw)).hash != block_hash:
            raise Temporary("l1.bad_answer", "the node gave another header", wanted=display_hash(block_hash))
        return header

    async def raw_block(self, block_hash: L1Hash) -> bytes:
        """See L1Source; what the header does not commit to is no answer, and is asked for again.

        Raises ConfigError `l1.pruned` when the node has thrown the block away.
        """
        raw = _bytes(await self._block_call("getblock", block_hash, 0))
        await asyncio.to_thread(_require_block, raw, block_hash)
        return raw

    async def send(self, raw: bytes) -> SendOutcome:
        """See L1Broadcaster; sending is idempotent by txid, so a lost answer is asked for again."""
        try:
            answer = await self._transport.call("sendrawtransaction", raw.hex())
        except Rejected as error:
            return verdict_of_error(error)
        if _hash(answer) != parse_whole_transaction(raw).txid:
            raise Temporary("l1.bad_answer", "the node took another transaction", answer=str(answer)[:80])
        return SendOutcome(Verdict.ACCEPTED)

    async def send_package(self, raws: Sequence[bytes]) -> SendOutcome:
        """See L1Broadcaster; UNSUPPORTED where the node takes no packages."""
        try:
            answer = await self._optional("submitpackage", [raw.hex() for raw in raws])
        except Rejected as error:
            return verdict_of_error(error)
        return _read_package(answer)

    async def test_accept(self, raw: bytes) -> SendOutcome:
        """See L1Broadcaster."""
        try:
            answer = await self._transport.call("testmempoolaccept", [raw.hex()], _MAX_FEE_RATE_BTC)
        except Rejected as error:
            return verdict_of_error(error)
        match answer:
            case [{"allowed": True}]:
                return SendOutcome(Verdict.ACCEPTED)
            case [{"reject-reason": str(reason)}]:  # btcd leaves `allowed` out when it is false
                return verdict_of_text(reason)
        raise Temporary("l1.bad_answer", "the node gave no single result", answer=str(answer)[:200])

    async def in_mempool(self, txid: Txid) -> bool:
        """See L1Broadcaster."""
        name = display_hash(txid)
        try:
            await self._optional("getmempoolentry", name)
        except Rejected as error:
            if error.code != "l1.unsupported":
                return False
            waiting = await self._transport.call("getrawmempool")
            if not isinstance(waiting, list):
                raise Temporary("l1.bad_answer", "the node gave no list", answer=str(waiting)[:80]) from error
            return name in waiting
        return True

    async def fee_rate(self, target_blocks: int) -> int | None:
        """See L1Broadcaster; without an estimate a mempool minimum above the usual floor counts as one."""
        estimate = await self._ask_rate("estimatesmartfee", "feerate", target_blocks)
        if estimate is not None:
            return estimate
        minimum = await self._ask_rate("getmempoolinfo", "mempoolminfee")
        return minimum if minimum is not None and minimum > _QUIET_RATE else None

    async def _ask_rate(self, method: str, name: str, *params: Any) -> int | None:
        """Return a rate in sats per kvB out of an answer in BTC per kvB, or None where there is none."""
        try:
            answer = await self._optional(method, *params)
        except Rejected:
            return None
        rate = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < _MOST_BTC_PER_KVB:
            return None
        return round(rate * SATS_PER_BTC)

    async def _optional(self, method: str, *params: Any) -> Any:
        """Call what a node may lack, and remember when it does."""
        if method in self._missing:
            raise Rejected("l1.unsupported", f"the node has no {method}")
        try:
            return await self._transport.call(method, *params)
        except Rejected as error:
            if error.code == "l1.unsupported":
                self._missing.add(method)
            raise

    async def _block_call(
        self,
        method: str,
        block_hash: L1Hash,
        detail: bool | int,  # noqa: FBT001 (RPC's own type)
        *,
        within_s: float | None = None,
    ) -> Any:
        try:
            return await self._transport.call(method, display_hash(block_hash), detail, within_s=within_s)
        except Rejected as error:
            if error.code == "l1.not_found":
                name = display_hash(block_hash)
                raise Rejected("l1.unknown_block", "the node does not know this block", hash=name) from error
            if method == "getblock" and _PRUNED in str(error.details.get("text", "")).lower():
                raise await self._pruned(block_hash) from error
            raise _unexpected(method, error) from error

    async def _pruned(self, block_hash: L1Hash) -> ConfigError:
        """Return the error that names the block that the node must still have."""
        height = _integer(await self._block_call("getblockheader", block_hash, True), "height")
        return ConfigError(
            "l1.pruned",
            f"the Bitcoin node has pruned block {height}, which is still to be read",
            fix=f"bitai-node run --l1-rpc <URL of a node that holds every block from {height} on>",
            height=height,
        )


def _unexpected(method: str, error: Rejected) -> Temporary:
    """Return what a refusal is that no node gives a call that every node has: no answer."""
    return Temporary("l1.bad_answer", f"the node refuses {method}", why=error.message)


def _require_block(raw: bytes, block_hash: L1Hash) -> None:
    """Require the block of this hash, whole: witnesses too, for our data lies in them."""
    try:
        block = parse_block(raw)
        if block.header.hash != block_hash:
            raise Temporary("l1.bad_answer", "the node gave another block", wanted=display_hash(block_hash))
        check_commitments(block)
    except InvalidInput as error:
        wanted = display_hash(block_hash)
        raise Temporary(
            "l1.bad_answer", "the node gave a broken block", wanted=wanted, why=str(error)
        ) from error


def _read_package(answer: Any) -> SendOutcome:
    """Return one outcome for a package: accepted only if every transaction is in the mempool."""
    results = answer.get("tx-results") if isinstance(answer, dict) else None
    message = answer.get("package_msg") if isinstance(answer, dict) else None
    if not isinstance(results, dict) or not isinstance(message, str):
        raise Temporary("l1.bad_answer", "the node gave no package result", answer=str(answer)[:200])
    for result in results.values():
        problem = result.get("error") if isinstance(result, dict) else "no result"
        if problem:
            outcome = verdict_of_text(str(problem))
            if not outcome.verdict.holds:
                return outcome
    return SendOutcome(Verdict.ACCEPTED) if message == "success" else verdict_of_text(message)


def _hash(answer: Any) -> bytes:
    try:
        return parse_display_hash(answer if isinstance(answer, str) else "")
    except InvalidInput as error:
        raise Temporary("l1.bad_answer", "the node gave no hash", answer=str(answer)[:80]) from error


def _bytes(answer: Any) -> bytes:
    try:
        return bytes.fromhex(answer)
    except (ValueError, TypeError) as error:
        raise Temporary("l1.bad_answer", "the node gave no hex", answer=str(answer)[:80]) from error


def _integer(answer: Any, name: str) -> int:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Temporary("l1.bad_answer", f"the node gave no {name}", answer=str(answer)[:80])
    return value
