"""What wallets and tools read: forms by the public schema, rules that break clients when they are not kept."""

import pytest
import rlp
from eth_account import Account as EthAccount
from eth_utils import to_checksum_address

from bitai.rpc.limits import RpcLimits
from primitives.hashes import keccak256
from tests.bitai.rig import Rig, RpcRefusal, asking_world
from tests.bitai.rpc.ethereum_schema import HASH as HASH_FORM
from tests.bitai.rpc.ethereum_schema import (
    check,
    check_block,
    check_log,
    check_receipt,
    check_transaction,
)
from tests.vm.world import CHAIN_ID, GWEI, NEURON_MODEL, ON_CHAIN_MODEL, ask
from vm import schema
from vm.schema import BlockId
from vm.store import WriteBatch

TO = b"\x01" * 20
NOWHERE = "0x" + "77" * 32
IMAGE = bytes(range(16)) * 4


def hexed(value: bytes) -> str:
    """As JSON shows it."""
    return "0x" + value.hex()


def typed(world, kind, nonce, account=1):
    """A transaction of a type, signed by eth-account as wallets do."""
    account = world.accounts[account]
    fields = {"chainId": CHAIN_ID, "nonce": nonce, "to": to_checksum_address(TO), "value": 1, "gas": 100_000}
    entry = {"address": to_checksum_address(TO), "storageKeys": [hexed(bytes(32))]}
    if kind in (0, 1):
        fields["gasPrice"] = 10 * GWEI
    else:
        fields |= {"maxFeePerGas": 10 * GWEI, "maxPriorityFeePerGas": GWEI}
    if kind:
        fields |= {"type": kind, "accessList": [entry]}
    if kind == 4:
        authorization = {"chainId": CHAIN_ID, "address": to_checksum_address(TO), "nonce": 0}
        signed = EthAccount.sign_authorization(authorization, world.accounts[5].secret)
        fields["authorizationList"] = [signed]
    return bytes(EthAccount.sign_transaction(fields, account.secret).raw_transaction)


@pytest.fixture
async def rig():
    """A node whose chain holds an epoch, a deployment, logs, and a transaction of every type."""
    world = asking_world()
    question = world.alice.sign(world.reader, data=ask(ON_CHAIN_MODEL, IMAGE))
    world.run(question, world.alice.sign(world.reader, data=ask(ON_CHAIN_MODEL, IMAGE)))
    world.typed = [typed(world, kind, nonce) for nonce, kind in enumerate((0, 1, 2, 4))]
    block = world.run(*world.typed)
    assert [receipt.status for receipt in block.sealed.receipts] == [1] * 4
    async with Rig(world) as rig:
        yield rig


async def refusal(rig, method, *params):
    """The error of a call that must fail."""
    with pytest.raises(RpcRefusal) as caught:
        await rig.call(method, *params)
    return caught.value


async def test_blocks_follow_the_schema(rig):
    """Every block, by number and by hash, with hashes and with whole transactions, has the public form."""
    head = int(await rig.call("eth_blockNumber"), 16)
    assert head == 4
    for number in range(head + 1):
        short = await rig.call("eth_getBlockByNumber", hex(number), False)
        whole = await rig.call("eth_getBlockByNumber", hex(number), True)
        check_block(short)
        check_block(whole)
        assert short["number"] == hex(number)
        assert short["transactions"] == [each["hash"] for each in whole["transactions"]]
        assert await rig.call("eth_getBlockByHash", short["hash"], True) == whole
        assert await rig.call("eth_getBlockTransactionCountByHash", short["hash"]) == hex(
            len(short["transactions"])
        )
    assert (await rig.call("eth_getBlockByNumber", "earliest"))["number"] == "0x0"


