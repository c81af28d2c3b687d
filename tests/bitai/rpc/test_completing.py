"""What tools ask beside the classics: filled transactions, transactions by their sender, the rules in force."""

import zlib

import pytest
import rlp
from eth_account import Account as EthAccount
from eth_utils import to_checksum_address

from primitives.hashes import keccak256
from tests.bitai.rig import Rig, RpcRefusal, asking_world
from tests.bitai.rpc.ethereum_schema import HASH as HASH_FORM
from tests.bitai.rpc.ethereum_schema import check, check_transaction
from tests.vm.world import CHAIN_ID, GWEI

TO = b"\x01" * 20
ADDRESS = "0x" + "01" * 20


def hexed(value: bytes) -> str:
    """As JSON shows it."""
    return "0x" + value.hex()


@pytest.fixture
async def rig():
    """A node with a contract and a few transactions of alice."""
    world = asking_world()
    world.run(world.alice.sign(TO, value=1), world.alice.sign(TO, value=2))
    async with Rig(world) as rig:
        yield rig


async def refusal(rig, method, *params):
    """The error of a call that must fail."""
    with pytest.raises(RpcRefusal) as caught:
        await rig.call(method, *params)
    return caught.value


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({}, 2),
        ({"gasPrice": hex(20 * GWEI)}, 0),
        ({"gasPrice": hex(20 * GWEI), "accessList": [{"address": ADDRESS, "storageKeys": []}]}, 1),
        ({"maxPriorityFeePerGas": hex(GWEI)}, 2),
        ({"maxFeePerGas": hex(20 * GWEI)}, 2),
    ],
)
async def test_a_filled_transaction_can_be_signed_and_sent(rig, asked, kind):
    """What is missing is filled in so that the sender's signature over it is accepted and included."""
    alice = rig.world.alice
    filled = await rig.call("eth_fillTransaction", {"from": hexed(alice.address), "to": ADDRESS} | asked)
    shown, gas = filled["tx"], 21_000 + (2_400 if "accessList" in asked else 0)
    assert (shown["type"], shown["nonce"], shown["gas"]) == (hex(kind), hex(alice.nonce), hex(gas))
    assert shown["hash"] == hexed(keccak256(bytes.fromhex(filled["raw"][2:])))
    fields = {name: shown[name] for name in ("chainId", "nonce", "gas", "value")}
    fields |= {"to": to_checksum_address(shown["to"]), "data": shown["input"]}
    if kind:
        access = [each | {"address": to_checksum_address(each["address"])} for each in shown["accessList"]]
        fields |= {"type": kind, "accessList": access}
    prices = ("gasPrice",) if kind < 2 else ("maxFeePerGas", "maxPriorityFeePerGas")
    fields |= {name: shown[name] for name in prices}
    signed = EthAccount.sign_transaction(fields, alice.secret).raw_transaction
    receipt = await rig.call("eth_sendRawTransactionSync", hexed(bytes(signed)))
    assert receipt["status"] == "0x1"
    for name, value in asked.items():
        if name != "accessList":
            assert shown[name] == value


async def test_the_unsigned_bytes_hold_the_fields(rig):
    """The raw form decodes to the fields with an empty signature."""
    filled = await rig.call("eth_fillTransaction", {"from": hexed(rig.world.alice.address), "to": ADDRESS})
    raw = bytes.fromhex(filled["raw"][2:])
    fields = rlp.decode(raw[1:])
    assert raw[0] == 2
    assert int.from_bytes(fields[0], "big") == CHAIN_ID
    assert fields[5] == TO
    assert fields[9:] == [b"", b"", b""]


async def test_what_cannot_be_filled_is_refused(rig):
    """A creation without code, a tip above the cap, a call that reverts: each says so in the known words."""
    sender = hexed(rig.world.alice.address)
    assert (await refusal(rig, "eth_fillTransaction", {"from": sender})).message == (
        "contract creation without any data provided"
    )
    wrong = {"from": sender, "to": ADDRESS, "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"}
    failed = await refusal(rig, "eth_fillTransaction", wrong)
    assert (failed.code, failed.message.partition(":")[0]) == (
        -32000,
        "max priority fee per gas higher than max fee per gas",
    )
    assert (await refusal(rig, "eth_fillTransaction", {"from": sender, "data": "0x60006000fd"})).code == 3


async def test_a_lone_tip_is_above_no_cap(rig):
    """A call that names only a tip pays more tip than fee, and is refused as geth refuses it; with a cap it runs."""
    failed = await refusal(rig, "eth_call", {"to": ADDRESS, "maxPriorityFeePerGas": "0x1"})
    assert failed.code == -32000
    assert failed.message.startswith("max priority fee per gas higher than max fee per gas")
    assert await rig.call("eth_call", {"to": ADDRESS, "maxPriorityFeePerGas": "0x0"}) == "0x"


async def test_gas_price_is_what_the_call_would_pay(rig):
    """GASPRICE in a call is base fee plus tip, at most the cap."""
    code = {ADDRESS: {"code": "0x3a60005260206000f3"}}  # return GASPRICE
    base_fee = int((await rig.call("eth_getBlockByNumber", "latest"))["baseFeePerGas"], 16)
    for cap, tip, paid in (
        (base_fee + 10, 3, base_fee + 3),
        (base_fee + 10, 10, base_fee + 10),
        (base_fee + 2, 2, base_fee + 2),
    ):
        call = {"to": ADDRESS, "maxFeePerGas": hex(cap), "maxPriorityFeePerGas": hex(tip)}
        assert int(await rig.call("eth_call", call, "latest", code), 16) == paid
    assert int(await rig.call("eth_call", {"to": ADDRESS}, "latest", code), 16) == 0


