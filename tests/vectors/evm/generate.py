"""Write the official-form tests beside this file; the Ethereum specification says what each must come to.

    python -m tests.vectors.evm.generate

State tests: one random program and transaction under every fork that knows its type. Blockchain tests: blocks that the
specification's own state transition has accepted, and spoilt ones that it has refused.
"""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from ethereum.exceptions import EthereumException
from ethereum_rlp import rlp as their_rlp
from ethereum_types.numeric import U64

from bitai.evm.blocks import BlockInput, Chain, Signed, Withdrawal, process, requests_hash
from bitai.evm.forks import fork_named
from bitai.evm.headers import NO_OMMERS
from bitai.evm.transactions import Fields, decode, sender_of
from bitai.evm.world import BlockFields, World, alloc_of
from primitives import rlp
from primitives.hashes import keccak256
from tests.vm.differential.cases import SECRETS, SENDERS, Case, make_case
from tests.vm.differential.oracle import by_doors, by_specification
from vm import _core

HERE = Path(__file__).parent
FORKS = ["Berlin", "London", "Paris", "Shanghai", "Cancun", "Prague", "Osaka"]
FIRST_FORK = {0: "Berlin", 1: "Berlin", 2: "London", 3: "Cancun", 4: "Prague"}
STATE_TESTS = 22
MOST_CODE_BYTES = 1_200


