"""The forms of values that methods take and give, as JSON Schema: the components of the OpenRPC document.

Objects are open: a member that is not listed may come with a later version. Source: ethereum/execution-apis, schemas.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Return a pointer to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(of: Schema) -> Schema:
    """Return an array of one form."""
    return {"type": "array", "items": of}


def nullable(of: Schema) -> Schema:
    """Return a form that may also be null."""
    return {"anyOf": [of, {"type": "null"}]}


def mapping(of: Schema) -> Schema:
    """Return an object whose members all have one form."""
    return {"type": "object", "additionalProperties": of}


def record(optional: dict[str, Schema] | None = None, **required: Schema) -> Schema:
    """Return an object with these members."""
    properties = required | (optional or {})
    return {"type": "object", "required": list(required), "properties": properties}


def _hex(pattern: str, title: str) -> Schema:
    return {"type": "string", "pattern": pattern, "title": title}


BOOLEAN: Final[Schema] = {"type": "boolean"}
INTEGER: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
STRING: Final[Schema] = {"type": "string"}
NULL: Final[Schema] = {"type": "null"}
QUANTITY: Final = ref("Quantity")
DATA: Final = ref("Data")
ADDRESS: Final = ref("Address")
HASH: Final = ref("Hash")
BLOCK_ID: Final = ref("BlockId")

_PLACE: Final = {
    "blockHash": nullable(HASH),
    "blockNumber": nullable(QUANTITY),
    "blockTimestamp": nullable(QUANTITY),
    "transactionIndex": nullable(QUANTITY),
}
_HEADER: Final = {
    "parentHash": HASH,
    "sha3Uncles": HASH,
    "miner": nullable(ADDRESS),
    "stateRoot": nullable(HASH),
    "transactionsRoot": nullable(HASH),
    "receiptsRoot": nullable(HASH),
    "difficulty": QUANTITY,
    "gasLimit": QUANTITY,
    "gasUsed": QUANTITY,
    "timestamp": QUANTITY,
    "extraData": DATA,
    "mixHash": nullable(HASH),
    "baseFeePerGas": QUANTITY,
    "withdrawalsRoot": nullable(HASH),
    "blobGasUsed": QUANTITY,
    "excessBlobGas": QUANTITY,
    "parentBeaconBlockRoot": nullable(HASH),
    "requestsHash": nullable(HASH),
}
_CALL_MEMBERS: Final = {
    "from": ADDRESS,
    "to": nullable(ADDRESS),
    "gas": QUANTITY,
    "gasPrice": QUANTITY,
    "maxFeePerGas": QUANTITY,
    "maxPriorityFeePerGas": QUANTITY,
    "value": QUANTITY,
    "input": DATA,
    "data": DATA,
    "nonce": QUANTITY,
    "chainId": QUANTITY,
    "type": QUANTITY,
    "accessList": ref("AccessList"),
    "authorizationList": array(ref("Authorization")),
}
_BLOCK_OVERRIDE: Final = {
    "number": QUANTITY,
    "time": QUANTITY,
    "gasLimit": QUANTITY,
    "feeRecipient": ADDRESS,
    "prevRandao": HASH,
    "baseFeePerGas": QUANTITY,
    "beaconRoot": HASH,
}
_ACCOUNT_OVERRIDE: Final = {
    "balance": QUANTITY,
    "nonce": QUANTITY,
    "code": DATA,
    "state": mapping(HASH),
    "stateDiff": mapping(HASH),
    "movePrecompileToAddress": ADDRESS,
}
_PAID: Final = {
    "maxFeePerGas": QUANTITY,
    "maxPriorityFeePerGas": QUANTITY,
    "accessList": ref("AccessList"),
    "authorizationList": array(ref("Authorization")),
    "chainId": QUANTITY,
    "yParity": QUANTITY,
    "sourceHash": HASH,
    "mint": QUANTITY,
    "isSystemTx": BOOLEAN,
}
_EXTRA_BLOCK: Final = {
    "hash": nullable(HASH),
    "logsBloom": nullable(ref("Bloom")),
    "nonce": nullable(_hex("^0x[0-9a-f]{16}$", "8 bytes")),
    "size": QUANTITY,
    "uncles": array(HASH),
    "withdrawals": array(record()),
}
_RECEIPT: Final = {
    "type": QUANTITY,
    "transactionHash": HASH,
    "transactionIndex": QUANTITY,
    "blockHash": HASH,
    "blockNumber": QUANTITY,
    "from": ADDRESS,
    "to": nullable(ADDRESS),
    "contractAddress": nullable(ADDRESS),
    "status": QUANTITY,
    "gasUsed": QUANTITY,
    "inferGasUsed": QUANTITY,
    "cumulativeGasUsed": QUANTITY,
    "effectiveGasPrice": QUANTITY,
    "logsBloom": ref("Bloom"),
    "logs": array(ref("Log")),
}
_TRANSACTION: Final = {
    "type": QUANTITY,
    "hash": HASH,
    "nonce": QUANTITY,
    "from": ADDRESS,
    "to": nullable(ADDRESS),
    "value": QUANTITY,
    "input": DATA,
    "gas": QUANTITY,
    "gasPrice": QUANTITY,
    "v": QUANTITY,
    "r": QUANTITY,
    "s": QUANTITY,
}
_SIMULATED_CALL: Final = {
    "returnData": DATA,
    "logs": array(ref("Log")),
    "gasUsed": QUANTITY,
    "maxUsedGas": QUANTITY,
    "status": QUANTITY,
}
_FAILURE: Final = record({"data": DATA}, code={"type": "integer"}, message=STRING)
_LOG: Final = {
    "address": ADDRESS,
    "topics": array(HASH),
    "data": DATA,
    "logIndex": QUANTITY,
    "removed": BOOLEAN,
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Quantity": _hex("^0x(0|[1-9a-f][0-9a-f]*)$", "an integer as hex without leading zeros"),
    "Data": _hex("^0x([0-9a-f]{2})*$", "bytes as hex"),
    "Address": _hex("^0x[0-9a-fA-F]{40}$", "20 bytes"),
    "Hash": _hex("^0x[0-9a-f]{64}$", "32 bytes"),
    "Slot": _hex("^0x[0-9a-fA-F]{1,64}$", "a storage slot: 32 bytes, or a shorter number"),
    "Bloom": _hex("^0x[0-9a-f]{512}$", "256 bytes"),
    "BlockTag": {"type": "string", "enum": ["latest", "pending", "safe", "finalized", "earliest"]},
    "BlockId": {
        "title": "a tag, a number, a hash, or an object with blockHash or blockNumber",
        "anyOf": [
            ref("BlockTag"),
            QUANTITY,
            HASH,
            record({"requireCanonical": BOOLEAN}, blockHash=HASH),
            record(blockNumber={"anyOf": [QUANTITY, ref("BlockTag")]}),
        ],
    },
    "AccessList": array(record({"storageKeys": array(HASH)}, address=ADDRESS)),
    "Authorization": record(
        chainId=QUANTITY, address=ADDRESS, nonce=QUANTITY, yParity=QUANTITY, r=QUANTITY, s=QUANTITY
    ),
    "Call": record(_CALL_MEMBERS),
    "StateOverrides": mapping(record(_ACCOUNT_OVERRIDE)),
    "BlockOverrides": record(_BLOCK_OVERRIDE),
    "LogQuery": record(
        {
            "fromBlock": BLOCK_ID,
            "toBlock": BLOCK_ID,
            "blockHash": HASH,
            "address": {"anyOf": [ADDRESS, array(ADDRESS)]},
            "topics": array(nullable({"anyOf": [HASH, array(nullable(HASH))]})),
        }
    ),
    "Log": record({"transactionHash": HASH}, **_LOG, **_PLACE),
    "Transaction": record(_PAID, **_TRANSACTION, **_PLACE),
    "UnsignedTransaction": record(
        _PAID | {"gasPrice": nullable(QUANTITY)},
        **{name: each for name, each in _TRANSACTION.items() if name not in {"from", "gasPrice"}},
    ),
    "Block": record(
        {"totalDifficulty": QUANTITY, **_EXTRA_BLOCK},
        number=nullable(QUANTITY),
        transactions=array({"anyOf": [HASH, ref("Transaction")]}),
        **_HEADER,
    ),
    "Receipt": record(
        {
            "depositNonce": QUANTITY,
            "depositReceiptVersion": QUANTITY,
            "l1Fee": QUANTITY,
            "l1GasUsed": QUANTITY,
            "l1GasPrice": QUANTITY,
            "l1FeeScalar": STRING,
        },
        **_RECEIPT,
    ),
    "Simulation": record(
        {"validation": BOOLEAN, "traceTransfers": BOOLEAN, "returnFullTransactions": BOOLEAN},
        blockStateCalls=array(
            record(
                {
                    "blockOverrides": ref("BlockOverrides"),
                    "stateOverrides": ref("StateOverrides"),
                    "calls": array(ref("Call")),
                }
            )
        ),
    ),
    "SimulatedBlock": {
        "allOf": [
            ref("Block"),
            record(calls=array(record({"error": _FAILURE, "inferGasUsed": QUANTITY}, **_SIMULATED_CALL))),
        ]
    },
    "StorageProof": record(key=ref("Slot"), value=QUANTITY, proof=array(DATA)),
    "AccountProof": record(
        address=ADDRESS,
        accountProof=array(DATA),
        balance=QUANTITY,
        codeHash=HASH,
        nonce=QUANTITY,
        storageHash=HASH,
        storageProof=array(ref("StorageProof")),
    ),
    "FeeHistory": record(
        {
            "reward": array(array(QUANTITY)),
            "baseFeePerBlobGas": array(QUANTITY),
            "blobGasUsedRatio": array(NUMBER),
        },
        oldestBlock=QUANTITY,
        baseFeePerGas=array(QUANTITY),
        gasUsedRatio=array(NUMBER),
    ),
    "Waiting": record(
        pending=mapping(mapping(ref("Transaction"))), queued=mapping(mapping(ref("Transaction")))
    ),
    "DataRange": record(disabled=BOOLEAN, oldestBlock=QUANTITY),
    "SyncState": record(startingBlock=QUANTITY, currentBlock=QUANTITY, highestBlock=QUANTITY),
}
