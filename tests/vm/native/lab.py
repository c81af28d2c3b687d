"""A chain in a dict: keys, signing, blocks. Everything a test of the native core needs and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from primitives.curve import address_of, ecdsa_sign
from primitives.hashes import keccak256
from primitives.rlp import encode
from vm import _core

CHAIN_ID = 726_945
GWEI = 10**9
ETHER = 10**18
BASE_FEE = 10 * GWEI
FEE_VAULT = b"\x19" * 20
POOL = b"\x20" * 20
COINBASE = b"\xcb" * 20
START_TIME = 1_700_000_000

Storage = Mapping[bytes, int]


def slot(number: int) -> bytes:
    """Return a slot's 32 bytes."""
    return number.to_bytes(32, "big")


def as_rlp(value: object) -> bytes | list[object]:
    """Return integers as RLP wants them, inside lists too."""
    if isinstance(value, int):
        return value.to_bytes((value.bit_length() + 7) // 8, "big")
    if isinstance(value, (list, tuple)):
        return [as_rlp(item) for item in value]
    assert isinstance(value, bytes)
    return value


@dataclass
class Key:
    """A sender."""

    secret: bytes
    nonce: int = 0
    address: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.address = address_of(self.secret)

    def signature(self, digest: bytes) -> tuple[int, int, int]:
        """Return (y parity, r, s)."""
        raw = ecdsa_sign(self.secret, digest)
        return raw[64], int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big")

    def authorize(self, target: bytes, nonce: int, chain_id: int = CHAIN_ID) -> list[object]:
        """Return a signed EIP-7702 authorization."""
        fields = [chain_id, target, nonce]
        return [*fields, *self.signature(keccak256(b"\x05" + encode(as_rlp(fields))))]

    def sign(
        self,
        to: bytes | None,
        *,
        value: int = 0,
        data: bytes = b"",
        gas: int = 1_000_000,
        kind: int = 2,
        max_fee: int = 3 * BASE_FEE,
        tip: int = GWEI,
        nonce: int | None = None,
        access: Sequence[tuple[bytes, Sequence[bytes]]] = (),
        authorizations: Sequence[list[object]] = (),
        chain_id: int = CHAIN_ID,
    ) -> bytes:
        """Return a raw transaction; without `nonce` the key counts its own."""
        if nonce is None:
            nonce = self.nonce
            self.nonce += 1
        to = to or b""
        if kind == 0:
            fields: list[object] = [nonce, max_fee, gas, to, value, data]
            odd, r, s = self.signature(keccak256(encode(as_rlp([*fields, chain_id, b"", b""]))))
            return encode(as_rlp([*fields, 35 + 2 * chain_id + odd, r, s]))
        fees = [max_fee] if kind == 1 else [tip, max_fee]
        fields = [chain_id, nonce, *fees, gas, to, value, data, list(access)]
        if kind == 4:
            fields.append(list(authorizations))
        prefix = bytes([kind])
        signature = self.signature(keccak256(prefix + encode(as_rlp(fields))))
        return prefix + encode(as_rlp([*fields, *signature]))


def keys(count: int) -> list[Key]:
    """Return the first keys."""
    return [Key(keccak256(b"lab" + bytes([i]))) for i in range(count)]


def decode(*raws: bytes) -> list[_core.Transaction]:
    """Return decoded transactions; a refused one is an error of the test."""
    decoded = _core.decode(list(raws), CHAIN_ID)
    refused = [item for item in decoded if isinstance(item, tuple)]
    assert not refused, refused
    return [item for item in decoded if isinstance(item, _core.Transaction)]


def no_model(_: bytes) -> None:
    """There are no models."""


def no_inference(*_: object) -> tuple[int, bytes]:
    """Refuse to run a model that no test asked for."""
    raise AssertionError("an on-chain model ran")


class Lab:
    """A chain whose store is a dict."""

    def __init__(
        self,
        accounts: Mapping[bytes, tuple[int, int, bytes, Storage]] | None = None,
        *,
        rich: Sequence[Key] = (),
        cache_bytes: int = 64 << 20,
        **rules: int | None,
    ) -> None:
        allocation = {key.address: (0, 1_000 * ETHER, b"", {}) for key in rich}
        allocation |= {
            _core.BEACON_ROOTS_ADDRESS: (1, 0, _core.BEACON_ROOTS_CODE, {}),
            _core.HISTORY_ADDRESS: (1, 0, _core.HISTORY_CODE, {}),
        }
        allocation |= accounts or {}
        self.allocation = allocation
        self.store: dict[bytes, bytes] = {}
        self.reads = 0
        self.state = _core.State(self.read, cache_bytes=cache_bytes)
        self.prices = {"infer_base_gas": 1_000, "infer_mac_gas": 1, "infer_byte_gas": 16} | rules
        self.rules = _core.Rules(
            chain_id=CHAIN_ID,
            fee_vault=FEE_VAULT,
            protocol_pool=POOL,
            **self.prices,  # type: ignore[arg-type]
        )
        self.models: Callable[[bytes], object] = no_model
        self.infer: Callable[..., object] = no_inference
        self.hashes: dict[int, bytes] = {}
        self.host = _core.Host(
            models=self.ask_models,  # type: ignore[arg-type]
            infer=self.ask_infer,  # type: ignore[arg-type]
            block_hash=self.hashes.get,
        )
        self.head = _core.build_genesis(
            self.env(number=0), [(address, *parts) for address, parts in allocation.items()]
        )
        self.write(self.head.writes)
        self.hashes[0] = self.head.hash

    def ask_models(self, model_id: bytes) -> object:
        """Ask whoever a test put in place."""
        return self.models(model_id)

    def ask_infer(self, *request: object) -> object:
        """Ask whoever a test put in place."""
        return self.infer(*request)

    def read(self, wanted: list[bytes]) -> list[bytes | None]:
        """Answer the core."""
        self.reads += 1
        return [self.store.get(key) for key in wanted]

    def write(self, writes: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Apply writes or undo data."""
        for key, value in writes:
            if value is None:
                del self.store[key]
            else:
                self.store[key] = value

    def env(self, **changes: object) -> _core.BlockEnv:
        """Return the next block's environment."""
        number = self.head.number + 1 if hasattr(self, "head") else 0
        fields: dict[str, object] = {
            "number": number,
            "timestamp": START_TIME + 2 * number,
            "coinbase": COINBASE,
            "gas_limit": 60_000_000,
            "base_fee": BASE_FEE,
            "prev_randao": keccak256(b"randao" + number.to_bytes(8, "big")),
            "parent_hash": self.head.hash if hasattr(self, "head") else bytes(32),
            "origin_hash": keccak256(b"origin" + number.to_bytes(8, "big")),
            "extra_data": number.to_bytes(4, "big"),
        }
        return _core.BlockEnv(**(fields | changes))  # type: ignore[arg-type]

    def open(self, **changes: object) -> _core.BlockExecutor:
        """Return an executor for the next block."""
        return _core.BlockExecutor(self.state, self.rules, self.env(**changes), self.host)

    def commit(self, executor: _core.BlockExecutor, **seal: object) -> _core.SealedBlock:
        """Seal and commit a block."""
        sealed = executor.seal(**seal)  # type: ignore[arg-type]
        executor.commit(lambda: self.write(sealed.writes))
        self.head = sealed
        self.hashes[sealed.number] = sealed.hash
        return sealed

    def block(self, *raws: bytes, missing: str = "skip", **changes: object) -> list[_core.Outcome]:
        """Make a block of these transactions."""
        executor = self.open(**changes)
        outcomes = executor.run(decode(*raws), missing=missing)  # type: ignore[arg-type]
        self.commit(executor)
        return outcomes

    def call(self, to: bytes | None, data: bytes = b"", **options: object) -> _core.CallResult:
        """Call on the head."""
        names = {"sender", "value", "gas_limit", "gas_price", "access_list", "authorizations"}
        message = _core.Message(to=to, input=data, **{k: v for k, v in options.items() if k in names})  # type: ignore[arg-type]
        rest = {k: v for k, v in options.items() if k not in names}
        return _core.call(self.state, self.rules, self.env(), self.host, message, **rest)  # type: ignore[arg-type]

    def balance(self, address: bytes) -> int:
        """Return a balance at the head."""
        account = self.state.account(address)
        return account.balance if account else 0
