"""The methods that wallets and tools know from Ethereum."""

from __future__ import annotations

from typing import Any, Final

from bitai.rpc.openrpc.method import MethodSpec, Param, optional
from bitai.rpc.openrpc.schemas import (
    ADDRESS,
    BLOCK_ID,
    BOOLEAN,
    DATA,
    HASH,
    INTEGER,
    NULL,
    NUMBER,
    QUANTITY,
    STRING,
    Schema,
    array,
    mapping,
    nullable,
    record,
    ref,
)

_A: Final = "0x" + "01" * 20
_H: Final = "0x" + "ab" * 32
_CALL: Final = {"to": _A, "input": "0x"}
_STATE: Final = ("unknown block", "pruned", "limit")
_RUN: Final = ("unknown block", "pruned", "refused", "reverted", "slow", "limit")

_ADDRESS: Final = Param("address", ADDRESS)
_BLOCK: Final = Param("block", BLOCK_ID)
_AT: Final = optional("block", BLOCK_ID)
_BLOCK_HASH: Final = Param("block hash", HASH)
_NUMBER: Final = Param("block number or tag", BLOCK_ID)
_TRANSACTION: Final = Param("transaction hash", HASH)
_INDEX: Final = Param("index", QUANTITY)
_FULL: Final = optional("full transactions", BOOLEAN)
_CALL_PARAM: Final = Param("call", ref("Call"))
_OVERRIDES: Final = (
    optional("state overrides", nullable(ref("StateOverrides"))),
    optional("block overrides", nullable(ref("BlockOverrides"))),
)
_QUERY: Final = Param("query", ref("LogQuery"))
_RAW: Final = Param("transaction", DATA)
_KINDS: Final = ("state", "tx", "logs", "receipts", "blocks", "stateproofs")
_FILTER: Final = Param("filter", DATA)


def _spec(
    name: str,
    summary: str,
    params: tuple[Param, ...],
    result: Schema,
    *,
    errors: tuple[str, ...] = (),
    example: tuple[list[Any], Any],
) -> MethodSpec:
    return MethodSpec(name, summary, params, result, errors, example)


IDENTITY: Final = (
    _spec("eth_chainId", "Identifier of the chain", (), QUANTITY, example=([], "0xb17a1")),
    _spec("eth_protocolVersion", "Version of the Ethereum protocol", (), QUANTITY, example=([], "0x44")),
    _spec(
        "eth_syncing",
        "False, or how far the node is behind Bitcoin, in Bitcoin's blocks",
        (),
        {"anyOf": [{"const": False}, ref("SyncState")]},
        example=([], False),
    ),
    _spec("eth_accounts", "Accounts that the node signs for", (), array(ADDRESS), example=([], [])),
    _spec("net_version", "Identifier of the chain, decimal", (), STRING, example=([], "726945")),
    _spec("net_listening", "Whether the node takes calls", (), BOOLEAN, example=([], True)),
    _spec("net_peerCount", "Zero: nodes meet on Bitcoin", (), QUANTITY, example=([], "0x0")),
    _spec(
        "web3_clientVersion", "Name and version of the node", (), STRING, example=([], "bitai-node/v0.1.0")
    ),
    _spec("web3_sha3", "Keccak-256 of the data", (Param("data", DATA),), HASH, example=(["0x"], _H)),
    _spec(
        "rpc_modules",
        "Groups of methods with their versions",
        (),
        mapping(STRING),
        example=([], {"eth": "1.0"}),
    ),
    _spec(
        "rpc_discover",
        "This document",
        (),
        record(openrpc=STRING, info=record(), methods=array(record())),
        example=([], {"openrpc": "1.3.2", "info": {}, "methods": []}),
    ),
    _spec(
        "eth_config",
        "The rules in force (EIP-7910)",
        (),
        record(
            current=record(
                activationTime=INTEGER,
                blobSchedule=mapping(INTEGER),
                chainId=QUANTITY,
                forkId=DATA,
                precompiles=mapping(ADDRESS),
                systemContracts=mapping(ADDRESS),
            ),
            next=NULL,
            last=NULL,
        ),
        example=(
            [],
            {
                "current": {
                    "activationTime": 1,
                    "blobSchedule": {"target": 0, "max": 0, "baseFeeUpdateFraction": 1},
                    "chainId": "0xb17a1",
                    "forkId": "0x01020304",
                    "precompiles": {"INFER": "0x0000000000000000000000000000000000100000"},
                    "systemContracts": {},
                },
                "next": None,
                "last": None,
            },
        ),
    ),
    _spec(
        "eth_capabilities",
        "From which block on each kind of data is there",
        (),
        record(
            head=record(number=QUANTITY, hash=HASH),
            **dict.fromkeys(_KINDS, ref("DataRange")),
        ),
        errors=("refused",),
        example=(
            [],
            {"head": {"number": "0x1", "hash": _H}}
            | {kind: {"disabled": False, "oldestBlock": "0x0"} for kind in _KINDS},
        ),
    ),
)

