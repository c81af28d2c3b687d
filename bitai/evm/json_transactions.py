"""Transactions as JSON writes them: in state tests with arrays to choose from, in t8n one by one."""

from collections.abc import Mapping
from typing import Any

from bitai.evm.transactions import (
    ACCESS_LIST,
    BLOB,
    DYNAMIC_FEE,
    LEGACY,
    SET_CODE,
    AccessList,
    Authorization,
    Fields,
)
from bitai.evm.values import address, blob, field, mapping, number, optional_address, sequence, word
from primitives.errors import InvalidInput


def state_test_fields(content: Mapping[str, Any], indexes: Mapping[str, Any], chain_id: int) -> Fields:
    """Return the transaction that `indexes` choose from a state test's arrays."""
    at_data = _index(indexes, "data")
    lists = content.get("accessLists")
    chosen = _chosen(lists, at_data, "accessLists") if lists is not None else content.get("accessList")
    one = {
        **content,
        "input": _chosen(field(content, "data", "a transaction"), at_data, "data"),
        "gas": _chosen(field(content, "gasLimit", "a transaction"), _index(indexes, "gas"), "gasLimit"),
        "value": _chosen(field(content, "value", "a transaction"), _index(indexes, "value"), "value"),
        "accessList": chosen,
    }
    return fields_of(one, chain_id)


def fields_of(content: Mapping[str, Any], chain_id: int) -> Fields:
    """Return a transaction from its JSON object; its type follows from the fields it has, unless it says it."""
    kind = number(content["type"]) if content.get("type") is not None else _type_of(content)
    if not LEGACY <= kind <= SET_CODE:
        raise InvalidInput("evm.bad_transaction", f"there is no transaction of type {kind}")
    price = content.get("gasPrice", 0) if kind < DYNAMIC_FEE else content.get("maxFeePerGas", 0)
    own = content.get("chainId")
    return Fields(
        type=kind,
        chain_id=chain_id if own is None else number(own),
        nonce=number(content.get("nonce", 0)),
        max_fee=number(price),
        priority_fee=number(content.get("maxPriorityFeePerGas", 0)) if kind >= DYNAMIC_FEE else 0,
        gas_limit=number(content.get("gas", content.get("gasLimit", 0))),
        to=optional_address(content.get("to")),
        value=number(content.get("value", 0)),
        data=blob(content.get("input", content.get("data", ""))),
        access_list=_access_list(content.get("accessList")),
        max_blob_fee=number(content.get("maxFeePerBlobGas", 0)) if kind == BLOB else 0,
        blob_hashes=_blob_hashes(content.get("blobVersionedHashes")) if kind == BLOB else (),
        authorizations=_authorizations(content.get("authorizationList")) if kind == SET_CODE else (),
        v=_signature_part(content, "v", "yParity", "y_parity"),
        r=_signature_part(content, "r"),
        s=_signature_part(content, "s"),
    )


def _type_of(content: Mapping[str, Any]) -> int:
    if content.get("authorizationList") is not None:
        return SET_CODE
    if content.get("maxFeePerBlobGas") is not None or content.get("blobVersionedHashes") is not None:
        return BLOB
    if content.get("maxFeePerGas") is not None:
        return DYNAMIC_FEE
    return ACCESS_LIST if content.get("accessList") is not None else LEGACY


def _index(indexes: Mapping[str, Any], name: str) -> int:
    value = field(indexes, name, "indexes")
    if not isinstance(value, int) or value < 0:
        raise InvalidInput("evm.bad_index", f"index '{name}' is no index", value=value)
    return value


def _chosen(values: object, at: int, what: str) -> Any:
    items = sequence(values, what)
    if at >= len(items):
        raise InvalidInput("evm.bad_index", f"{what} has no item {at}", length=len(items))
    return items[at]


def _access_list(content: object) -> AccessList:
    entries = [mapping(entry, "an access") for entry in sequence(content or [], "an access list")]
    return tuple(
        (
            address(field(entry, "address", "an access")),
            tuple(word(slot) for slot in sequence(entry.get("storageKeys") or [], "storage keys")),
        )
        for entry in entries
    )


def _blob_hashes(content: object) -> tuple[bytes, ...]:
    return tuple(word(entry) for entry in sequence(content or [], "blob hashes"))


def _authorizations(content: object) -> tuple[Authorization, ...]:
    entries = [mapping(entry, "an authorization") for entry in sequence(content or [], "authorizations")]
    return tuple(
        Authorization(
            number(field(entry, "chainId", "an authorization")),
            address(field(entry, "address", "an authorization")),
            number(field(entry, "nonce", "an authorization")),
            _signature_part(entry, "yParity", "v"),
            _signature_part(entry, "r"),
            _signature_part(entry, "s"),
        )
        for entry in entries
    )


def _signature_part(content: Mapping[str, Any], *names: str) -> int:
    for name in names:
        if content.get(name) is not None:
            return number(content[name])
    return 0
