"""Which members Ethereum's JSON-RPC objects must have, and in what form. Source: ethereum/execution-apis, schemas."""

import re

ADDRESS = re.compile(r"0x[0-9a-f]{40}\Z")
HASH = re.compile(r"0x[0-9a-f]{64}\Z")
BYTES = re.compile(r"0x([0-9a-f]{2})*\Z")
UINT = re.compile(r"0x([1-9a-f][0-9a-f]*|0)\Z")
BLOOM = re.compile(r"0x[0-9a-f]{512}\Z")
NONCE = re.compile(r"0x[0-9a-f]{16}\Z")

BLOCK = {
    "hash": HASH,
    "parentHash": HASH,
    "sha3Uncles": HASH,
    "miner": ADDRESS,
    "stateRoot": HASH,
    "transactionsRoot": HASH,
    "receiptsRoot": HASH,
    "logsBloom": BLOOM,
    "difficulty": UINT,
    "number": UINT,
    "gasLimit": UINT,
    "gasUsed": UINT,
    "timestamp": UINT,
    "extraData": BYTES,
    "mixHash": HASH,
    "nonce": NONCE,
    "size": UINT,
    "baseFeePerGas": UINT,
    "withdrawalsRoot": HASH,
    "blobGasUsed": UINT,
    "excessBlobGas": UINT,
    "parentBeaconBlockRoot": HASH,
    "requestsHash": HASH,
}
PLACE = {"blockHash": HASH, "blockNumber": UINT, "transactionIndex": UINT, "blockTimestamp": UINT}
TRANSACTION = {
    "hash": HASH,
    "from": ADDRESS,
    "nonce": UINT,
    "gas": UINT,
    "gasPrice": UINT,
    "value": UINT,
    "input": BYTES,
    "v": UINT,
    "r": UINT,
    "s": UINT,
}
BY_TYPE = {
    "0x0": {"chainId": UINT},
    "0x1": {"chainId": UINT, "yParity": UINT},
    "0x2": {"chainId": UINT, "yParity": UINT, "maxFeePerGas": UINT, "maxPriorityFeePerGas": UINT},
    "0x4": {"chainId": UINT, "yParity": UINT, "maxFeePerGas": UINT, "maxPriorityFeePerGas": UINT},
    "0x7e": {"sourceHash": HASH, "mint": UINT},
}
AUTHORIZATION = {"chainId": UINT, "nonce": UINT, "address": ADDRESS, "yParity": UINT, "r": UINT, "s": UINT}
RECEIPT = {
    "type": UINT,
    "transactionHash": HASH,
    "transactionIndex": UINT,
    "blockHash": HASH,
    "blockNumber": UINT,
    "from": ADDRESS,
    "cumulativeGasUsed": UINT,
    "gasUsed": UINT,
    "logsBloom": BLOOM,
    "status": re.compile(r"0x[01]\Z"),
    "effectiveGasPrice": UINT,
}
LOG = PLACE | {"address": ADDRESS, "data": BYTES, "transactionHash": HASH, "logIndex": UINT}


def check(shown, members):
    """Hold an object to the form of its members."""
    for name, form in members.items():
        assert isinstance(shown.get(name), str), f"{name} is {shown.get(name)!r}"
        assert form.match(shown[name]), f"{name} is {shown[name]!r}"


def check_address_or_null(value):
    """`to` and `contractAddress` are an address or null."""
    assert value is None or ADDRESS.match(value), value


def check_block(shown):
    """A block with hashes or whole transactions."""
    check(shown, BLOCK)
    assert (shown["uncles"], shown["withdrawals"]) == ([], [])
    for each in shown["transactions"]:
        if isinstance(each, str):
            assert HASH.match(each)
        else:
            check_transaction(each)


def check_transaction(shown, *, waiting=False):
    """A transaction in a block, or one that waits."""
    check(shown, TRANSACTION | BY_TYPE[shown["type"]])
    check_address_or_null(shown["to"])
    if waiting:
        assert [shown[name] for name in PLACE] == [None] * 4
    else:
        check(shown, PLACE)
    if shown["type"] in {"0x1", "0x2", "0x4"}:
        for entry in shown["accessList"]:
            check(entry, {"address": ADDRESS})
            assert all(HASH.match(key) for key in entry["storageKeys"])
    if shown["type"] == "0x4":
        assert shown["authorizationList"]
        for each in shown["authorizationList"]:
            check(each, AUTHORIZATION)
    if shown["type"] == "0x0":
        assert not {"yParity", "accessList", "maxFeePerGas"} & set(shown)


def check_receipt(shown):
    """A receipt with its logs."""
    check(shown, RECEIPT)
    check_address_or_null(shown["to"])
    check_address_or_null(shown["contractAddress"])
    for log in shown["logs"]:
        check_log(log)


def check_log(shown):
    """A log."""
    check(shown, LOG)
    assert set(shown) == {*LOG, "topics", "removed"}
    assert all(HASH.match(topic) for topic in shown["topics"])
    assert isinstance(shown["removed"], bool)
