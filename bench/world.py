"""A chain to measure on: accounts and token balances enough that the state trie has its everyday depth."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Final

from bench.workload import TOKEN, Signer, balance_slot, make_holders, make_signers
from bitai.adapters.leveldb import LevelStore
from bitai.history_keeper import HistoryKeeper
from primitives.curve import address_of, xonly_public_key
from primitives.hashes import sha256, sha256d
from primitives.ids import Address, L1Hash
from rollup.config import Keys, L1Start, RollupConfig, regtest_config
from rollup.parameters import REGTEST
from vm.executor import Executor
from vm.genesis import GenesisAccount, GenesisNeuron
from vm.store import KeyValueStore
from vm.stored_models import StoredModels

if TYPE_CHECKING:
    from vm._core import Transaction

TOKEN_ADDRESS: Final = Address(b"\x70" * 20)
BATCHER: Final = sha256(b"batcher of the benchmark")
NEURON: Final = sha256(b"neuron of the benchmark")
START_TIME: Final = 1_700_000_000
START: Final = L1Start(
    110, L1Hash(sha256d(b"start of the benchmark")), tuple(START_TIME - 10 + n for n in range(11))
)
SENDERS: Final = 500
HOLDERS: Final = 50_000
FUNDS_WEI: Final = 1_000 * 10**18


@dataclass(frozen=True)
class World:
    """The chain's configuration, who sends, and who receives."""

    config: RollupConfig
    signers: list[Signer]
    holders: list[Address]


def make_world(
    *,
    gas_limit: int = REGTEST.gas_limit,
    senders: int = SENDERS,
    holders: int = HOLDERS,
    accounts: tuple[GenesisAccount, ...] = (),
) -> World:
    """Make a chain whose senders hold coin and token, as does everybody else; `accounts` are there besides."""
    signers, known = make_signers(senders), make_holders(holders)
    balances = {balance_slot(signer.address): 10**30 for signer in signers}
    balances |= {balance_slot(holder): 1 for holder in known}
    code = bytes.fromhex(TOKEN["deployedBytecode"][2:])
    token = GenesisAccount(TOKEN_ADDRESS, nonce=1, code=code, storage=tuple(balances.items()))
    people = [GenesisAccount(signer.address, balance=FUNDS_WEI) for signer in signers]
    people += [GenesisAccount(holder, balance=1) for holder in known]
    keys = Keys(*(xonly_public_key(each) for each in (BATCHER, sha256(b"sequencer"), sha256(b"governance"))))
    neuron = GenesisNeuron(address_of(NEURON), address_of(NEURON))
    config = regtest_config(
        START,
        keys,
        Address(b"\xfe" * 20),
        accounts=(token, *people, *accounts),
        neurons=(neuron,),
        parameters=replace(REGTEST, gas_limit=gas_limit),
    )
    return World(config, signers, known)


def open_executor(world: World, store: KeyValueStore) -> Executor:
    """Open the chain in a store, at its genesis block if the store is empty."""
    return Executor(world.config.chain_spec(), store, StoredModels(store))


def decode_all(executor: Executor, raws: Sequence[bytes]) -> "list[Transaction]":
    """Decode transactions that are all good."""
    decoded = [each for each in executor.decode(raws) if not isinstance(each, tuple)]
    assert len(decoded) == len(raws), "a transaction does not decode"
    return decoded


@contextmanager
def disk_store() -> Iterator[LevelStore]:
    """Open a new database on this machine's disk for a while."""
    with TemporaryDirectory(prefix="bitai-bench-") as folder, LevelStore(Path(folder) / "chain") as store:
        yield store


@contextmanager
def history_beside(executor: Executor) -> Iterator[None]:
    """Write history on a thread of its own, as a node does."""
    keeper = HistoryKeeper(executor.history, kept_blocks=None)
    thread = Thread(target=keeper.follow)
    thread.start()
    try:
        yield
    finally:
        keeper.stop()
        thread.join()
