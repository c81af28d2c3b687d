"""The methods that run the chain again: debug_*, trace_*, and Otterscan's."""

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
    QUANTITY,
    STRING,
    array,
    nullable,
    record,
    ref,
)

_H: Final = "0x" + "ab" * 32
_A: Final = "0x" + "ab" * 20
_RUN: Final = ("unknown block", "pruned", "refused", "limit")
_HASH: Final = Param("transaction hash", HASH)
_BLOCK: Final = Param("block", BLOCK_ID)
_AT: Final = optional("block", BLOCK_ID)
_CALL: Final = Param("call", ref("Call"))
_BLOCK_NUMBER: Final = Param("block", {"anyOf": [BLOCK_ID, INTEGER]})
_COUNT: Final = {"anyOf": [INTEGER, QUANTITY]}

_INFER: Final = record(
    {"macs": QUANTITY},
    model=HASH,
    tier=nullable({"enum": ["on-chain", "neuron"]}),
    gas=QUANTITY,
    status=STRING,
)
_OPTIONS: Final = record(
    {
        "tracer": nullable(STRING),
        "tracerConfig": nullable(record()),
        "timeout": STRING,
        "enableMemory": BOOLEAN,
        "disableStack": BOOLEAN,
        "disableStorage": BOOLEAN,
        "enableReturnData": BOOLEAN,
        "limit": INTEGER,
    }
)
_CALL_OPTIONS: Final = {
    "allOf": [
        _OPTIONS,
        record(
            {
                "stateOverrides": nullable(ref("StateOverrides")),
                "blockOverrides": nullable(ref("BlockOverrides")),
                "txIndex": QUANTITY,
            }
        ),
    ]
}
_GETH_TRACE: Final = {
    "title": "struct logs without a tracer, else what the tracer makes",
    "type": ["object", "array"],
    "properties": {
        "gas": {"type": ["integer", "string"]},
        "failed": BOOLEAN,
        "returnValue": DATA,
        "structLogs": array(record({"op": STRING}, pc=INTEGER, gas=INTEGER, gasCost=INTEGER, depth=INTEGER)),
        "infer": _INFER,
    },
}
_OF_TRANSACTION: Final = record(txHash=HASH, result=_GETH_TRACE)
_FLAT_MEMBERS: Final = {
    "action": record(),
    "subtraces": INTEGER,
    "traceAddress": array(INTEGER),
    "type": {"enum": ["call", "create", "suicide", "reward"]},
}
_FLAT_MORE: Final = {"result": nullable(record()), "error": STRING, "infer": _INFER}
_FLAT: Final = record(_FLAT_MORE, **_FLAT_MEMBERS)
_PLACED: Final = record(
    _FLAT_MORE,
    **_FLAT_MEMBERS,
    blockHash=HASH,
    blockNumber=INTEGER,
    transactionHash=HASH,
    transactionPosition=INTEGER,
)
_RESULTS: Final = record(
    {"transactionHash": HASH, "vmTrace": nullable(record()), "stateDiff": nullable(record())},
    output=DATA,
    trace=array(_FLAT),
)
_TYPES: Final = Param("types", array({"enum": ["trace", "vmTrace", "stateDiff"]}))
_FILTER: Final = record(
    {
        "fromBlock": BLOCK_ID,
        "toBlock": BLOCK_ID,
        "fromAddress": nullable(array(ADDRESS)),
        "toAddress": nullable(array(ADDRESS)),
        "after": nullable(INTEGER),
        "count": nullable(INTEGER),
    }
)
_SLIM: Final = record(hash=HASH, number=QUANTITY, transactionCount=INTEGER, logsBloom=NULL)
_FOUND: Final = record(
    txs=array(ref("Transaction")), receipts=array(record()), firstPage=BOOLEAN, lastPage=BOOLEAN
)


def _spec(name: str, summary: str, params: tuple[Param, ...], *answer: Any) -> MethodSpec:
    """Describe a method; `answer` is the result's form, and an example."""
    result, example = answer
    return MethodSpec(name, summary, params, result, _RUN, example)


_EMPTY: Final = {"gas": 21000, "failed": False, "returnValue": "0x", "structLogs": []}
_OPTION: Final = optional("options", nullable(_OPTIONS))

