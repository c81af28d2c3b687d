"""What every node of one chain must agree on; the hash of it is the chain's identity.

`RollupConfig` never says anything about one machine. As a file it is canonical JSON: sorted keys, no white
space, whole numbers, bytes as 0x hex. Spec: docs/spec/config.md.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final, TypeVar

from primitives.bitcoin.header import MEDIAN_SPAN, median_time_past
from primitives.errors import ConfigError, InvalidInput
from primitives.hashes import tagged_hash
from primitives.ids import (
    ADDRESS_BYTES,
    HASH_BYTES,
    Address,
    Hash32,
    L1Hash,
    XOnlyKey,
    display_hash,
    parse_display_hash,
)
from rollup.limits import Limits
from rollup.parameters import BY_NETWORK, REGTEST, Parameters
from vm.data_fee import RECORD_BYTES
from vm.genesis import GenesisAccount, GenesisNeuron, GenesisSpec, predeployed_accounts
from vm.genesis_json import Json, genesis_from_json, genesis_to_json
from vm.spec import NEURON_MACS, ON_CHAIN_MACS, ChainSpec, InferPrices
from vm.types import L1Origin

REGTEST_CHAIN_ID: Final = 0xB17A1
"""726,945: listed for no public network, and not one of the two that an older BitAI network used."""
INFER_OPCODE: Final = 0xB0
"""Unassigned in Osaka; 0 in a configuration switches the instruction off and leaves the precompile."""
CONFIG_VERSION: Final = 1
"""Of the configuration's form and of the rules it names; a release that reads others adds them here."""
CALLING_GAS: Final = 100_000
"""What a transaction needs besides to ask a model: its own 21,000, calldata, and a contract between."""
_IDENTITY_TAG: Final = "BitAI/config"
_HALVINGS: Final[Mapping[str, int]] = {"regtest": 150}
_HALVING: Final = 210_000
_BRACKET: Final = re.compile(r"[\[\]{}]")
_MOST_NESTED: Final = 32
_FIX: Final = "correct the rollup configuration, or take the file from whoever runs the chain"

Flat = TypeVar("Flat", Parameters, Limits, InferPrices)


@dataclass(frozen=True, slots=True)
class L1Start:
    """The Bitcoin block that the first L2 block looks back to.

    `times` are the header times (Unix seconds) of up to 11 blocks, oldest first, this one last: the median
    time past of this block and the next ten cannot be known without them.
    """

    height: int
    hash: L1Hash
    times: tuple[int, ...]

    @property
    def origin(self) -> L1Origin:
        """The same as an origin."""
        return L1Origin(self.height, self.hash, median_time_past(self.times))


@dataclass(frozen=True, slots=True)
class Keys:
    """The first keys of the chain; governance changes them by inscription."""

    batcher: XOnlyKey
    sequencer: XOnlyKey
    governance: XOnlyKey


@dataclass(frozen=True, slots=True)
class Execution:
    """What the machine reads of the chain; `fee_recipient` is the sequencer's account for priority fees."""

    fee_recipient: Address
    infer_opcode: int = INFER_OPCODE
    on_chain_macs: int = ON_CHAIN_MACS
    neuron_macs: int = NEURON_MACS
    prices: InferPrices = field(default_factory=InferPrices)


@dataclass(frozen=True)
class RollupConfig:
    """One chain. `genesis.timestamp` is the median time past of the start block."""

    chain_id: int
    l1_network: str
    l1_start: L1Start
    keys: Keys
    execution: Execution
    genesis: GenesisSpec
    parameters: Parameters
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def identity(self) -> Hash32:
        """The chain's identity: tagged hash of the canonical JSON."""
        return tagged_hash(_IDENTITY_TAG, _canonical(_to_json(self)))

    @property
    def halving_interval(self) -> int:
        """Bitcoin blocks between two halvings of the subsidy on this network."""
        return _HALVINGS.get(self.l1_network, _HALVING)

    def chain_spec(self) -> ChainSpec:
        """Return the part that execution reads."""
        execution = self.execution
        return ChainSpec(
            chain_id=self.chain_id,
            identity=self.identity,
            origin=self.l1_start.origin,
            genesis=self.genesis,
            fee_recipient=execution.fee_recipient,
            gas_limit=self.parameters.gas_limit,
            base_fee_wei=self.parameters.base_fee_wei,
            transaction_gas=self.parameters.transaction_gas,
            l1_fee_rate=self.parameters.l1_fee_floor,
            prices=execution.prices,
            on_chain_macs=execution.on_chain_macs,
            neuron_macs=execution.neuron_macs,
            infer_opcode=execution.infer_opcode or None,
        )

    def check(self) -> None:
        """Refuse what no chain can be run by; raises ConfigError `config.*`, `limits.*`, `genesis.*`."""
        self.parameters.check()
        self.limits.check()
        self.genesis.check()
        _check_identity(self)
        _check_start(self)
        _check_execution(self.execution)
        _check_prices(self.execution, self.parameters)
        if self.l1_network != "regtest":
            _check_no_gifts(self.genesis)

    def to_json(self) -> str:
        """Return the file's text: the genesis part, and the identity for whoever wants to compare."""
        document: dict[str, Json] = {"genesis_part": _to_json(self), "identity": _hex(self.identity)}
        return _canonical(document).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "RollupConfig":
        """Read and check a file; raises ConfigError `config.malformed`, `config.identity`, and as `check`."""
        try:
            _require_shallow(text.decode() if isinstance(text, bytes) else text)
            document = json.loads(text, parse_float=_refuse_number, parse_constant=_refuse_number)
        except ValueError as error:
            raise _malformed(f"not JSON: {error}") from error
        top = _object(document, {"genesis_part", "identity"})
        config = _from_json(top["genesis_part"])
        config.check()
        if _hex(config.identity) != top["identity"]:
            raise ConfigError(
                "config.identity",
                "the identity in the file is not that of its content: somebody changed one of them",
                fix=_FIX,
                content=_hex(config.identity),
                claimed=str(top["identity"])[:80],
            )
        return config


