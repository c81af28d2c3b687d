"""Official state tests: one transaction on a given state, judged by state root and hash of logs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bitai.evm.forks import NOT_SUPPORTED, Fork, fork_named
from bitai.evm.json_transactions import state_test_fields
from bitai.evm.refusals import Refusal, Refused
from bitai.evm.transactions import Fields, decode, sender_of
from bitai.evm.values import address, as_hex, blob, field, mapping, number, sequence, word
from bitai.evm.world import Block, BlockFields, Trace, World, alloc_of, logs_hash, summary_line
from primitives.curve import address_of
from primitives.errors import InvalidInput
from primitives.hashes import keccak256

MAX_FILE_BYTES: Final = 512 << 20
"""The largest official file has some 100 MB; parsing takes about ten times a file's size in memory."""

COLLISIONS: Final = frozenset(
    {
        "InitCollision",
        "InitCollisionParis",
        "RevertInCreateInInit",
        "RevertInCreateInInit_Paris",
        "RevertInCreateInInitCreate2",
        "RevertInCreateInInitCreate2Paris",
        "create2collisionStorage",
        "create2collisionStorageParis",
        "dynamicAccountOverwriteEmpty",
        "dynamicAccountOverwriteEmpty_Paris",
    }
)
"""A contract made over an account that has storage but neither code nor nonce.

No such account can come into being, so clients never agreed, and each skips these. Here EIP-7610 holds (such a
creation fails): the cases run, those filled since it was agreed pass, and one filled before it is left out."""
_COLLISION_REASON: Final = "filled before EIP-7610 was agreed"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one case, under the names of geth's `evm statetest`."""

    name: str
    passed: bool
    fork: str
    state_root: str = ""
    error: str = ""
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the row as it is printed."""
        shown: dict[str, Any] = {"name": self.name, "pass": self.passed}
        if self.state_root:
            shown["stateRoot"] = self.state_root
        shown["fork"] = self.fork
        if self.error:
            shown["error"] = self.error
        if self.skipped:
            shown["skipped"] = self.skipped
        return shown


@dataclass(frozen=True, slots=True)
class Choice:
    """Which cases of a file are run."""

    fork: str | None = None
    pattern: str | None = None

    def takes(self, name: str, fork: str) -> bool:
        """Tell whether a case is run."""
        if self.fork is not None and fork != self.fork:
            return False
        return self.pattern is None or re.search(self.pattern, f"{name}/{fork}") is not None


def read_tests(path: Path) -> Mapping[str, Any]:
    """Return the tests of a JSON file; raises InvalidInput `evm.no_file`, `.too_large`, `.bad_json`, `.bad_shape`."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInput("evm.too_large", f"{path} is too large", limit=MAX_FILE_BYTES)
        content = path.read_bytes()
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput("evm.no_file", f"{path} cannot be read", why=why, fix=f"ls -l {path}") from error
    try:
        return mapping(orjson.loads(content), f"{path}")
    except orjson.JSONDecodeError as error:
        raise InvalidInput("evm.bad_json", f"{path} is no JSON", why=str(error)) from error


def run_file(path: Path, choice: Choice, trace: Trace | None = None) -> Iterator[Row]:
    """Run every chosen case of a file; raises InvalidInput `evm.*` for a file that holds no state tests."""
    for name, test in read_tests(path).items():
        if not name.startswith("_"):
            yield from run_test(name, mapping(test, f"test {name}"), choice, trace)


def run_test(name: str, test: Mapping[str, Any], choice: Choice, trace: Trace | None = None) -> Iterator[Row]:
    """Run the chosen cases of one test; `trace` is handed the lines of steps, outputs and state roots."""
    posts = mapping(field(test, "post", f"test {name}"), f"post of {name}")
    chosen = [fork for fork in posts if choice.takes(name, fork)]
    if not chosen:
        return
    config = mapping(test.get("config") or {}, "config")
    world = World(alloc_of(field(test, "pre", f"test {name}")))
    for fork_name in chosen:
        cases = sequence(posts[fork_name], f"post of {name}")
        fork = fork_named(fork_name)
        if fork is None:
            skipped = NOT_SUPPORTED[fork_name]
            yield from (Row(name, passed=False, fork=fork_name, skipped=skipped) for _ in cases)
            continue
        schedules = config.get("blobSchedule")
        run = _Run(name, test, world, fork.with_schedule(schedules), number(config.get("chainid", 1)), trace)
        yield from (run.case(mapping(case, f"a case of {name}")) for case in cases)