TRACES: Final = (
    _spec("debug_traceTransaction", "What a transaction did", (_HASH, _OPTION), _GETH_TRACE, ([_H], _EMPTY)),
    *(
        _spec(f"debug_traceBlockBy{by}", "What a block's transactions did", (_BLOCK, _OPTION),
              array(_OF_TRANSACTION), (["latest"], []))
        for by in ("Number", "Hash")
    ),
    _spec("debug_traceCall", "What a message does", (_CALL, _AT, optional("options", nullable(_CALL_OPTIONS))),
          _GETH_TRACE, ([{"to": _A}], _EMPTY)),
    _spec("debug_getRawHeader", "RLP of a header", (_BLOCK,), DATA, (["latest"], "0xc0")),
    _spec("debug_getRawBlock", "RLP of a block", (_BLOCK,), DATA, (["latest"], "0xc0")),
    _spec("debug_getRawReceipts", "Encoded receipts of a block", (_BLOCK,), array(DATA), (["latest"], [])),
    _spec("debug_getRawTransaction", "Encoded transaction, nothing if no block has it", (_HASH,), DATA,
          ([_H], "0x")),
    _spec("trace_transaction", "Calls of a transaction as a list", (_HASH,), nullable(array(_PLACED)), ([_H], None)),
    _spec("trace_block", "Calls of a block as a list", (_BLOCK,), nullable(array(_PLACED)), (["0x0"], [])),
    _spec("trace_replayTransaction", "What a transaction did, by types", (_HASH, _TYPES), _RESULTS,
          ([_H, ["trace"]], {"output": "0x", "trace": [], "vmTrace": None, "stateDiff": None})),
    _spec("trace_replayBlockTransactions", "The same for a block", (_BLOCK, _TYPES), array(_RESULTS),
          (["0x0", ["trace"]], [])),
    _spec("trace_call", "The same for a message", (_CALL, _TYPES, _AT), _RESULTS,
          ([{"to": _A}, ["trace"]], {"output": "0x", "trace": [], "vmTrace": None, "stateDiff": None})),
    _spec("trace_filter", "Calls between addresses in a range of blocks", (Param("filter", _FILTER),),
          array(_PLACED), ([{"fromBlock": "0x1", "toBlock": "0x2"}], [])),
)  # fmt: skip

_OPERATION: Final = record(type=INTEGER, value=QUANTITY, **{"from": ADDRESS, "to": ADDRESS})
_ENTRY: Final = record(
    type=STRING,
    depth=INTEGER,
    value=nullable(QUANTITY),
    input=DATA,
    output=DATA,
    **{"from": ADDRESS, "to": nullable(ADDRESS)},
)
_ADDRESS: Final = Param("address", ADDRESS)
_SEARCH: Final = (_ADDRESS, Param("block, 0 for the end", _COUNT), Param("size", _COUNT))
_NOTHING: Final = {"txs": [], "receipts": [], "firstPage": True, "lastPage": True}

OTTERSCAN: Final = (
    _spec("ots_getApiLevel", "Level of Otterscan's methods", (), INTEGER, ([], 8)),
    _spec("ots_hasCode", "Whether an account has code", (_ADDRESS, _AT), BOOLEAN, ([_A], False)),
    _spec("ots_getInternalOperations", "Transfers, creations and self-destructs inside a transaction", (_HASH,),
          array(_OPERATION), ([_H], [])),
    _spec("ots_getTransactionError", "What a transaction reverted with", (_HASH,), DATA, ([_H], "0x")),
    _spec("ots_traceTransaction", "Calls of a transaction in the order in which they began", (_HASH,),
          array(_ENTRY), ([_H], [])),
    *(
        _spec(f"ots_getBlockDetails{by}", "A block without its transactions, and their fees", (_BLOCK_NUMBER,),
              nullable(record(block=_SLIM, issuance=record(), totalFees=QUANTITY)), (["0xffff"], None))
        for by in ("", "ByHash")
    ),
    _spec("ots_getBlockTransactions", "A page of a block's transactions, counted from its end",
          (_BLOCK_NUMBER, Param("page", _COUNT), Param("size", _COUNT)),
          nullable(record(fullblock=record(transactions=array(ref("Transaction"))), receipts=array(record()))),
          (["0xffff", 0, 25], None)),
    _spec("ots_searchTransactionsBefore", "An address's transactions before a block, newest first", _SEARCH, _FOUND,
          ([_A, 0, 25], _NOTHING)),
    _spec("ots_searchTransactionsAfter", "An address's transactions after a block, newest first", _SEARCH, _FOUND,
          ([_A, 0, 25], _NOTHING)),
    _spec("ots_getTransactionBySenderAndNonce", "Hash of a sender's transaction", (_ADDRESS, Param("nonce", _COUNT)),
          nullable(HASH), ([_A, 0], None)),
    _spec("ots_getContractCreator", "Who made a contract, and in which transaction", (_ADDRESS,),
          nullable(record(hash=HASH, creator=ADDRESS)), ([_A], None)),
    _spec("erigon_getHeaderByNumber", "A header", (_BLOCK,), nullable(record(hash=HASH, number=QUANTITY)),
          (["0xffff"], None)),
)  # fmt: skip