async def test_transactions_of_every_type(rig):
    """Types 0, 1, 2, 4 and system ones have their members, the same by hash and by place."""
    seen = set()
    for number in range(5):
        block = await rig.call("eth_getBlockByNumber", hex(number), True)
        for index, shown in enumerate(block["transactions"]):
            seen.add(shown["type"])
            check_transaction(shown)
            assert shown == await rig.call("eth_getTransactionByHash", shown["hash"])
            assert shown == await rig.call("eth_getTransactionByBlockNumberAndIndex", hex(number), hex(index))
            assert shown == await rig.call("eth_getTransactionByBlockHashAndIndex", block["hash"], hex(index))
            raw = bytes.fromhex((await rig.call("eth_getRawTransactionByHash", shown["hash"]))[2:])
            assert hexed(keccak256(raw)) == shown["hash"]
    assert seen == {"0x0", "0x1", "0x2", "0x4", "0x7e"}
    sent = EthAccount.recover_transaction(rig.world.typed[0])
    assert (await rig.call("eth_getTransactionByHash", hexed(keccak256(rig.world.typed[0]))))[
        "from"
    ] == sent.lower()


async def test_receipts_and_their_logs(rig):
    """Receipts agree with each other, logs are numbered through the block, system ones show their nonce."""
    for number in range(5):
        receipts = await rig.call("eth_getBlockReceipts", hex(number))
        block = await rig.call("eth_getBlockByNumber", hex(number))
        assert [each["transactionHash"] for each in receipts] == block["transactions"]
        assert all(each["blockHash"] == block["hash"] for each in receipts)
        logs = [log for each in receipts for log in each["logs"]]
        assert [log["logIndex"] for log in logs] == [hex(index) for index in range(len(logs))]
        assert await rig.call("eth_getLogs", {"blockHash": block["hash"]}) == logs
        for each in receipts:
            check_receipt(each)
            assert each == await rig.call("eth_getTransactionReceipt", each["transactionHash"])
            assert ("depositNonce" in each) == (each["type"] == "0x7e")
    created = (await rig.call("eth_getBlockReceipts", "0x2"))[0]
    assert created["contractAddress"] == hexed(rig.world.reader)
    assert created["to"] is None
    asked = await rig.call("eth_getBlockReceipts", "0x3")
    assert [len(each["logs"]) for each in asked] == [1, 1]
    assert int(asked[0]["inferGasUsed"], 16) > 0


async def test_missing_things_are_null(rig):
    """What does not exist, or not yet, is null and no error; an unfilled range of a block is null too."""
    for method, *params in (
        ("eth_getBlockByNumber", "0xffff"),
        ("eth_getBlockByHash", NOWHERE, True),
        ("eth_getTransactionByHash", NOWHERE),
        ("eth_getTransactionReceipt", NOWHERE),
        ("eth_getRawTransactionByHash", NOWHERE),
        ("eth_getBlockReceipts", "0xffff"),
        ("eth_getBlockReceipts", NOWHERE),
        ("eth_getBlockReceipts", "pending"),
        ("eth_getTransactionByBlockNumberAndIndex", "pending", "0x0"),
        ("eth_getTransactionByBlockNumberAndIndex", "0x1", "0xff"),
        ("eth_getTransactionByBlockHashAndIndex", NOWHERE, "0x0"),
        ("eth_getBlockTransactionCountByNumber", "0xffff"),
        ("eth_getUncleCountByBlockNumber", "0xffff"),
        ("eth_getUncleByBlockNumberAndIndex", "0x1", "0x0"),
    ):
        assert await rig.call(method, *params) is None, method
    assert await rig.call("eth_getBlockReceipts", "0x0") == []
    assert await rig.call("eth_getUncleCountByBlockNumber", "latest") == "0x0"


async def test_tags(rig):
    """Safe and finalized are the genesis block until there are any, then what is marked, never above the head."""
    for tag in ("safe", "finalized"):
        assert (await rig.call("eth_getBlockByNumber", tag))["number"] == "0x0"
    chain = rig.executor.chain
    batch = WriteBatch()
    batch.put(schema.META_SAFE, schema.encode_block_id(BlockId(3, chain.block_hash(3))))
    batch.put(schema.META_FINALIZED, schema.encode_block_id(BlockId(99, bytes(32))))
    rig.world.store.write(batch, sync=True)
    assert (await rig.call("eth_getBlockByNumber", "safe"))["number"] == "0x3"
    assert (await rig.call("eth_getBlockByNumber", "finalized"))["number"] == "0x4"


