"""The transition tool: a state, an environment and transactions in, the state after the block out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bitai.evm.blocks import (
    BlockInput,
    BlockOutput,
    Chain,
    Ommer,
    Signed,
    TraceTo,
    Withdrawal,
    next_base_fee,
    next_excess_blob_gas,
    process,
    requests_hash,
)
from bitai.evm.forks import Fork
from bitai.evm.json_transactions import fields_of
from bitai.evm.refusals import Refusal, Refused
from bitai.evm.transactions import LEGACY, Fields, decode, encode, sender_of, sign
from bitai.evm.values import address, as_hex, blob, field, mapping, number, sequence, word
from bitai.evm.world import BlockFields, World, alloc_of, logs_hash
from primitives import rlp
from primitives.errors import InvalidInput
from vm import _core

_MAX_TXS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a transition starts from: the three JSON values, and the rules."""

    alloc: object
    env: object
    txs: object
    fork: Fork
    chain_id: int = 1
    reward_wei: int | None = None
    state_test: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """What comes out."""

    result: dict[str, Any]
    alloc: dict[str, Any]
    body: str


def transition(request: Request, traces: TraceTo | None = None) -> Transition:
    """Run one block; raises InvalidInput `evm.*` for input that is none."""
    env = mapping(request.env, "env")
    fork = request.fork
    fields = _block_fields(env, fork)
    hashes = _block_hashes(env)
    signed = _transactions(request.txs, request)
    content = BlockInput(
        transactions=signed,
        withdrawals=_withdrawals(env) if fork.since("Shanghai") and not request.state_test else (),
        ommers=_ommers(env),
        parent_hash=hashes.get(fields.number - 1),
        beacon_root=_beacon_root(env, fork, request),
        reward_wei=request.reward_wei,
        only_transactions=request.state_test,
    )
    world = World(alloc_of(request.alloc))
    chain = Chain(fork=fork, chain_id=request.chain_id, block_hash=hashes.get)
    output = process(world, chain, fields, content, traces=traces)
    output.block.commit(output.sealed)
    accounts = {as_hex(name): account.to_json() for name, account in world.alloc().items()}
    included = [one for index, one in enumerate(signed) if index in set(output.included)]
    return Transition(_result(output, fields, content, fork), accounts, _body(included))


def _block_fields(env: Mapping[str, Any], fork: Fork) -> BlockFields:
    randao = env.get("currentRandom")
    is_merged = fork.since("Paris")
    return BlockFields(
        number=number(field(env, "currentNumber", "env")),
        timestamp=number(field(env, "currentTimestamp", "env")),
        coinbase=address(field(env, "currentCoinbase", "env")),
        gas_limit=number(field(env, "currentGasLimit", "env")),
        base_fee=_base_fee(env) if fork.since("London") else 0,
        difficulty=0 if is_merged else number(field(env, "currentDifficulty", "env")),
        prev_randao=word(field(env, "currentRandom", "env")) if is_merged or randao else bytes(32),
        excess_blob_gas=_excess_blob_gas(env, fork) if fork.since("Cancun") else 0,
    )


def _base_fee(env: Mapping[str, Any]) -> int:
    if env.get("currentBaseFee") is not None:
        return number(env["currentBaseFee"])
    names = ("parentGasLimit", "parentGasUsed", "parentBaseFee")
    return next_base_fee(*(number(field(env, name, "env without currentBaseFee")) for name in names))


def _excess_blob_gas(env: Mapping[str, Any], fork: Fork) -> int:
    if env.get("currentExcessBlobGas") is not None:
        return number(env["currentExcessBlobGas"])
    names = ("parentExcessBlobGas", "parentBlobGasUsed", "parentBaseFee")
    return next_excess_blob_gas(fork, *(number(env.get(name) or 0) for name in names))


def _block_hashes(env: Mapping[str, Any]) -> dict[int, bytes]:
    hashes = mapping(env.get("blockHashes") or {}, "blockHashes")
    return {number(height): word(value) for height, value in hashes.items()}


def _beacon_root(env: Mapping[str, Any], fork: Fork, request: Request) -> bytes | None:
    if not fork.since("Cancun") or request.state_test:
        return None
    return word(field(env, "parentBeaconBlockRoot", "env"))


def _withdrawals(env: Mapping[str, Any]) -> list[Withdrawal]:
    entries = [mapping(one, "a withdrawal") for one in sequence(env.get("withdrawals") or [], "withdrawals")]
    return [
        Withdrawal(
            number(field(one, "index", "a withdrawal")),
            number(field(one, "validatorIndex", "a withdrawal")),
            address(field(one, "address", "a withdrawal")),
            number(field(one, "amount", "a withdrawal")),
        )
        for one in entries
    ]


def _ommers(env: Mapping[str, Any]) -> list[Ommer]:
    entries = [mapping(one, "an ommer") for one in sequence(env.get("ommers") or [], "ommers")]
    return [
        Ommer(number(field(one, "delta", "an ommer")), address(field(one, "address", "an ommer")))
        for one in entries
    ]


