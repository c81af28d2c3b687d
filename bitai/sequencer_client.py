"""Forward transactions to the sequencer's JSON-RPC, over one kept connection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import orjson

from primitives.errors import Duplicate, Rejected, Temporary
from primitives.hashes import keccak256

if TYPE_CHECKING:
    from primitives.ids import Hash32

LIMIT_S: Final = 20.0
MAX_REPLY_BYTES: Final = 64 * 1024
MAX_WORDS: Final = 300
_CODE: Final = re.compile(r"(?:tx|pool|admission)\.[a-z_]{1,40}\Z")
"""The sequencer's codes that are passed on; others are not ours to repeat."""


class SequencerClient:
    """One sequencer's JSON-RPC; make and close it within one event loop."""

    def __init__(self, url: str) -> None:
        """`url` is the feed's; JSON-RPC answers on the same port."""
        self._url = url.replace("ws://", "http://", 1).replace("wss://", "https://", 1)
        self._session: aiohttp.ClientSession | None = None

    async def submit(self, raw: bytes) -> Hash32:
        """Send one transaction and return its hash.

        Errors: `Rejected` with the sequencer's own code and words, `Temporary` "sequencer.away",
        "sequencer.bad_answer".
        """
        reply = await self._post("eth_sendRawTransaction", ["0x" + raw.hex()])
        error = reply.get("error")
        if error is not None:
            raise _refusal(error)
        transaction_hash = keccak256(raw)
        if reply.get("result") != "0x" + transaction_hash.hex():
            raise Temporary("sequencer.bad_answer", "the sequencer answered for another transaction")
        return transaction_hash

    async def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, method: str, params: list[Any]) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LIMIT_S))
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                parsed = orjson.loads(await _read(response))
        except orjson.JSONDecodeError as error:
            raise Temporary("sequencer.bad_answer", "the sequencer's answer is no JSON") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Temporary("sequencer.away", f"the sequencer does not answer: {error}") from error
        if not isinstance(parsed, dict):
            raise Temporary("sequencer.bad_answer", "the sequencer's answer is no JSON-RPC reply")
        return parsed


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return a reply's body, of which a few hundred bytes are due."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise Temporary("sequencer.bad_answer", f"the sequencer's answer is over {MAX_REPLY_BYTES} bytes")
    return bytes(body)


def _refusal(error: Any) -> Rejected:
    """Return the sequencer's refusal under its own code, so that callers see the same words either way."""
    shown = error if isinstance(error, dict) else {}
    details = shown.get("data")
    code = details.get("code") if isinstance(details, dict) else None
    if not isinstance(code, str) or not _CODE.match(code):
        code = "sequencer.refused"
    kind = Duplicate if code == "pool.already_known" else Rejected
    return kind(code, str(shown.get("message", "refused"))[:MAX_WORDS])