async def test_logs_by_filter(rig):
    """Ranges, addresses and topics choose; each log has the public form."""
    everything = await rig.call("eth_getLogs", {"fromBlock": "earliest", "toBlock": "latest"})
    for log in everything:
        check_log(log)
    reader = hexed(rig.world.reader)
    mine = await rig.call("eth_getLogs", {"fromBlock": "0x0", "address": reader})
    assert len(mine) == 2
    assert mine == [log for log in everything if log["address"] == reader]
    topic = mine[0]["topics"][0]
    assert await rig.call("eth_getLogs", {"fromBlock": "0x0", "topics": [topic]}) == mine
    assert await rig.call("eth_getLogs", {"fromBlock": "0x0", "topics": [[topic, NOWHERE]]}) == mine
    assert await rig.call("eth_getLogs", {"fromBlock": "0x0", "topics": [NOWHERE]}) == []
    assert await rig.call("eth_getLogs", {"fromBlock": "0x4", "address": reader}) == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"fromBlock": "0x2", "toBlock": "0x1"}, -32602),
        ({"fromBlock": "0x0", "toBlock": "0xffff"}, -32602),
        ({"fromBlock": "0xffff"}, -32602),
        ({"blockHash": NOWHERE, "fromBlock": "0x0"}, -32602),
        ({"blockHash": NOWHERE}, -32000),
        ({"fromBlock": 0}, -32602),
        ("latest", -32602),
    ],
)
async def test_wrong_log_ranges(rig, query, code):
    """A range that ends before it begins or beyond the head is the caller's mistake, with the agreed code."""
    assert (await refusal(rig, "eth_getLogs", query)).code == code


async def test_too_many_logs_name_a_range_that_passes(rig):
    """Over the limit the error says which range would do, and that range does."""
    async with Rig(rig.world, limits=RpcLimits(logs=2)) as few:
        error = await refusal(few, "eth_getLogs", {"fromBlock": "0x0"})
        assert error.code == -32005
        assert "(setting rpc_logs)" in error.message
        *_, first, _, last = error.message.split()
        assert await few.call("eth_getLogs", {"fromBlock": first, "toBlock": last}) == []
        assert len(await few.call("eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x1"})) > 2
    async with Rig(rig.world, limits=RpcLimits(log_blocks=2)) as short:
        error = await refusal(short, "eth_getLogs", {"fromBlock": "0x0"})
        assert error.message.endswith("(setting rpc_log_blocks); retry with 0x0 to 0x1")


async def test_accounts_and_storage(rig):
    """Balances, code, storage and nonces, now and at an older block."""
    alice = hexed(rig.world.alice.address)
    assert int(await rig.call("eth_getBalance", alice), 16) == rig.executor.view(4).balance(
        rig.world.alice.address
    )
    assert await rig.call("eth_getBalance", alice, "0x0") == hex(10_000 * 10**18)
    assert await rig.call("eth_getTransactionCount", alice, "0x1") == "0x0"
    assert await rig.call("eth_getTransactionCount", alice) == "0x3"
    assert len(await rig.call("eth_getCode", hexed(rig.world.reader))) > 100
    assert await rig.call("eth_getCode", hexed(rig.world.reader), "0x1") == "0x"
    check(
        {"word": await rig.call("eth_getStorageAt", hexed(rig.world.reader), "0x0", "latest")},
        {"word": HASH_FORM},
    )
    block = await rig.call("eth_getBlockByNumber", "0x1")
    by_hash = await rig.call("eth_getTransactionCount", alice, {"blockHash": block["hash"]})
    assert by_hash == "0x0"
    assert (await refusal(rig, "eth_getBalance", alice, "0xffff")).message == "header not found"