FEES: Final = (
    _spec("eth_gasPrice", "A price that the next block takes, wei", (), QUANTITY, example=([], "0x3b9aca00")),
    _spec("eth_baseFee", "Base fee of the next block, wei", (), QUANTITY, example=([], "0x3b9aca00")),
    _spec("eth_maxPriorityFeePerGas", "Default tip, wei", (), QUANTITY, example=([], "0xf4240")),
    _spec("eth_blobBaseFee", "Constant: there are no blobs", (), QUANTITY, example=([], "0x1")),
    _spec(
        "eth_feeHistory",
        "Base fees, use of blocks and tips paid",
        (
            Param("blocks", {"anyOf": [QUANTITY, INTEGER]}),
            Param("newest block", BLOCK_ID),
            optional("percentiles", nullable(array(NUMBER))),
        ),
        ref("FeeHistory"),
        errors=("unknown block",),
        example=(
            ["0x1", "latest", []],
            {"oldestBlock": "0x5", "baseFeePerGas": ["0x7", "0x7"], "gasUsedRatio": [0.5]},
        ),
    ),
)

_COUNT: Final = nullable(QUANTITY)
_MAYBE_BLOCK: Final = nullable(ref("Block"))
_MAYBE_TRANSACTION: Final = nullable(ref("Transaction"))
_MAYBE_DATA: Final = nullable(DATA)

BLOCKS: Final = (
    _spec("eth_blockNumber", "Number of the unsafe head", (), QUANTITY, example=([], "0x5")),
    _spec(
        "eth_getBlockByNumber", "A block", (_NUMBER, _FULL), _MAYBE_BLOCK, example=(["0xffff", False], None)
    ),
    _spec("eth_getBlockByHash", "A block", (_BLOCK_HASH, _FULL), _MAYBE_BLOCK, example=([_H, False], None)),
    _spec(
        "eth_getBlockTransactionCountByNumber",
        "Transactions in a block",
        (_NUMBER,),
        _COUNT,
        example=(["latest"], "0x2"),
    ),
    _spec(
        "eth_getBlockTransactionCountByHash",
        "Transactions in a block",
        (_BLOCK_HASH,),
        _COUNT,
        example=([_H], None),
    ),
    _spec("eth_getUncleCountByBlockNumber", "Zero", (_NUMBER,), _COUNT, example=(["latest"], "0x0")),
    _spec("eth_getUncleCountByBlockHash", "Zero", (_BLOCK_HASH,), _COUNT, example=([_H], None)),
    _spec(
        "eth_getUncleByBlockNumberAndIndex",
        "Null",
        (_NUMBER, _INDEX),
        NULL,
        example=(["latest", "0x0"], None),
    ),
    _spec(
        "eth_getUncleByBlockHashAndIndex", "Null", (_BLOCK_HASH, _INDEX), NULL, example=([_H, "0x0"], None)
    ),
    _spec(
        "eth_getBlockReceipts",
        "Receipts of a block",
        (_BLOCK,),
        nullable(array(ref("Receipt"))),
        example=(["0xffff"], None),
    ),
)