def regtest_config(
    start: L1Start,
    keys: Keys,
    fee_recipient: Address,
    *,
    accounts: tuple[GenesisAccount, ...] = (),
    neurons: tuple[GenesisNeuron, ...] = (),
    parameters: Parameters = REGTEST,
) -> RollupConfig:
    """Return a checked chain on a regtest Bitcoin, with funded accounts beside the usual contracts."""
    config = RollupConfig(
        chain_id=REGTEST_CHAIN_ID,
        l1_network="regtest",
        l1_start=start,
        keys=keys,
        execution=Execution(fee_recipient),
        genesis=GenesisSpec(
            timestamp=start.origin.mtp,
            accounts=tuple(sorted((*predeployed_accounts(), *accounts), key=lambda account: account.address)),
            neurons=neurons,
        ),
        parameters=parameters,
    )
    config.check()
    return config


def _check_identity(config: RollupConfig) -> None:
    if not 0 < config.chain_id < 2**53:
        raise _refusal("chain_id", "a chain id is positive and below 2^53, so that every wallet can hold it")
    if config.l1_network not in BY_NETWORK:
        raise _refusal("l1_network", f"the network is one of {', '.join(sorted(BY_NETWORK))}")
    keys = (config.keys.batcher, config.keys.sequencer, config.keys.governance)
    if any(len(key) != HASH_BYTES for key in keys):
        raise _refusal("keys", "a key is 32 bytes, the x coordinate of its point")


def _check_start(config: RollupConfig) -> None:
    start = config.l1_start
    if not 0 <= start.height < 2**32 or len(start.hash) != HASH_BYTES:
        raise _refusal("l1_start", "the start block has a height below 2^32 and a hash of 32 bytes")
    if len(start.times) != min(MEDIAN_SPAN, start.height + 1) or any(
        not 0 <= each < 2**32 for each in start.times
    ):
        raise _refusal(
            "l1_times", "the start block comes with the times of the 11 blocks that end with it (or of all)"
        )
    if config.genesis.timestamp != start.origin.mtp:
        raise _refusal("genesis_time", "the first block's time is the median time past of the start block")


def _check_execution(execution: Execution) -> None:
    if len(execution.fee_recipient) != ADDRESS_BYTES:
        raise _refusal("fee_recipient", "the fee recipient is an address of 20 bytes")
    if not 0 <= execution.infer_opcode < 256:
        raise _refusal("infer_opcode", "an instruction is one byte; 0 switches it off")
    amounts = (execution.on_chain_macs, execution.neuron_macs)
    prices = execution.prices
    if any(not 0 < amount < 2**63 for amount in (*amounts, prices.base_gas, prices.mac_gas, prices.byte_gas)):
        raise _refusal("execution", "limits and prices of execution are positive and fit 63 bits")