async def test_proofs(rig):
    """eth_getProof answers for what is there and for what is not, with the keys as they were asked."""
    shown = await rig.call(
        "eth_getProof", hexed(rig.world.reader), ["0x0", "0x" + "00" * 31 + "01"], "latest"
    )
    check(shown, {"codeHash": HASH_FORM, "storageHash": HASH_FORM})
    assert [each["key"] for each in shown["storageProof"]] == ["0x0", "0x" + "00" * 31 + "01"]
    root = bytes.fromhex((await rig.call("eth_getBlockByNumber", "latest"))["stateRoot"][2:])
    balance = int(await rig.call("eth_getBalance", hexed(rig.world.reader)), 16)
    members = (1, balance, bytes.fromhex(shown["storageHash"][2:]), bytes.fromhex(shown["codeHash"][2:]))
    assert proven(root, rig.world.reader, shown["accountProof"]) == rlp.encode(members)
    values = [await rig.call("eth_getStorageAt", hexed(rig.world.reader), hex(slot)) for slot in (0, 1)]
    assert int(values[0], 16) > 0
    for slot, each in enumerate(shown["storageProof"]):
        value = int(each["value"], 16)
        assert value == int(values[slot], 16)
        found = proven(members[2], slot.to_bytes(32, "big"), each["proof"])
        assert found == (rlp.encode(value) if value else None)
    absent = await rig.call("eth_getProof", "0x" + "99" * 20, [], "latest")
    assert (absent["balance"], absent["nonce"]) == ("0x0", "0x0")
    assert proven(root, b"\x99" * 20, absent["accountProof"]) is None


def proven(root, key, proof):
    """Walk a Merkle-Patricia proof as the yellow paper's appendix D tells: the value, or None if shown absent."""
    path, node, rest = keccak256(key).hex(), root, [bytes.fromhex(each[2:]) for each in proof]
    while node:
        if isinstance(node, bytes):
            encoded = rest.pop(0)
            assert keccak256(encoded) == node
            node = rlp.decode(encoded)
        if len(node) == 17:
            assert path
            node, path = node[int(path[0], 16)], path[1:]
            continue
        odd, leaf = node[0][0] >> 4 & 1, node[0][0] >> 5
        part = node[0].hex()[1 if odd else 2 :]
        if not path.startswith(part):
            node = b""
        elif leaf:
            assert (path, rest) == (part, [])
            return node[1]
        else:
            node, path = node[1], path[len(part) :]
    assert not rest
    return None


async def test_fees(rig):
    """Prices that a next block takes, and a history of the length clients count on."""
    price, tip = int(await rig.call("eth_gasPrice"), 16), int(await rig.call("eth_maxPriorityFeePerGas"), 16)
    base_fee = int(await rig.call("eth_baseFee"), 16)
    assert price >= base_fee + tip
    for count in ("0x3", 3):
        history = await rig.call("eth_feeHistory", count, "pending", [5.0, 50])
        assert len(history["baseFeePerGas"]) == len(history["baseFeePerBlobGas"]) == 4
        assert len(history["gasUsedRatio"]) == len(history["blobGasUsedRatio"]) == len(history["reward"]) == 3
        assert all(0 <= ratio <= 1 for ratio in history["gasUsedRatio"])
        assert (history["oldestBlock"], history["baseFeePerGas"][-1]) == ("0x2", hex(base_fee))
    assert "reward" not in await rig.call("eth_feeHistory", "0x1", "latest")
    assert len((await rig.call("eth_feeHistory", "0xffff", "latest"))["gasUsedRatio"]) == 5
    assert (await rig.call("eth_feeHistory", "0x0", "latest"))["gasUsedRatio"] == []
    for wrong in ([50, 5], [101], [-1], ["5"], [True], "5"):
        assert (await refusal(rig, "eth_feeHistory", "0x1", "latest", wrong)).code == -32602
    assert await rig.call("eth_blobBaseFee") == "0x1"