def _transactions(content: object, request: Request) -> list[Signed | Refusal]:
    """Return the transactions of a JSON array, or of a hex text that is the RLP of a block's list."""
    read: Callable[[Any], Signed]
    if isinstance(content, str):
        items: list[Any] = _rlp_items(content)
        read = _from_rlp
    else:
        items = sequence([] if content is None else content, "txs")
        read = lambda one: _from_json(mapping(one, "a transaction"), request)  # noqa: E731 - one of two readers
    if len(items) > _MAX_TXS:
        raise InvalidInput("evm.too_large", "too many transactions", limit=_MAX_TXS)
    return [_read_or_refuse(read, item) for item in items]


def _rlp_items(content: str) -> list[Any]:
    raw = blob(content)
    items = rlp.decode(raw) if raw else []
    if not isinstance(items, list):
        raise InvalidInput("evm.bad_shape", "txs are no RLP list")
    return items


def _read_or_refuse(read: Callable[[Any], Signed], item: Any) -> Signed | Refusal:
    try:
        return read(item)
    except Refused as refused:
        return refused.refusal


def _from_rlp(item: rlp.Item) -> Signed:
    raw = item if isinstance(item, bytes) else rlp.encode(item)
    fields = decode(raw)
    return Signed(fields, sender_of(fields), raw)


def _from_json(content: Mapping[str, Any], request: Request) -> Signed:
    fields = fields_of(content, request.chain_id)
    is_signed = bool(fields.v or fields.r or fields.s)
    if fields.type == LEGACY:
        fields = _with_chain(fields, content, request, is_signed=is_signed)
    if not is_signed and content.get("secretKey") is not None:
        # What cannot be encoded cannot be signed either: checked first.
        fields = sign(fields.require_possible(), word(content["secretKey"]))
    return Signed(fields, sender_of(fields), encode(fields))


def _with_chain(fields: Fields, content: Mapping[str, Any], request: Request, *, is_signed: bool) -> Fields:
    """Return a legacy transaction with the chain that its signature names, or is to name."""
    if is_signed:
        return replace(fields, chain_id=(fields.v - 35) // 2 if fields.v >= 35 else None)
    is_protected = content.get("protected", True) and request.fork.since("SpuriousDragon")
    return fields if is_protected else replace(fields, chain_id=None)


def _body(included: list[Signed | Refusal]) -> str:
    raws = [one.raw for one in included if isinstance(one, Signed)]
    return as_hex(rlp.encode([raw if raw[0] < 0x80 else rlp.decode(raw) for raw in raws]))


def _result(output: BlockOutput, fields: BlockFields, content: BlockInput, fork: Fork) -> dict[str, Any]:
    sealed, header = output.sealed, output.sealed.header
    result: dict[str, Any] = {
        "stateRoot": as_hex(sealed.state_root),
        "txRoot": as_hex(header.transactions_root),
        "receiptsRoot": as_hex(header.receipts_root),
        "logsHash": as_hex(logs_hash(sealed.receipts)),
        "logsBloom": as_hex(header.logs_bloom),
        "receipts": [_receipt(receipt, at) for at, receipt in enumerate(sealed.receipts)],
        "rejected": [{"index": index, "error": str(refusal)} for index, refusal in output.rejected],
        "currentDifficulty": None if fork.since("Paris") else hex(fields.difficulty),
        "gasUsed": hex(sealed.gas_used),
    }
    if fork.since("London"):
        result["currentBaseFee"] = hex(fields.base_fee)
    if fork.since("Shanghai"):
        result["withdrawalsRoot"] = as_hex(_core.ordered_root([one.encoded() for one in content.withdrawals]))
    if fork.since("Cancun"):
        result["currentExcessBlobGas"] = hex(fields.excess_blob_gas)
        result["blobGasUsed"] = hex(output.blob_gas_used)
    if fork.since("Prague"):
        result["requestsHash"] = as_hex(requests_hash(output.requests))
        result["requests"] = [as_hex(request) for request in output.requests]
    if output.exception:
        result["blockException"] = output.exception
    return result


def _receipt(receipt: _core.Receipt, index: int) -> dict[str, Any]:
    created = receipt.contract_address
    logs = [
        {
            "address": as_hex(log.address),
            "topics": [as_hex(topic) for topic in log.topics],
            "data": as_hex(log.data),
        }
        for log in receipt.logs
    ]
    return {
        "type": hex(receipt.type),
        "root": "0x",
        "status": hex(receipt.status),
        "cumulativeGasUsed": hex(receipt.cumulative_gas_used),
        "logsBloom": as_hex(receipt.logs_bloom),
        "logs": logs,
        "transactionHash": as_hex(receipt.transaction_hash),
        "contractAddress": as_hex(created if created is not None else bytes(20)),
        "gasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(receipt.effective_gas_price),
        "transactionIndex": hex(index),
    }