TRANSACTIONS: Final = (
    _spec(
        "eth_getTransactionByHash",
        "A transaction, mined or waiting",
        (_TRANSACTION,),
        _MAYBE_TRANSACTION,
        example=([_H], None),
    ),
    _spec(
        "eth_getTransactionByBlockNumberAndIndex",
        "A transaction by its place",
        (_NUMBER, _INDEX),
        _MAYBE_TRANSACTION,
        example=(["latest", "0x63"], None),
    ),
    _spec(
        "eth_getTransactionByBlockHashAndIndex",
        "A transaction by its place",
        (_BLOCK_HASH, _INDEX),
        _MAYBE_TRANSACTION,
        example=([_H, "0x0"], None),
    ),
    _spec(
        "eth_getTransactionBySenderAndNonce",
        "A transaction, mined or waiting, by its sender's nonce",
        (_ADDRESS, Param("nonce", QUANTITY)),
        _MAYBE_TRANSACTION,
        errors=("pruned",),
        example=([_A, "0x0"], None),
    ),
    _spec(
        "eth_getRawTransactionByHash",
        "A transaction's bytes",
        (_TRANSACTION,),
        _MAYBE_DATA,
        example=([_H], None),
    ),
    _spec(
        "eth_getRawTransactionByBlockNumberAndIndex",
        "A transaction's bytes by its place",
        (_NUMBER, _INDEX),
        _MAYBE_DATA,
        example=(["latest", "0x63"], None),
    ),
    _spec(
        "eth_getRawTransactionByBlockHashAndIndex",
        "A transaction's bytes by its place",
        (_BLOCK_HASH, _INDEX),
        _MAYBE_DATA,
        example=([_H, "0x0"], None),
    ),
    _spec(
        "eth_getTransactionReceipt",
        "What a transaction came to; null until a block has it",
        (_TRANSACTION,),
        nullable(ref("Receipt")),
        example=([_H], None),
    ),
)

STATE: Final = (
    _spec(
        "eth_getBalance", "Wei of an account", (_ADDRESS, _AT), QUANTITY, errors=_STATE, example=([_A], "0x0")
    ),
    _spec("eth_getCode", "Code of an account", (_ADDRESS, _AT), DATA, errors=_STATE, example=([_A], "0x")),
    _spec(
        "eth_getStorageAt",
        "Value of a storage slot",
        (_ADDRESS, Param("slot", ref("Slot")), _AT),
        HASH,
        errors=_STATE,
        example=([_A, "0x0"], "0x" + "00" * 32),
    ),
    _spec(
        "eth_getStorageValues",
        "Values of storage slots of several accounts",
        (Param("slots by address", mapping(array(ref("Slot")))), _AT),
        mapping(array(HASH)),
        errors=_STATE,
        example=([{_A: ["0x0"]}], {_A: ["0x" + "00" * 32]}),
    ),
    _spec(
        "eth_getTransactionCount",
        "Next nonce of an account; at pending after what waits",
        (_ADDRESS, _AT),
        QUANTITY,
        errors=_STATE,
        example=([_A, "pending"], "0x0"),
    ),
    _spec(
        "eth_getProof",
        "Merkle proofs of an account and of storage slots",
        (_ADDRESS, Param("slots", array(ref("Slot"))), _AT),
        ref("AccountProof"),
        errors=_STATE,
        example=(
            [_A, []],
            {
                "address": _A,
                "accountProof": ["0x80"],
                "balance": "0x0",
                "codeHash": _H,
                "nonce": "0x0",
                "storageHash": _H,
                "storageProof": [],
            },
        ),
    ),
)

CALLS: Final = (
    _spec(
        "eth_call",
        "Run a message and keep nothing",
        (_CALL_PARAM, _AT, *_OVERRIDES),
        DATA,
        errors=_RUN,
        example=([_CALL], "0x"),
    ),
    _spec(
        "eth_estimateGas",
        "Least gas limit with which a message succeeds",
        (_CALL_PARAM, _AT, *_OVERRIDES),
        QUANTITY,
        errors=_RUN,
        example=([_CALL], "0x5208"),
    ),
    _spec(
        "eth_createAccessList",
        "Accounts and slots that a message touches",
        (_CALL_PARAM, _AT, _OVERRIDES[0]),
        record({"error": STRING}, accessList=ref("AccessList"), gasUsed=QUANTITY),
        errors=_RUN,
        example=([_CALL], {"accessList": [], "gasUsed": "0x5208"}),
    ),
    _spec(
        "eth_fillTransaction",
        "Complete a transaction for its sender to sign",
        (_CALL_PARAM,),
        record(raw=DATA, tx=ref("UnsignedTransaction")),
        errors=_RUN,
        example=(
            [_CALL],
            {
                "raw": "0x02c0",
                "tx": {
                    "type": "0x2",
                    "hash": _H,
                    "chainId": "0xb17a1",
                    "nonce": "0x0",
                    "to": _A,
                    "value": "0x0",
                    "input": "0x",
                    "gas": "0x5208",
                    "gasPrice": None,
                    "maxFeePerGas": "0x2",
                    "maxPriorityFeePerGas": "0x1",
                    "accessList": [],
                    "v": "0x0",
                    "r": "0x0",
                    "s": "0x0",
                    "yParity": "0x0",
                },
            },
        ),
    ),
    _spec(
        "eth_simulateV1",
        "Make blocks of calls, one upon the other, and keep nothing",
        (Param("simulation", ref("Simulation")), _AT),
        array(ref("SimulatedBlock")),
        errors=(*_RUN, "simulation"),
        example=([{"blockStateCalls": [{}]}], []),
    ),
)