async def test_rewards_are_what_was_paid(rig):
    """Percentiles of the tips in a block, weighed by gas, as any client can recount; zero where nobody paid."""
    shares = [0, 10, 50, 75, 100]
    history = await rig.call("eth_feeHistory", "0x5", "latest", shares)
    for number, rewards in enumerate(history["reward"]):
        base_fee = int(history["baseFeePerGas"][number], 16)
        paid = []
        for each in await rig.call("eth_getBlockReceipts", hex(number)):
            if each["type"] != "0x7e":
                paid += [int(each["effectiveGasPrice"], 16) - base_fee] * (int(each["gasUsed"], 16) // 100)
        paid.sort()
        expected = [paid[max(0, -(-len(paid) * each // 100) - 1)] if paid else 0 for each in shares]
        assert [int(each, 16) for each in rewards] == expected
    assert len({reward for block in history["reward"] for reward in block}) > 2


async def test_syncing_is_told_in_bitcoin_blocks(rig):
    """A node that is behind says how far it is and how far there is; a step behind is in step."""
    rig.facts.synced = (100, 103)
    told = {"startingBlock": "0x0", "currentBlock": "0x64", "highestBlock": "0x67"}
    assert await rig.call("eth_syncing") == told
    rig.facts.synced = (101, 103)
    assert await rig.call("eth_syncing") is False


async def test_identity(rig):
    """What clients ask first."""
    assert await rig.call("eth_chainId") == hex(CHAIN_ID)
    assert await rig.call("net_version") == str(CHAIN_ID)
    assert await rig.call("web3_clientVersion") == "bitai-node/vtest"
    assert await rig.call("web3_sha3", "0x68656c6c6f") == hexed(keccak256(b"hello"))
    assert await rig.call("eth_accounts") == []
    assert await rig.call("eth_syncing") is False
    assert await rig.call("net_listening") is True
    assert await rig.call("net_peerCount") == "0x0"
    assert "eth" in await rig.call("rpc_modules")
    error = await refusal(rig, "eth_coinbase")
    assert (error.code, error.message) == (-32601, "the method eth_coinbase does not exist/is not available")


async def test_sent_transactions_are_seen_at_once(rig):
    """After the hash is back the transaction is found, waiting or in a block, and counted as pending."""
    rig._tasks[1].cancel()  # no blocks now
    bob = rig.world.accounts[2]
    raws = [bob.sign(TO, value=5, gas=30_000), bob.sign(TO, value=6, gas=30_000, nonce=3)]
    hashes = [await rig.call("eth_sendRawTransaction", hexed(raw)) for raw in raws]
    assert hashes == [hexed(keccak256(raw)) for raw in raws]
    shown = await rig.call("eth_getTransactionByHash", hashes[0])
    check_transaction(shown, waiting=True)
    assert await rig.call("eth_getTransactionReceipt", hashes[0]) is None
    assert await rig.call("eth_getRawTransactionByHash", hashes[0]) == hexed(raws[0])
    address = hexed(bob.address)
    assert await rig.call("eth_getTransactionCount", address, "latest") == "0x0"
    assert await rig.call("eth_getTransactionCount", address, "pending") == "0x1"
    content = await rig.call("txpool_content")
    assert content["pending"][address]["0"] == shown
    assert list(content["queued"][address]) == ["3"]
    assert await rig.call("txpool_contentFrom", address) == {
        "pending": content["pending"][address],
        "queued": content["queued"][address],
    }
    assert await rig.call("txpool_status") == {"pending": "0x2", "queued": "0x0"}
    pending = await rig.call("eth_getBlockByNumber", "pending", True)
    assert (pending["hash"], pending["nonce"], pending["number"]) == (None, None, "0x5")
    assert pending["transactions"] == [shown]
    assert await rig.call("eth_getBlockTransactionCountByNumber", "pending") == "0x1"
    assert await rig.call("eth_getTransactionByBlockNumberAndIndex", "pending", "0x0") == shown


async def test_sending_and_waiting_for_the_receipt(rig):
    """eth_sendRawTransactionSync answers with the receipt, or with code 4 and the hash when no block comes."""
    bob = rig.world.accounts[2]
    receipt = await rig.call("eth_sendRawTransactionSync", hexed(bob.sign(TO, value=1)))
    check_receipt(receipt)
    assert receipt["status"] == "0x1"
    raw = rig.world.accounts[3].sign(rig.world.reader, data=ask(NEURON_MODEL, IMAGE))
    error = await refusal(rig, "eth_sendRawTransactionSync", hexed(raw), 20)
    assert (error.code, error.data) == (4, hexed(keccak256(raw)))
    for wrong in (0, -5, "x", True, 1.5):
        assert (await refusal(rig, "eth_sendRawTransactionSync", hexed(bob.sign(TO)), wrong)).code == -32602


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nonce": 0}, "nonce too low"),
        ({"nonce": 500}, "nonce too high"),
        ({"value": 10**30}, "insufficient funds for gas * price + value"),
        ({"tip": 5 * GWEI, "cap": 4 * GWEI}, "max priority fee per gas higher than max fee per gas"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"gas": 2**24 + 1}, "gas limit too high"),
        ({"cap": 1, "tip": 1}, "underpriced"),
    ],
)
async def test_refusals_in_the_words_that_clients_match(rig, change, words):
    """Each refusal has the words that viem, ethers and web3.py look for, and our code beside them."""
    raw = rig.world.alice.sign(TO, **({"nonce": 3} | change))
    error = await refusal(rig, "eth_sendRawTransaction", hexed(raw))
    assert words in error.message
    assert error.code == -32000
    assert error.data["code"].startswith(("tx.", "pool."))


async def test_refused_forms(rig):
    """Blob transactions, unprotected ones, other chains' and garbage are told apart."""
    unprotected = EthAccount.sign_transaction(
        {"nonce": 0, "to": to_checksum_address(TO), "value": 1, "gas": 21_000, "gasPrice": 10 * GWEI},
        rig.world.accounts[4].secret,
    )
    foreign = EthAccount.sign_transaction(
        {
            "chainId": 1,
            "nonce": 0,
            "to": to_checksum_address(TO),
            "value": 1,
            "gas": 21_000,
            "gasPrice": 10 * GWEI,
        },
        rig.world.accounts[4].secret,
    )
    for raw, words in (
        (bytes(unprotected.raw_transaction), "only replay-protected"),
        (bytes(foreign.raw_transaction), "invalid chain id for signer"),
        (b"\x03" + bytes(100), "transaction type not supported"),
        (b"\x03" + bytes(100), "transaction type not valid"),
        (b"\x02\xc0", "rlp"),
        (b"", "rlp"),
        (bytes(131_073), "oversized data"),
    ):
        assert words in (await refusal(rig, "eth_sendRawTransaction", hexed(raw))).message, words
    first = hexed(rig.world.accounts[6].sign(TO, nonce=1))
    await rig.call("eth_sendRawTransaction", first)
    assert (await refusal(rig, "eth_sendRawTransaction", first)).message == "already known"
    cheap = hexed(rig.world.accounts[6].sign(TO, nonce=1, value=1))
    assert (
        "replacement transaction underpriced" in (await refusal(rig, "eth_sendRawTransaction", cheap)).message
    )
    for wrong in (None, 5, "02", "0x0", {}):
        assert (await refusal(rig, "eth_sendRawTransaction", wrong)).code == -32602


async def test_bitai_methods(rig):
    """The node's own methods answer through the same door."""
    assert await rig.call("bitai_status") == {"lag": 0}
    assert await rig.call("bitai_getL1Anchor", "latest") == {"number": "0x4"}
    by_hash = await rig.call("bitai_getL1Anchor", hexed(keccak256(rig.world.typed[0])))
    assert by_hash == {"number": "0x4"}
    assert await rig.call("bitai_getInference", NOWHERE) is None
    assert await rig.call("bitai_getInference", hexed(keccak256(rig.world.typed[0]))) == []
    assert await rig.call("bitai_getModels") == []
    assert await rig.call("bitai_getOutcomes", "0x1") is None


async def test_a_block_that_leaves_while_it_is_read(rig):
    """What is read of a block belongs to one block, though the chain is rewound in the middle of it."""
    blocks, moved = rig.backend, []
    original = blocks.transactions

    def rewound_meanwhile(number):
        raws = original(number)
        if not moved:
            moved.append(rig.executor.head.number)
            rig.executor.rewind(3)
            rig.world.run(rig.world.accounts[7].sign(TO, value=9))
        return raws

    blocks.transactions = rewound_meanwhile
    shown = await rig.call("eth_getBlockByNumber", "0x4", True)
    assert [each["value"] for each in shown["transactions"]] == ["0x9"]
    assert hexed(rig.executor.chain.block_hash(4)) == shown["hash"]
