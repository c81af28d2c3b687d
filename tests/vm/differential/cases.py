"""Random blocks: a state, an environment, and transactions of every type, some of which no block may hold."""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from bitai.evm.transactions import (
    ACCESS_LIST,
    BLOB,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    Authorization,
    Fields,
    encode,
    sign,
)
from primitives import rlp
from primitives.curve import address_of, ecdsa_sign
from primitives.hashes import keccak256
from tests.vm.differential.programs import PRECOMPILES, Programmer
from vm import _core

FORKS = {"Osaka": 40, "Prague": 25, "Cancun": 15, "Shanghai": 7, "Paris": 5, "London": 5, "Berlin": 3}
_TYPES = {
    "Berlin": [LEGACY, ACCESS_LIST],
    "London": [LEGACY, ACCESS_LIST, DYNAMIC_FEE],
    "Cancun": [LEGACY, ACCESS_LIST, DYNAMIC_FEE, BLOB],
    "Prague": [LEGACY, ACCESS_LIST, DYNAMIC_FEE, BLOB, SET_CODE, SET_CODE],
}
_ORDER = ["Berlin", "London", "Paris", "Shanghai", "Cancun", "Prague", "Osaka"]
SECRETS = [bytes(31) + bytes([index]) for index in range(1, 5)]
SENDERS = [address_of(secret) for secret in SECRETS]
_COINBASE = bytes(19) + b"\xcb"
_REQUESTS = [
    bytes.fromhex("00000961ef480eb55e80d19ad83579a64c007002"),
    bytes.fromhex("0000bbddc7ce488642fb579f8b00f3a590007251"),
]


@dataclass
class Case:
    """What both implementations are given, as JSON has it."""

    fork: str
    alloc: dict[str, Any]
    env: dict[str, Any]
    transactions: list[str]
    """Raw transactions in hex."""
    state_test: bool

    def txs(self) -> str:
        """Return the transactions as a block's list in RLP."""
        raws = [bytes.fromhex(raw) for raw in self.transactions]
        return "0x" + rlp.encode([raw if raw[:1] < b"\x80" else rlp.decode(raw) for raw in raws]).hex()


def make_case(seed: int, fork: str | None = None) -> Case:
    """Return the case of a seed; without a fork it chooses one."""
    random = Random(seed)
    chosen = random.choices(list(FORKS), list(FORKS.values()))[0]
    return _Maker(random, fork or chosen).case()


def make_old_case(seed: int, fork: str) -> Case:
    """Return a case of a fork before Berlin: what Berlin has, but only legacy transactions."""
    case = make_case(seed, "Berlin")
    legacy = [raw for raw in case.transactions if int(raw[:2], 16) >= 0xC0]
    return replace(case, fork=fork, transactions=legacy)


def _since(fork: str, other: str) -> bool:
    return _ORDER.index(fork) >= _ORDER.index(other)