SENDING: Final = (
    _spec(
        "eth_sendRawTransaction",
        "Take a signed transaction; answers once it waits in the pool",
        (_RAW,),
        HASH,
        errors=("refused", "slow", "limit"),
        example=(["0x02c0"], _H),
    ),
    _spec(
        "eth_sendRawTransactionSync",
        "Take a signed transaction and wait for its receipt (EIP-7966)",
        (_RAW, optional("milliseconds", {"anyOf": [INTEGER, QUANTITY]})),
        ref("Receipt"),
        errors=("refused", "slow", "limit", "not yet"),
        example=(
            ["0x02c0"],
            {
                "type": "0x2",
                "transactionHash": _H,
                "transactionIndex": "0x0",
                "blockHash": _H,
                "blockNumber": "0x1",
                "from": _A,
                "to": _A,
                "contractAddress": None,
                "status": "0x1",
                "gasUsed": "0x5208",
                "inferGasUsed": "0x0",
                "cumulativeGasUsed": "0x5208",
                "effectiveGasPrice": "0x1",
                "logsBloom": "0x" + "00" * 256,
                "logs": [],
            },
        ),
    ),
    _spec(
        "txpool_status",
        "How many transactions could run, and how many wait",
        (),
        record(pending=QUANTITY, queued=QUANTITY),
        example=([], {"pending": "0x0", "queued": "0x0"}),
    ),
    _spec(
        "txpool_content",
        "The pool, by sender and nonce",
        (),
        ref("Waiting"),
        example=([], {"pending": {}, "queued": {}}),
    ),
    _spec(
        "txpool_contentFrom",
        "One sender's part of the pool, by nonce",
        (_ADDRESS,),
        record(pending=mapping(ref("Transaction")), queued=mapping(ref("Transaction"))),
        example=([_A], {"pending": {}, "queued": {}}),
    ),
    _spec(
        "txpool_inspect",
        "The pool, each transaction in a line of text",
        (),
        record(pending=mapping(mapping(STRING)), queued=mapping(mapping(STRING))),
        example=([], {"pending": {}, "queued": {}}),
    ),
)

_CHANGES: Final = array({"anyOf": [HASH, ref("Log")]})

LOGS: Final = (
    _spec(
        "eth_getLogs",
        "Logs that a query wants",
        (_QUERY,),
        array(ref("Log")),
        errors=("refused", "limit"),
        example=([{"fromBlock": "0x0"}], []),
    ),
    _spec(
        "eth_newFilter",
        "Keep a filter of logs; returns its id",
        (_QUERY,),
        DATA,
        errors=("limit",),
        example=([{}], "0x0a"),
    ),
    _spec(
        "eth_newBlockFilter",
        "Keep a filter of blocks; returns its id",
        (),
        DATA,
        errors=("limit",),
        example=([], "0x0b"),
    ),
    _spec(
        "eth_newPendingTransactionFilter",
        "Keep a filter of waiting transactions; returns its id",
        (),
        DATA,
        errors=("limit",),
        example=([], "0x0c"),
    ),
    _spec(
        "eth_getFilterChanges",
        "What is new to a filter since the last time",
        (_FILTER,),
        _CHANGES,
        errors=("filter", "limit"),
        example=(["0x0a"], []),
    ),
    _spec(
        "eth_getFilterLogs",
        "Everything that a filter's range holds now",
        (_FILTER,),
        array(ref("Log")),
        errors=("filter", "limit"),
        example=(["0x0a"], []),
    ),
    _spec("eth_uninstallFilter", "End a filter", (_FILTER,), BOOLEAN, example=(["0x0a"], True)),
)

SOCKET: Final = (
    _spec(
        "eth_subscribe",
        "Be told over this WebSocket of newHeads, logs, newPendingTransactions or syncing; returns an id",
        (Param("kind", STRING), optional("query, or true for whole transactions", {})),
        DATA,
        errors=("limit",),
        example=(["newHeads"], "0x0d"),
    ),
    _spec(
        "eth_unsubscribe",
        "End a subscription",
        (Param("subscription", DATA),),
        BOOLEAN,
        example=(["0x0d"], True),
    ),
)