def _check_prices(execution: Execution, parameters: Parameters) -> None:
    """Let the largest call of a model fit one transaction, else a lane would be wider than anyone can use."""
    prices = execution.prices
    macs = max(execution.on_chain_macs, execution.neuron_macs)
    largest = prices.base_gas + -(-macs * prices.mac_gas // 1_000) + RECORD_BYTES * prices.byte_gas
    if largest + CALLING_GAS > parameters.transaction_gas:
        raise _refusal(
            "prices", f"the largest model call, {largest} gas, and what calls it fit a transaction"
        )


def _check_no_gifts(genesis: GenesisSpec) -> None:
    """Native coin is bitcoin: outside regtest none may come from nowhere, nor may anyone count as staked."""
    if any(account.balance for account in genesis.accounts):
        raise _refusal("genesis_coin", "only regtest allocates native coin at genesis")
    if genesis.neurons:
        raise _refusal("genesis_neurons", "only regtest takes neurons as staked at genesis")


def _to_json(config: RollupConfig) -> dict[str, Json]:
    execution = config.execution
    start = config.l1_start
    return {
        "chain_id": config.chain_id,
        "execution": {
            "fee_recipient": _hex(execution.fee_recipient),
            "infer_opcode": execution.infer_opcode,
            "neuron_macs": execution.neuron_macs,
            "on_chain_macs": execution.on_chain_macs,
            "prices": _flat_to_json(execution.prices),
        },
        "genesis": genesis_to_json(config.genesis),
        "keys": {
            "batcher": _hex(config.keys.batcher),
            "governance": _hex(config.keys.governance),
            "sequencer": _hex(config.keys.sequencer),
        },
        "l1_network": config.l1_network,
        "l1_start": {"hash": display_hash(start.hash), "height": start.height, "times": list(start.times)},
        "limits": _flat_to_json(config.limits),
        "parameters": _flat_to_json(config.parameters),
        "version": CONFIG_VERSION,
    }


def _from_json(value: object) -> RollupConfig:
    _check_version(value)
    names = {"chain_id", "execution", "genesis", "keys", "l1_network", "l1_start", "limits", "parameters"}
    part = _object(value, {*names, "version"})
    network = part["l1_network"]
    if not isinstance(network, str):
        raise _malformed("l1_network is a word")
    keys = _object(part["keys"], {"batcher", "governance", "sequencer"})
    return RollupConfig(
        chain_id=_integer(part["chain_id"]),
        l1_network=network,
        l1_start=_start_from_json(part["l1_start"]),
        keys=Keys(
            batcher=XOnlyKey(_bytes(keys["batcher"], HASH_BYTES)),
            sequencer=XOnlyKey(_bytes(keys["sequencer"], HASH_BYTES)),
            governance=XOnlyKey(_bytes(keys["governance"], HASH_BYTES)),
        ),
        execution=_execution_from_json(part["execution"]),
        genesis=genesis_from_json(part["genesis"]),
        parameters=_flat_from_json(Parameters, part["parameters"]),
        limits=_flat_from_json(Limits, part["limits"]),
    )


def _require_shallow(text: str) -> None:
    """Refuse brackets without end before the parser counts them with its stack: that may be the process's last step.

    A configuration nests six deep, and its strings hold no brackets.
    """
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > _MOST_NESTED:
            raise _malformed(f"brackets nest more than {_MOST_NESTED} deep")


def _check_version(value: object) -> None:
    """Look at the version before anything else: a later one may have other keys."""
    version = _integer(value.get("version")) if isinstance(value, Mapping) else CONFIG_VERSION
    if version != CONFIG_VERSION:
        raise ConfigError(
            "config.version",
            "the rollup configuration is of a version that this release cannot read",
            fix="update bitai-node to a newer release"
            if version > CONFIG_VERSION
            else "start the chain anew",
            version=version,
            known=CONFIG_VERSION,
        )


def _start_from_json(value: object) -> L1Start:
    part = _object(value, {"hash", "height", "times"})
    times = part["times"]
    if not isinstance(times, list):
        raise _malformed("times is a list")
    try:
        start_hash = parse_display_hash(str(part["hash"]))
    except InvalidInput as error:
        raise _malformed(error.message) from error
    if display_hash(start_hash) != part["hash"]:
        raise _malformed("hashes are in lower case")
    return L1Start(_integer(part["height"]), L1Hash(start_hash), tuple(_integer(each) for each in times))


def _execution_from_json(value: object) -> Execution:
    part = _object(value, {each.name for each in fields(Execution)})
    return Execution(
        fee_recipient=Address(_bytes(part["fee_recipient"], ADDRESS_BYTES)),
        infer_opcode=_integer(part["infer_opcode"]),
        on_chain_macs=_integer(part["on_chain_macs"]),
        neuron_macs=_integer(part["neuron_macs"]),
        prices=_flat_from_json(InferPrices, part["prices"]),
    )


def _flat_to_json(value: Parameters | Limits | InferPrices) -> dict[str, Json]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _flat_from_json(kind: type[Flat], value: object) -> Flat:
    part = _object(value, {each.name for each in fields(kind)})
    return kind(**{name: _integer(number) for name, number in part.items()})


def _canonical(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _object(value: Any, keys: set[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or value.keys() != keys:
        raise _malformed(f"an object with exactly the keys {', '.join(sorted(keys))} is wanted")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _malformed(f"a whole number is wanted, not {str(value)[:40]}")
    return value


def _bytes(value: object, length: int) -> bytes:
    if isinstance(value, str) and len(value) == 2 + 2 * length and value.startswith("0x"):
        try:
            data = bytes.fromhex(value[2:])
        except ValueError:
            raise _malformed(f"{value[:80]} is not hex") from None
        if _hex(data) == value:
            return data
    raise _malformed(f"0x hex of {length} bytes in lower case is wanted, not {str(value)[:80]}")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _refuse_number(text: str) -> int:
    raise ValueError(f"{text} is no whole number")


def _malformed(message: str) -> ConfigError:
    return ConfigError("config.malformed", message, fix=_FIX)


def _refusal(reason: str, message: str) -> ConfigError:
    return ConfigError(f"config.{reason}", message, fix=_FIX)
