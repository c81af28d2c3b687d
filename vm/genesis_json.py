"""The genesis spec as JSON values: one form, so that the configuration's hash is the chain's identity.

Bytes are 0x hex in lower case, quantities are integers; keys that do not belong are refused, so that a typing
mistake never becomes another chain in silence.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

from primitives.errors import ConfigError
from primitives.ids import ADDRESS_BYTES, HASH_BYTES, Address, ModelId
from vm.genesis import GenesisAccount, GenesisNeuron, GenesisSpec

Json: TypeAlias = "int | str | list[Json] | dict[str, Json]"
"""What canonical JSON of a configuration is made of: no floats, no null."""

T = TypeVar("T")


def genesis_to_json(spec: GenesisSpec) -> dict[str, Json]:
    """Return the spec as JSON values."""
    return {
        "accounts": [_account_to_json(account) for account in spec.accounts],
        "neurons": [_neuron_to_json(neuron) for neuron in spec.neurons],
        "timestamp": spec.timestamp,
    }


def genesis_from_json(value: object) -> GenesisSpec:
    """Read what `genesis_to_json` wrote; raises ConfigError `genesis.malformed` and those of `check`."""
    fields = _object(value, {"accounts", "neurons", "timestamp"})
    spec = GenesisSpec(
        timestamp=_integer(fields["timestamp"]),
        accounts=_each(fields["accounts"], _account_from_json),
        neurons=_each(fields["neurons"], _neuron_from_json),
    )
    spec.check()
    return spec


def _account_to_json(account: GenesisAccount) -> Json:
    return {
        "address": _hex(account.address),
        "balance": account.balance,
        "code": _hex(account.code),
        "nonce": account.nonce,
        "storage": {_hex(slot): value for slot, value in account.storage},
    }


def _account_from_json(value: object) -> GenesisAccount:
    fields = _object(value, {"address", "balance", "code", "nonce", "storage"})
    storage = fields["storage"]
    if not isinstance(storage, Mapping):
        raise _malformed("storage is an object", storage)
    return GenesisAccount(
        address=Address(_bytes(fields["address"], ADDRESS_BYTES)),
        balance=_integer(fields["balance"]),
        nonce=_integer(fields["nonce"]),
        code=_bytes(fields["code"]),
        storage=tuple(sorted((_bytes(slot, HASH_BYTES), _integer(word)) for slot, word in storage.items())),
    )


def _neuron_to_json(neuron: GenesisNeuron) -> Json:
    return {
        "address": _hex(neuron.address),
        "models": [_hex(model_id) for model_id in neuron.models],
        "owner": _hex(neuron.owner),
    }


def _neuron_from_json(value: object) -> GenesisNeuron:
    fields = _object(value, {"address", "models", "owner"})
    return GenesisNeuron(
        address=Address(_bytes(fields["address"], ADDRESS_BYTES)),
        owner=Address(_bytes(fields["owner"], ADDRESS_BYTES)),
        models=_each(fields["models"], lambda model_id: ModelId(_bytes(model_id, HASH_BYTES))),
    )


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _object(value: object, keys: set[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or value.keys() != keys:
        raise _malformed(f"an object with exactly the keys {', '.join(sorted(keys))} is wanted", value)
    return value


def _each(value: object, read: Callable[[object], T]) -> tuple[T, ...]:
    if not isinstance(value, list):
        raise _malformed("a list is wanted", value)
    return tuple(read(entry) for entry in value)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _malformed("a whole number is wanted", value)
    return value


def _bytes(value: object, length: int | None = None) -> bytes:
    """Read 0x hex in its one form: lower case, two digits a byte, nothing else."""
    if isinstance(value, str) and value.startswith("0x"):
        try:
            data = bytes.fromhex(value[2:])
        except ValueError:
            raise _malformed("0x hex is wanted", value) from None
        if _hex(data) == value and length in (None, len(data)):
            return data
    raise _malformed(f"0x hex of {length} bytes is wanted" if length else "0x hex is wanted", value)


def _malformed(message: str, value: object) -> ConfigError:
    fix = "correct the genesis part of the rollup configuration"
    return ConfigError("genesis.malformed", message, fix=fix, value=repr(value)[:80])