class _Maker:
    def __init__(self, random: Random, fork: str) -> None:
        self._random, self._fork = random, fork
        self._contracts = [0xC000 + index for index in range(random.randrange(2, 6))]
        senders = [int.from_bytes(sender, "big") for sender in SENDERS]
        known = [*self._contracts * 3, *senders, 0xDEAD, int.from_bytes(_COINBASE, "big")]
        self._programmer = Programmer(random, known, fork)
        self._base_fee = random.choice([0, 7, 10, 1000])
        self._nonces = [random.choice([0, 0, 1, 5]) for _ in SENDERS]
        self._delegated = -1

    def case(self) -> Case:
        random = self._random
        alloc = self._alloc()
        is_state_test = random.random() < 0.3  # of one transaction
        count = 1 if is_state_test else random.choice([1, 1, 2, 3])
        transactions = [self._transaction().hex() for _ in range(count)]
        return Case(self._fork, alloc, self._env(), transactions, is_state_test)

    def _alloc(self) -> dict[str, Any]:
        random = self._random
        alloc: dict[str, Any] = {}
        for index, sender in enumerate(SENDERS):
            balance = random.choice([10**18, 10**20, 10**20, 10**15])
            alloc["0x" + sender.hex()] = _account(balance, self._nonces[index])
        if _since(self._fork, "Prague") and random.random() < 0.4:
            self._delegated = random.randrange(len(SENDERS))
            target = random.choice([*self._contracts, *PRECOMPILES[:3], int.from_bytes(SENDERS[0], "big")])
            code = b"\xef\x01\x00" + target.to_bytes(20, "big")
            alloc["0x" + SENDERS[self._delegated].hex()].update(code="0x" + code.hex(), nonce="0x1")
            self._nonces[self._delegated] = 1
        for contract in self._contracts:
            slots = {
                random.randrange(6): random.choice([1, 2, 2**256 - 1]) for _ in range(random.randrange(4))
            }
            code = self._programmer.program() or b"\x00"
            alloc["0x" + contract.to_bytes(20, "big").hex()] = _account(
                random.choice([0, 1, 100, 10**18]), 1, code, slots
            )
        if random.random() < 0.3:
            alloc["0x" + bytes(18).hex() + "dead"] = _account(5, 0)
        self._add_system_contracts(alloc)
        return alloc

    def _add_system_contracts(self, alloc: dict[str, Any]) -> None:
        random = self._random
        if _since(self._fork, "Cancun"):
            alloc["0x" + _core.BEACON_ROOTS_ADDRESS.hex()] = _account(0, 1, _core.BEACON_ROOTS_CODE)
        if _since(self._fork, "Prague"):
            alloc["0x" + _core.HISTORY_ADDRESS.hex()] = _account(0, 1, _core.HISTORY_CODE)
            for contract in _REQUESTS:
                code = random.choice(
                    [b"\x00", b"\x60\x20\x60\x00\xf3", b"\x43\x60\x00\x52\x60\x4c\x60\x00\xf3"]
                )
                if random.random() < 0.03:
                    code = random.choice([b"\xfe", b""])
                if code:
                    alloc["0x" + contract.hex()] = _account(0, 1, code)

    def _env(self) -> dict[str, Any]:
        random = self._random
        height = random.choice([1, 5, 300])
        hashes = {
            hex(at): "0x" + keccak256(str(at).encode()).hex() for at in range(max(0, height - 256), height)
        }
        withdrawals = [
            {
                "index": hex(at),
                "validatorIndex": "0x1",
                "address": "0x" + self._target().hex(),
                "amount": hex(amount),
            }
            for at, amount in enumerate(random.choices([0, 1, 10**9], k=random.randrange(3)))
        ]
        return {
            "currentCoinbase": "0x" + random.choice([_COINBASE, SENDERS[0], self._target()]).hex(),
            "currentGasLimit": hex(30_000_000 if random.random() < 0.95 else 400_000),
            "currentNumber": hex(height),
            "currentTimestamp": hex(random.choice([1000, 2**32, 2**40])),
            "currentDifficulty": "0x20000",
            "currentRandom": "0x" + random.randbytes(32).hex(),
            "currentBaseFee": hex(self._base_fee),
            "currentExcessBlobGas": hex(random.choice([0, 0, 131_072 * 10, 131_072 * 300])),
            "parentBeaconBlockRoot": "0x" + random.randbytes(32).hex(),
            "blockHashes": hashes,
            "withdrawals": withdrawals,
        }

    def _target(self) -> bytes:
        random = self._random
        kind = random.randrange(12)
        if kind < 8:
            return random.choice(self._contracts).to_bytes(20, "big")
        if kind == 8:
            return random.choice(SENDERS)
        if kind == 9:
            return random.choice(PRECOMPILES).to_bytes(20, "big")
        return random.choice([bytes(18) + b"\xde\xad", random.randbytes(20)])

    def _transaction(self) -> bytes:
        random = self._random
        who = random.randrange(len(SENDERS))
        fork = max((name for name in _TYPES if _since(self._fork, name)), key=_ORDER.index)
        kind = random.choice(_TYPES[fork])
        if random.random() < 0.01:
            kind = random.choice([ACCESS_LIST, DYNAMIC_FEE, BLOB, SET_CODE])
        max_fee = self._base_fee + random.choice([0, 1, 5, 100])
        is_creation = kind not in {BLOB, SET_CODE} and random.random() < 0.2
        fields = Fields(
            type=kind,
            chain_id=None if kind == LEGACY and random.random() < 0.3 else 1,
            nonce=self._nonces[who],
            max_fee=max_fee,
            priority_fee=random.choice([0, 1, max_fee]) if kind >= DYNAMIC_FEE else 0,
            gas_limit=random.choice([60_000, 200_000, 1_000_000, 1_000_000, 3_000_000, 3_000_000]),
            to=None if is_creation else self._target(),
            value=random.choice([0, 0, 1, 1000, 10**15]),
            data=self._programmer.init_code() if is_creation else self._data(),
            access_list=self._access_list() if kind >= ACCESS_LIST else (),
            max_blob_fee=random.choice([1, 10, 10**9]) if kind == BLOB else 0,
            blob_hashes=tuple(b"\x01" + random.randbytes(31) for _ in range(random.randrange(1, 4)))
            if kind == BLOB
            else (),
            authorizations=self._authorizations(who) if kind == SET_CODE else (),
        )
        if random.random() < 0.1:
            fields = self._spoil(fields)
        else:
            self._nonces[who] = fields.nonce + 1
        signed = sign(fields, SECRETS[who])
        if random.random() < 0.01:
            signed = replace(signed, s=signed.s ^ 1 if random.random() < 0.5 else 2**255)
        return encode(signed)

    def _data(self) -> bytes:
        random = self._random
        size = random.choice([0, 0, 4, 32, 68, 500, 3000])
        return bytes(size) if random.random() < 0.2 else random.randbytes(size)

    def _access_list(self) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
        random = self._random
        return tuple(
            (
                self._target(),
                tuple(random.randrange(6).to_bytes(32, "big") for _ in range(random.randrange(3))),
            )
            for _ in range(random.randrange(3))
        )

    def _authorizations(self, sender: int) -> tuple[Authorization, ...]:
        return tuple(self._authorization(sender) for _ in range(self._random.choice([1, 1, 2, 3])))

    def _authorization(self, sender: int) -> Authorization:
        random = self._random
        who = random.randrange(len(SENDERS))
        # The sender's nonce is bumped before its own authorization is looked at.
        nonce = self._nonces[who] + (who == sender) + random.choice([0, 0, 0, 0, 1])
        chain_id = random.choice([0, 1, 1, 1, 2])
        target = random.choice([bytes(20), self._target(), self._target()])
        parts = [rlp.encode_int(chain_id), target, rlp.encode_int(nonce)]
        signature = ecdsa_sign(SECRETS[who], keccak256(b"\x05" + rlp.encode(parts)))
        r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
        parity = signature[64]
        if random.random() < 0.1:
            r, s, parity = random.choice(
                [(0, s, parity), (r, 2**256 - 1, parity), (r, s, 2), (r, s, 255), (r, 0, 0)]
            )
        elif chain_id in {0, 1} and nonce == self._nonces[who] + (who == sender) and who != sender:
            self._nonces[who] += 1
        return Authorization(chain_id, target, nonce, parity, r, s)

    def _spoil(self, fields: Fields) -> Fields:
        """Change what may make the transaction one that no block holds."""
        random = self._random
        changes: list[dict[str, Any]] = [
            {"nonce": fields.nonce + 1},
            {"nonce": max(0, fields.nonce - 1)},
            {"nonce": 2**64 - 1},
            {"gas_limit": random.choice([0, 20_999, 21_000, 25_000])},
            {"gas_limit": random.choice([2**24, 2**24 + 1, 40_000_000, 2**63])},
            {"max_fee": max(0, self._base_fee - 1), "priority_fee": 0},
            {"max_fee": 2**100, "priority_fee": 0},
            {"priority_fee": fields.max_fee + 1},
            {"value": random.choice([10**21, 2**256 - 1])},
            # The specification does not compare the chain of typed transactions; clients do, and so do the doors.
            {"chain_id": 2 if fields.type == LEGACY else 1},
            {"to": None},
            {"data": bytes(random.choice([49_152, 49_153])), "to": None, "gas_limit": 10_000_000},
            {
                "blob_hashes": random.choice(
                    [(), (bytes(32),), (b"\x01" + bytes(31),) * 7, (b"\x01" + bytes(31),) * 10]
                )
            },
            {"max_blob_fee": 0},
            {"authorizations": ()},
        ]
        return replace(fields, **random.choice(changes))


def _account(
    balance: int, nonce: int, code: bytes = b"", slots: dict[int, int] | None = None
) -> dict[str, Any]:
    storage = {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in (slots or {}).items()}
    return {"balance": hex(balance), "nonce": hex(nonce), "code": "0x" + code.hex(), "storage": storage}
