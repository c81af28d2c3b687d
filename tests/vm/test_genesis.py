"""The first block is a function of the configuration alone, and what it must hold is there."""

import json
from dataclasses import replace

import pytest
from eth_account import Account as Wallet

from primitives.errors import ConfigError
from primitives.ids import Address, ModelId
from tests.vm.world import ROOT, START_HEIGHT, START_TIME, World, chain_spec, origin_at
from vm import predeploys
from vm.dev_accounts import DEV_ACCOUNTS, MNEMONIC, funded_dev_accounts
from vm.genesis import MAX_BALANCE_WEI, GenesisAccount, GenesisNeuron, GenesisSpec
from vm.genesis_json import genesis_from_json, genesis_to_json
from vm.store import MemoryStore
from vm.system import L1Info, read_l1_info

VECTOR = ROOT / "tests" / "vectors" / "vm" / "genesis.json"


def test_root_and_hash_are_pinned(world):
    """State root and hash of the test chain's first block never change by accident."""
    head = world.executor.head
    pinned = json.loads(VECTOR.read_text())
    assert {"state_root": head.state_root.hex(), "hash": head.hash.hex()} == pinned


def test_opening_again_finds_the_same_block(world):
    """A second start on the same store writes nothing."""
    before = world.store.rows
    again = World(store=world.store)
    assert again.executor.head == world.executor.head
    assert world.store.rows == before


def test_contracts_stand_where_they_should(world):
    """Every predeployed address has its code and nonce 1, and the funded accounts their coin."""
    view = world.executor.view(0)
    for address, code in predeploys.CODE:
        assert (view.code(address), view.nonce(address)) == (code, 1)
    for account in funded_dev_accounts():
        assert view.balance(account.address) == account.balance


def test_l1_info_begins_with_the_origin(world):
    """Before any transaction the L1 information contract knows the first block's origin, and a scalar of 1."""
    origin = origin_at(START_HEIGHT)
    assert read_l1_info(world.executor.view(0).storage) == L1Info(origin, 0, 0)
    assert world.read(predeploys.L1_INFO, "hashOf(uint64)", START_HEIGHT, returns=["bytes32"]) == origin.hash


def test_header_tells_the_origin(world):
    """Beacon root is the origin's hash, extra data its height."""
    header = world.executor.chain.header(0)
    assert header.parent_beacon_block_root == origin_at(START_HEIGHT).hash
    assert header.extra_data == START_HEIGHT.to_bytes(8, "big")
    assert header.timestamp == START_TIME


def test_another_chain_is_refused(world):
    """A store of one chain cannot be opened as another."""
    other = replace(world.spec, identity=b"\x02" * 32)
    with pytest.raises(ConfigError, match=r"store\.other_chain"):
        World(store=world.store, spec=other)


def test_dev_accounts_are_the_mnemonics():
    """Addresses and keys are the first ten of the well-known mnemonic."""
    Wallet.enable_unaudited_hdwallet_features()
    for index, account in enumerate(DEV_ACCOUNTS):
        wallet = Wallet.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}")
        assert (bytes.fromhex(wallet.address[2:]), bytes(wallet.key)) == account


def test_json_round_trip():
    """What is written as JSON reads back equal, and only that."""
    spec = chain_spec().genesis
    spec = replace(
        spec, neurons=(GenesisNeuron(Address(b"\1" * 20), Address(b"\2" * 20), (ModelId(b"\3" * 32),)),)
    )
    text = json.dumps(genesis_to_json(spec))
    assert genesis_from_json(json.loads(text)) == spec


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: fields.pop("neurons"),
        lambda fields: fields.update(extra=1),
        lambda fields: fields.update(timestamp=True),
        lambda fields: fields.update(timestamp="0x1"),
        lambda fields: fields["accounts"][0].update(address="0x01"),
        lambda fields: fields["accounts"][0].update(code="0xAB"),
        lambda fields: fields["accounts"][0].update(balance=-1),
        lambda fields: fields["accounts"][0].update(storage={"0x00": 1}),
    ],
)
def test_malformed_json_is_named(spoil):
    """A wrong key, type, case or length is refused, never guessed at."""
    fields = genesis_to_json(chain_spec().genesis)
    spoil(fields)
    with pytest.raises(ConfigError, match=r"genesis\.malformed"):
        genesis_from_json(fields)


@pytest.mark.parametrize(
    ("reason", "accounts"),
    [
        ("repeated_account", (GenesisAccount(Address(b"\1" * 20)), GenesisAccount(Address(b"\1" * 20)))),
        ("too_much_coin", (GenesisAccount(Address(b"\1" * 20), balance=MAX_BALANCE_WEI + 1),)),
        ("bad_address", (GenesisAccount(Address(b"\1" * 19)),)),
        ("code_too_long", (GenesisAccount(Address(b"\1" * 20), code=bytes(24_577)),)),
        ("bad_slot", (GenesisAccount(Address(b"\1" * 20), storage=((bytes(32), 1),)),)),
        ("out_of_range", (GenesisAccount(Address(b"\1" * 20), nonce=2**64),)),
    ],
)
def test_impossible_spec_is_refused(reason, accounts):
    """A list of accounts that no chain can start from names what is wrong."""
    with pytest.raises(ConfigError, match=f"genesis.{reason}"):
        GenesisSpec(0, accounts).check()


def test_genesis_is_one_write():
    """A process that dies before the first block is written leaves an empty store, which opens."""

    class DyingStore(MemoryStore):
        def write(self, batch, *, sync):
            raise OSError("gone")

    store = DyingStore()
    with pytest.raises(OSError, match="gone"):
        World(store=store)
    assert store.rows == {}
    assert World(store=MemoryStore(store.rows)).executor.head.number == 0