def state_tests() -> dict[str, Any]:
    """Return tests by name."""
    tests: dict[str, Any] = {}
    seed = 7_000_000
    while len(tests) < STATE_TESTS:
        seed += 1
        case = make_case(seed)
        size = sum(len(account["code"]) // 2 for account in case.alloc.values())
        fields = decode(bytes.fromhex(case.transactions[0]))
        if case.state_test and size < MOST_CODE_BYTES and len(fields.data) < 600:
            tests[f"random_{seed}"] = _state_test(case, fields)
    return tests


def _state_test(case: Case, fields: Fields) -> dict[str, Any]:
    env = {name: value for name, value in case.env.items() if name not in {"withdrawals", "blockHashes"}}
    # State tests give a block's number a hash; the specification's tool is told only the parent's.
    env |= {"currentNumber": "0x1", "previousHash": "0x" + keccak256(b"0").hex()}
    post: dict[str, Any] = {}
    for fork in FORKS[FORKS.index(FIRST_FORK[fields.type]) :]:
        one = replace(
            case, fork=fork, env={**env, "withdrawals": [], "blockHashes": {"0x0": env["previousHash"]}}
        )
        result = by_specification(one)
        entry = {
            "hash": result["stateRoot"],
            "logs": result["logsHash"],
            "indexes": {"data": 0, "gas": 0, "value": 0},
            "txbytes": "0x" + case.transactions[0],
        }
        if result["rejected"]:
            entry["expectException"] = by_doors(one)["rejected"][0]["error"].partition(":")[0]
        post[fork] = [entry]
    transaction = _transaction(fields)
    return {
        "env": env,
        "pre": case.alloc,
        "transaction": transaction,
        "post": post,
        "config": {"chainid": "0x01"},
    }


def _transaction(fields: Fields) -> dict[str, Any]:
    content: dict[str, Any] = {
        "nonce": hex(fields.nonce),
        "to": "" if fields.to is None else "0x" + fields.to.hex(),
        "data": ["0x" + fields.data.hex()],
        "gasLimit": [hex(fields.gas_limit)],
        "value": [hex(fields.value)],
    }
    try:
        sender = sender_of(fields)
    except ValueError:
        sender = SENDERS[0]
    if sender in SENDERS:
        content["secretKey"] = "0x" + SECRETS[SENDERS.index(sender)].hex()
    content["sender"] = "0x" + sender.hex()
    if fields.type < 2:
        content["gasPrice"] = hex(fields.max_fee)
    else:
        content |= {"maxFeePerGas": hex(fields.max_fee), "maxPriorityFeePerGas": hex(fields.priority_fee)}
    if fields.type >= 1:
        access = [
            {"address": "0x" + name.hex(), "storageKeys": ["0x" + slot.hex() for slot in slots]}
            for name, slots in fields.access_list
        ]
        content["accessLists"] = [access]
    if fields.type == 3:
        content["maxFeePerBlobGas"] = hex(fields.max_blob_fee)
        content["blobVersionedHashes"] = ["0x" + one.hex() for one in fields.blob_hashes]
    if fields.type == 4:
        content["authorizationList"] = [
            {
                "chainId": hex(one.chain_id),
                "address": "0x" + one.address.hex(),
                "nonce": hex(one.nonce),
                "v": hex(one.y_parity),
                "r": hex(one.r),
                "s": hex(one.s),
            }
            for one in fields.authorizations
        ]
    return content


def block_tests() -> dict[str, Any]:
    """Return a chain of three blocks for each fork since Paris, with a spoilt block before each good one."""
    return {f"chain_{fork}": _chain_test(fork, 8_000_000 + at) for at, fork in enumerate(FORKS[2:])}


def _chain_test(fork_name: str, first_seed: int) -> dict[str, Any]:
    case = _block_case(fork_name, first_seed)
    builder = _Builder(fork_name, case)
    blocks: list[dict[str, Any]] = []
    for at, spoil in enumerate(("state_root", "gas_used", "base_fee")):
        header, body = builder.next_block(at)
        bad = builder.spoilt(header, spoil)
        assert not builder.accepted_by_specification([bad, *body])
        blocks.append(
            {
                "rlp": "0x" + rlp.encode([bad, *body]).hex(),
                "expectException": "BlockException." + _NAMES[spoil],
            }
        )
        assert builder.accepted_by_specification([header, *body]), (fork_name, at)
        blocks.append({"rlp": "0x" + rlp.encode([header, *body]).hex()})
        builder.commit(header)
    post = {"0x" + name.hex(): account.to_json() for name, account in builder.world.alloc().items()}
    return {
        "network": fork_name,
        "pre": case.alloc,
        "genesisRLP": "0x"
        + rlp.encode([builder.genesis, [], []] + ([[]] if len(builder.genesis) > 16 else [])).hex(),
        "blocks": blocks,
        "lastblockhash": "0x" + keccak256(rlp.encode(builder.parent)).hex(),
        "postState": post,
        "sealEngine": "NoProof",
    }


_NAMES = {
    "state_root": "INVALID_STATE_ROOT",
    "gas_used": "INVALID_GAS_USED",
    "base_fee": "INVALID_BASEFEE_PER_GAS",
}
_PLACES = {"state_root": 3, "gas_used": 10, "base_fee": 15}


def _block_case(fork: str, seed: int) -> Case:
    """Return a case of this fork whose requests contracts answer and whose transactions are all included."""
    while True:
        seed += 100
        case = make_case(seed)
        if case.fork != fork or case.state_test or len(case.transactions) < 2:
            continue
        result = by_doors(case)
        if not result["rejected"] and "blockException" not in result:
            return case


class _Builder:
    """Blocks made by the doors and judged by the specification."""

    def __init__(self, fork_name: str, case: Case) -> None:
        self.fork = fork_named(fork_name)
        self._case = case
        self._random = Random(fork_name)
        self.world = World(alloc_of(case.alloc))
        self._hashes: dict[int, bytes] = {}
        self.genesis = self._header(0, 1_000, self.world.root, None, None)
        self.parent = self.genesis
        self._hashes[0] = keccak256(rlp.encode(self.genesis))
        self._raws = [bytes.fromhex(raw) for raw in case.transactions]
        self._theirs = _their_chain(fork_name, case, self.genesis)

    def next_block(self, at: int) -> tuple[list[Any], list[Any]]:
        """Return header and body of a block with the next transactions."""
        raws = self._raws[at : at + 1] if at < len(self._raws) - 1 else self._raws[at:]
        transactions = [Signed(decode(raw), sender_of(decode(raw)), raw) for raw in raws]
        withdrawals = [Withdrawal(at, 1, SENDERS[at], 10 * at)] if self.fork.since("Shanghai") else []
        number, base_fee = at + 1, _next_base_fee(self.parent)
        root = self._random.randbytes(32) if self.fork.since("Cancun") else None
        self._fields = BlockFields(
            number=number,
            timestamp=1_000 + 12 * number,
            coinbase=bytes(19) + b"\xcb",
            gas_limit=30_000_000,
            base_fee=base_fee,
            prev_randao=bytes(32),
        )
        content = BlockInput(
            transactions=transactions, withdrawals=withdrawals, parent_hash=self._hashes[at], beacon_root=root
        )
        chain = Chain(fork=self.fork, chain_id=1, block_hash=self._hashes.get)
        self._output = process(self.world, chain, self._fields, content)
        included = [raws[index] for index in self._output.included]
        assert len(included) == len(raws), self._output.rejected
        header = self._header(
            number, self._fields.timestamp, self._output.sealed.state_root, self._output, content
        )
        items = [raw if raw[0] < 0x80 else rlp.decode(raw) for raw in included]
        body: list[Any] = [items, []]
        if self.fork.since("Shanghai"):
            body.append([rlp.decode(one.encoded()) for one in withdrawals])
        return header, body

    def spoilt(self, header: list[Any], what: str) -> list[Any]:
        place = _PLACES[what]
        value = bytes(32) if what == "state_root" else rlp.encode_int(rlp.decode_int(header[place]) + 1)
        return [*header[:place], value, *header[place + 1 :]]

    def commit(self, header: list[Any]) -> None:
        self._output.block.commit(self._output.sealed)
        self.parent = header
        self._hashes[len(self._hashes)] = keccak256(rlp.encode(header))

    def accepted_by_specification(self, block: list[Any]) -> bool:
        module, blocks, chain = self._theirs
        attempt = _copy(module, chain)  # a refused block has changed the state all the same
        try:
            module.state_transition(attempt, their_rlp.decode_to(blocks.Block, rlp.encode(block)))
        except EthereumException:
            return False
        self._theirs = (module, blocks, attempt)
        return True

    def _header(self, number: int, timestamp: int, root: bytes, output: Any, content: Any) -> list[Any]:
        made = output.sealed.header if output else None
        empty = _core.EMPTY_ROOT
        base_fee = _next_base_fee(self.parent) if number else int(self._case.env["currentBaseFee"], 16)
        numbers = [0, number, 30_000_000, output.sealed.gas_used if output else 0, timestamp]
        header: list[Any] = [
            self._hashes[number - 1] if number else bytes(32),
            NO_OMMERS,
            bytes(19) + b"\xcb",
            root,
            made.transactions_root if made else empty,
            made.receipts_root if made else empty,
            made.logs_bloom if made else bytes(256),
            *(rlp.encode_int(one) for one in numbers),
            b"",
            bytes(32),
            bytes(8),
            rlp.encode_int(base_fee),
        ]
        if self.fork.since("Shanghai"):
            withdrawals = [one.encoded() for one in content.withdrawals] if content else []
            header.append(_core.ordered_root(withdrawals))
        if self.fork.since("Cancun"):
            used = output.blob_gas_used if output else 0
            root = content.beacon_root if content else bytes(32)
            header += [rlp.encode_int(used), b"", root]
        if self.fork.since("Prague"):
            header.append(requests_hash(output.requests if output else []))
        return header


def _copy(module: Any, chain: Any) -> Any:
    trie = importlib.import_module(f"{module.__package__}.trie")
    state = type(chain.state)(
        _main_trie=trie.copy_trie(chain.state._main_trie),
        _storage_tries={name: trie.copy_trie(one) for name, one in chain.state._storage_tries.items()},
    )
    return module.BlockChain(list(chain.blocks), state, chain.chain_id)


def _next_base_fee(parent: list[Any]) -> int:
    from bitai.evm.blocks import next_base_fee

    return next_base_fee(*(rlp.decode_int(parent[place]) for place in (9, 10, 15)))


def _their_chain(fork: str, case: Case, genesis: list[Any]) -> Any:
    """Return the specification's fork, its types, and a chain that stands at the genesis."""
    module = importlib.import_module(f"ethereum.forks.{fork.lower()}.fork")
    blocks = importlib.import_module(f"ethereum.forks.{fork.lower()}.blocks")
    state = _loader(fork).json_to_state(case.alloc)
    header = their_rlp.decode_to(blocks.Header, rlp.encode(genesis))
    parts = {"header": header, "transactions": (), "ommers": ()}
    if fork != "Paris":
        parts["withdrawals"] = ()
    return module, blocks, module.BlockChain([blocks.Block(**parts)], state, U64(1))


def _loader(fork: str) -> Any:
    from ethereum_spec_tools.evm_tools.loaders.fixture_loader import Load

    return Load(fork.lower())


def main() -> None:
    """Write the files."""
    for name, tests in (("blockchain_tests", block_tests()), ("state_tests", state_tests())):
        path = HERE / f"{name}.json"
        path.write_text(json.dumps(tests, indent=0, separators=(",", ":")) + "\n")
        print(path.name, len(tests), path.stat().st_size)  # noqa: T201 - a script


if __name__ == "__main__":
    main()