async def test_transactions_by_sender_and_nonce(rig):
    """Mined ones are found by a search through the account's history, waiting ones in the pool, others are null."""
    alice = rig.world.alice
    sender = hexed(alice.address)
    for nonce in range(alice.nonce):
        shown = await rig.call("eth_getTransactionBySenderAndNonce", sender, hex(nonce))
        check_transaction(shown)
        assert (shown["from"], shown["nonce"]) == (sender, hex(nonce))
        assert shown == await rig.call("eth_getTransactionByHash", shown["hash"])
    assert await rig.call("eth_getTransactionBySenderAndNonce", sender, hex(alice.nonce)) is None
    alice.nonce += 1
    sent = await rig.call("eth_sendRawTransaction", hexed(alice.sign(TO)))  # its turn never comes
    waiting = await rig.call("eth_getTransactionBySenderAndNonce", sender, hex(alice.nonce - 1))
    check_transaction(waiting, waiting=True)
    assert waiting["hash"] == sent


async def test_the_pool_in_words(rig):
    """One line a transaction, with the receiver in mixed case, as geth writes it."""
    alice = rig.world.alice
    alice.nonce += 1
    await rig.call("eth_sendRawTransaction", hexed(alice.sign(bytes.fromhex("ab" * 20), value=5)))
    shown = await rig.call("txpool_inspect")
    line = shown["queued"][hexed(alice.address)][str(alice.nonce - 1)]
    assert line.startswith(to_checksum_address("0x" + "ab" * 20) + ": 5 wei + ")
    assert shown["pending"] == {}


async def test_raw_transactions_by_place(rig):
    """The same bytes by block number, by block hash and by transaction hash; null outside."""
    block = await rig.call("eth_getBlockByNumber", "latest")
    for index, transaction_hash in enumerate(block["transactions"]):
        raw = await rig.call("eth_getRawTransactionByHash", transaction_hash)
        assert hexed(keccak256(bytes.fromhex(raw[2:]))) == transaction_hash
        for name, key in (("Number", block["number"]), ("Hash", block["hash"])):
            assert await rig.call(f"eth_getRawTransactionByBlock{name}AndIndex", key, hex(index)) == raw
    assert await rig.call("eth_getRawTransactionByBlockNumberAndIndex", block["number"], "0x99") is None
    assert await rig.call("eth_getRawTransactionByBlockNumberAndIndex", "0xffff", "0x0") is None


async def test_many_slots_at_once(rig):
    """The values of many accounts' slots in one reply, zero for accounts that are not there; bounded."""
    registry = "0x4200000000000000000000000000000000000100"
    slots = [hexed(number.to_bytes(32, "big")) for number in range(3)]
    found = await rig.call("eth_getStorageValues", {registry: slots, ADDRESS: slots[:1]}, "latest")
    assert found[registry] == [await rig.call("eth_getStorageAt", registry, slot) for slot in slots]
    assert any(int(value, 16) for value in found[registry])
    assert found[ADDRESS] == [hexed(bytes(32))]
    empty = await refusal(rig, "eth_getStorageValues", {}, "latest")
    assert (empty.code, empty.message) == (-32602, "empty request")
    assert (await refusal(rig, "eth_getStorageValues", {registry: slots[:1] * 1_025})).code == -32005
    assert (await refusal(rig, "eth_getStorageValues", {registry: "0x0"})).code == -32602


async def test_the_rules_in_force(rig):
    """EIP-7910: one fork from the first block on, its precompiles and system contracts, and INFER."""
    shown = await rig.call("eth_config")
    genesis = await rig.call("eth_getBlockByNumber", "0x0")
    current = shown["current"]
    assert (shown["next"], shown["last"]) == (None, None)
    assert current["chainId"] == hex(CHAIN_ID)
    assert current["activationTime"] == int(genesis["timestamp"], 16)
    assert current["forkId"] == hexed(zlib.crc32(bytes.fromhex(genesis["hash"][2:])).to_bytes(4, "big"))
    assert list(current["precompiles"]) == sorted(current["precompiles"])
    assert current["precompiles"]["INFER"] == "0x0000000000000000000000000000000000100000"
    identity = {"to": current["precompiles"]["ID"], "input": "0x1234"}
    assert await rig.call("eth_call", identity) == "0x1234"
    for address in current["systemContracts"].values():
        assert await rig.call("eth_getCode", address) != "0x"


async def test_what_the_node_still_has(rig):
    """eth_capabilities names the head, and the oldest block of each kind of data; its state is readable."""
    shown = await rig.call("eth_capabilities")
    check(shown["head"], {"hash": HASH_FORM})
    assert shown["head"]["number"] == await rig.call("eth_blockNumber")
    for kind in ("state", "tx", "logs", "receipts", "blocks", "stateproofs"):
        assert shown[kind]["disabled"] is False
    assert await rig.call("eth_getBalance", ADDRESS, shown["state"]["oldestBlock"]) == "0x0"


async def test_the_batch_of_a_block(rig):
    """The block may be named as anywhere, or by a transaction in it; what is not there is null."""
    block = await rig.call("eth_getBlockByNumber", "latest")
    for name in ("latest", block["number"], block["hash"], block["transactions"][-1]):
        assert (await rig.call("bitai_getBatch", name))["firstBlock"] == block["number"]
    assert await rig.call("bitai_getBatch", "0xffff") is None
