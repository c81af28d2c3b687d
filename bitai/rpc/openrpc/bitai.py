"""The methods of our own: the chain on Bitcoin, and models."""

from __future__ import annotations

from typing import Final

from bitai.rpc.openrpc.method import MethodSpec, Param
from bitai.rpc.openrpc.schemas import (
    BLOCK_ID,
    BOOLEAN,
    DATA,
    HASH,
    INTEGER,
    QUANTITY,
    STRING,
    array,
    nullable,
    record,
    ref,
)

_H: Final = "0x" + "ab" * 32
_BLOCK: Final = Param("block, or transaction hash", BLOCK_ID)
_INSCRIPTION: Final = record(commitTxid=nullable(STRING), revealTxid=nullable(STRING))

OWN: Final = (
    MethodSpec(
        "bitai_status",
        "Heads, Bitcoin's tip, batcher, neurons, children: what the status page shows",
        (),
        record(
            {
                "l1": record(),
                "heads": record(),
                "models": array(record()),
                "neurons": array(record()),
                "data_fee": nullable(record()),
            },
            lag=INTEGER,
        ),
        (),
        ([], {"lag": 0}),
    ),
    MethodSpec(
        "bitai_getL1Anchor",
        "Where a block stands on Bitcoin: its origin, and the block that made it safe",
        (_BLOCK,),
        nullable(
            record(
                {
                    "hash": HASH,
                    "originHeight": INTEGER,
                    "originHash": STRING,
                    "safeAtHeight": nullable(INTEGER),
                    "finalized": BOOLEAN,
                    "inscriptions": array(_INSCRIPTION),
                },
                number=QUANTITY,
            )
        ),
        (),
        (["0xffff"], None),
    ),
    MethodSpec(
        "bitai_getBatch",
        "The batch on Bitcoin that holds a block; null until it is safe, and for one made without data",
        (_BLOCK,),
        nullable(
            record(
                {
                    "lastBlock": QUANTITY,
                    "l1Height": INTEGER,
                    "l1Hash": STRING,
                    "frames": array(record(l1Height=INTEGER, l1Hash=STRING, txIndex=INTEGER, frame=INTEGER)),
                    "inscriptions": array(_INSCRIPTION),
                },
                channel=QUANTITY,
                firstBlock=QUANTITY,
            )
        ),
        (),
        (["latest"], None),
    ),
    MethodSpec(
        "bitai_getInference",
        "The records of a transaction's neuron calls",
        (Param("transaction hash", HASH),),
        nullable(
            array(
                record(
                    {
                        "status": INTEGER,
                        "output": DATA,
                        "neuron": ref("Address"),
                        "signature": DATA,
                        "askHeight": INTEGER,
                    },
                    transactionIndex=QUANTITY,
                    requestHash=HASH,
                )
            )
        ),
        (),
        ([_H], None),
    ),
    MethodSpec(
        "bitai_getModels",
        "The registered models at the head",
        (),
        array(record(modelId=HASH, name=STRING, tier=STRING, macs=INTEGER, active=BOOLEAN, neurons=INTEGER)),
        ("unknown block",),
        ([], []),
    ),
    MethodSpec(
        "bitai_getOutcomes",
        "What derivation accepted, dropped or voided in a Bitcoin block",
        (Param("L1 height", QUANTITY),),
        nullable(
            array(record(height=INTEGER, hash=STRING, envelopes=array(record()), channels=array(record())))
        ),
        (),
        (["0x64"], None),
    ),
)