@dataclass(frozen=True, slots=True)
class _Run:
    """Everything the cases of one fork share."""

    name: str
    test: Mapping[str, Any]
    world: World
    fork: Fork
    chain_id: int
    trace: Trace | None

    def case(self, post: Mapping[str, Any]) -> Row:
        """Run one case and judge it."""
        env = mapping(field(self.test, "env", f"test {self.name}"), "env")
        block = Block(
            self.world,
            self.fork,
            _block_fields(env, self.fork),
            chain_id=self.chain_id,
            block_hash=_hash_of_number,
        )
        refusal = self._run_transaction(block, post)
        # Touched by nothing, as a reward of zero would: official roots expect it of refused transactions too.
        block.executor.credit([(address(field(env, "currentCoinbase", "env")), 0)])
        sealed = block.seal()
        error = _verdict(post, refusal, sealed.state_root, logs_hash(sealed.receipts))
        root = as_hex(sealed.state_root)
        if self.trace is not None:
            self.trace(orjson.dumps({"stateRoot": root}) + b"\n")
        known = self.name.rpartition("::")[2].rpartition("/")[2].partition("[")[0]
        skipped = _COLLISION_REASON if error and known in COLLISIONS else ""
        return Row(self.name, not error, self.fork.name, root, error, skipped)

    def _run_transaction(self, block: Block, post: Mapping[str, Any]) -> Refusal | None:
        content = mapping(field(self.test, "transaction", f"test {self.name}"), "transaction")
        indexes = mapping(field(post, "indexes", "a case"), "indexes")
        try:
            fields = state_test_fields(content, indexes, self.chain_id)
            raw = blob(post.get("txbytes", ""))
            if raw:
                self._require_same_sender(raw)
            result = block.run(fields, _sender(content), raw, trace=self.trace)
        except Refused as refused:
            return refused.refusal
        if isinstance(result, Refusal):
            return result
        if self.trace is not None:
            self.trace(summary_line(result))
        return None

    def _require_same_sender(self, raw: bytes) -> None:
        """Refuse what the signed bytes alone make impossible: a wrong encoding, signature or chain."""
        signed: Fields = decode(raw)
        if signed.chain_id not in {None, self.chain_id}:
            raise Refused("tx.wrong_chain", "signed for another chain")
        sender_of(signed)


def _block_fields(env: Mapping[str, Any], fork: Fork) -> BlockFields:
    difficulty = number(env.get("currentDifficulty", 0))
    randao = env.get("currentRandom")
    base_fee = number(env.get("currentBaseFee", 10)) if fork.since("London") else 0
    return BlockFields(
        number=number(field(env, "currentNumber", "env")),
        timestamp=number(field(env, "currentTimestamp", "env")),
        coinbase=address(field(env, "currentCoinbase", "env")),
        gas_limit=number(field(env, "currentGasLimit", "env")),
        base_fee=base_fee,
        difficulty=0 if fork.since("Paris") else difficulty,
        prev_randao=difficulty.to_bytes(32, "big") if randao is None else word(randao),
        excess_blob_gas=number(env.get("currentExcessBlobGas", 0)),
    )


def _hash_of_number(height: int) -> bytes:
    """Return the hash that state tests give the block of a height: Keccak-256 of its decimal digits."""
    return keccak256(str(height).encode())


def _sender(content: Mapping[str, Any]) -> bytes:
    if content.get("sender") is not None:
        return address(content["sender"])
    return address_of(word(field(content, "secretKey", "a transaction without sender")))


def _verdict(post: Mapping[str, Any], refusal: Refusal | None, root: bytes, logs: bytes) -> str:
    """Return what is wrong, or nothing."""
    expected = post.get("expectException") or ""
    if refusal is not None and not expected:
        return f"unexpected error: {refusal}"
    if refusal is None and expected:
        return f"expected error {expected}, got no error"
    if root != word(field(post, "hash", "a case")):
        return f"post state root mismatch: got {root.hex()}, want {word(post['hash']).hex()}"
    if logs != word(field(post, "logs", "a case")):
        return f"post state logs hash mismatch: got {logs.hex()}, want {word(post['logs']).hex()}"
    return ""
