"""A development node answers its owner as anvil does, and what its owner does leaves no trace on the shared chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.clients import anvil, run
from tests.functional.conftest import NODE_TESTS
from tests.functional.dev_story import ALICE, SOMEBODY, STORIES, Teller
from tests.functional.harness import CallFailed, JsonRpc, NodeProcess, dev_node, full_node, wait_until

pytestmark = pytest.mark.functional
QUIET = ("--no-neuron", "--mine-interval", "1")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One dev node without a neuron; each test begins on the shared chain."""
    with dev_node(tmp_path_factory.mktemp("dev"), *QUIET) as running:
        yield running


@pytest.fixture
def rpc(node: NodeProcess) -> Iterator[JsonRpc]:
    """Its RPC, back on the shared chain."""
    client = node.rpc
    client("anvil_reset")
    yield client
    client.close()


@pytest.fixture(scope="module")
def anvils() -> Iterator[str]:
    """The node to compare with."""
    with anvil() as url:
        yield url


@pytest.mark.parametrize("story", STORIES)
def test_a_story_reads_as_on_anvil(rpc: JsonRpc, anvils: str, story: str) -> None:
    """Every answer is anvil's, and so is everything that is worked out from answers."""
    ours, theirs = Teller(rpc.url), Teller(anvils)
    theirs.rpc("anvil_reset")
    for teller in (ours, theirs):
        teller.rpc("evm_setAutomine", True)
        if story in {"tell_state", "tell_snapshots"}:
            number = teller.rpc("evm_snapshot")
            teller.rpc("evm_revert", number)
        STORIES[story](teller)
    for teller in (ours, theirs):
        teller.rpc.close()
    snapshots = {"evm_snapshot"}
    assert _without(ours.said, snapshots) == _without(theirs.said, snapshots)


def _without(said: list[tuple[str, Any]], names: set[str]) -> list[tuple[str, Any]]:
    """Leave out what counts from where each chain began."""
    return [(name, None if name in names else answer) for name, answer in said]


@pytest.mark.parametrize("mode", ["anvil", "hardhat"])
def test_viems_test_client_plays_with_the_node(rpc: JsonRpc, mode: str) -> None:
    """Its own checks hold in both of its modes."""
    job = json.dumps({"url": rpc.url, "mode": mode, "chainId": int(rpc("eth_chainId"), 16)})
    if not (NODE_TESTS / "node_modules").exists():
        pytest.skip("npm packages are not installed: run `make setup`")
    report = json.loads(run(["node", "dev_viem.mjs"], cwd=NODE_TESTS, input=job))
    assert report["failed"] == []
    assert report["passed"] >= 20


def test_what_is_scratch_is_told_to_nobody(node: NodeProcess, rpc: JsonRpc, tmp_path: Any) -> None:
    """A full node follows to the last shared block and no further; after the reset both go on together."""
    follower = full_node(
        tmp_path, node, "full", "--sequencer-url", node.run_file["rpc_url"].replace("http", "ws")
    )
    with follower.start():
        rpc("anvil_setBalance", SOMEBODY, "0x9")
        shared = node.status()["scratch"]
        rpc("anvil_mine", 30)
        wait_until(lambda: follower.status()["heads"]["unsafe"]["number"] == shared, "the shared head")
        bitcoin = int(node.bitcoin("getblockcount"))
        wait_until(lambda: int(node.bitcoin("getblockcount")) >= bitcoin + 3, "Bitcoin goes on", limit_s=30)
        assert node.status()["l1"]["processed_height"] < bitcoin + 3
        assert node.status()["readiness"]["ready"]
        assert int(rpc("eth_blockNumber"), 16) == shared + 30
        rpc("anvil_reset")
        assert node.status()["scratch"] is None
        assert rpc("eth_getBalance", SOMEBODY, "latest") == "0x0"
        wait_until(lambda: node.status()["heads"]["safe"]["number"] > shared, "safe beyond", limit_s=60)
        number = node.status()["heads"]["safe"]["number"]
        wait_until(
            lambda: follower.status()["heads"]["unsafe"]["number"] >= number, "the follower", limit_s=60
        )
        block = ("eth_getBlockByNumber", hex(number), False)
        assert follower.rpc(*block)["hash"] == rpc(*block)["hash"]


def test_a_scratch_survives_a_restart(node: NodeProcess, rpc: JsonRpc) -> None:
    """State, blocks, names and clock are there again; snapshots are not; and it can still be left."""
    rpc("anvil_impersonateAccount", SOMEBODY)
    rpc("anvil_setBalance", SOMEBODY, "0xde0b6b3a7640000")
    sent = rpc("eth_sendTransaction", {"from": SOMEBODY, "to": ALICE, "value": "0x1"})
    wait_until(lambda: rpc("eth_getTransactionReceipt", sent), "in a block")
    rpc("anvil_setStorageAt", ALICE, "0x0", "0x" + "00" * 31 + "07")
    rpc("evm_increaseTime", 5_000)
    number, point = rpc("eth_blockNumber"), rpc("evm_snapshot")
    node.stop()
    node.start()
    rpc = node.rpc
    assert rpc("eth_blockNumber") == number
    assert rpc("eth_getTransactionByHash", sent)["from"] == SOMEBODY
    assert int(rpc("eth_getStorageAt", ALICE, "0x0", "latest"), 16) == 7
    again = rpc("eth_sendTransaction", {"from": SOMEBODY, "to": ALICE, "value": "0x1"})
    wait_until(lambda: rpc("eth_getTransactionReceipt", again), "in a block")
    head = rpc("eth_getBlockByNumber", "latest", False)
    before = rpc("eth_getBlockByNumber", number, False)
    assert int(head["timestamp"], 16) - int(before["timestamp"], 16) >= 5_000
    assert rpc("evm_revert", point) is False
    assert node.status()["scratch"] is not None
    rpc("hardhat_reset")
    assert rpc("eth_getTransactionByHash", sent) is None
    assert int(rpc("eth_getStorageAt", ALICE, "0x0", "latest"), 16) == 0


def test_a_dumped_state_comes_back(rpc: JsonRpc, anvils: str) -> None:
    """Here, and on anvil, which reads the same form."""
    other = JsonRpc(anvils)
    rpc("anvil_setBalance", SOMEBODY, "0x1234")
    rpc("anvil_setCode", SOMEBODY, "0x6001")
    rpc("anvil_setStorageAt", SOMEBODY, "0x1", "0x" + "00" * 31 + "07")
    dump = rpc("anvil_dumpState")
    for each in (rpc, other):
        each("anvil_setBalance", SOMEBODY, "0x0")
        each("anvil_setCode", SOMEBODY, "0x6002")
        assert each("anvil_loadState", dump) is True
        assert each("eth_getBalance", SOMEBODY, "latest") == "0x1234"
        assert each("eth_getCode", SOMEBODY, "latest") == "0x6001"
        assert int(each("eth_getStorageAt", SOMEBODY, "0x1", "latest"), 16) == 7
    assert rpc("anvil_loadState", other("anvil_dumpState")) is True


REFUSED = [
    ("anvil_reset", [{"forking": {"jsonRpcUrl": "http://127.0.0.1:1"}}], "dev.no_forking"),
    ("anvil_loadState", ["0x1234"], "dev.bad_dump"),
    ("bitai_setFinality", [1], "dev.finality_is_a_rule"),
    ("anvil_rollback", [5_000], "dev.too_deep"),
    ("eth_signTypedData_v4", [ALICE, {"types": {}}], "dev.bad_typed_data"),
    ("eth_sendTransaction", [{"from": SOMEBODY, "to": ALICE}], "dev.no_key"),
]


@pytest.mark.parametrize(("method", "params", "code"), REFUSED)
def test_what_cannot_be_is_refused_by_name(rpc: JsonRpc, method: str, params: list[Any], code: str) -> None:
    """With a stable code, and the node goes on."""
    with pytest.raises(CallFailed) as refused:
        rpc(method, *params)
    assert refused.value.data["code"] == code
    assert rpc("eth_chainId")


OUT_OF_BOUNDS = [
    ("anvil_mine", ["0xfffffff"]),
    ("anvil_setBalance", [SOMEBODY, "0x" + "f" * 64]),
    ("anvil_setNonce", [SOMEBODY, "0xffffffffffffffff"]),
    ("evm_increaseTime", [-5]),
    ("evm_setBlockGasLimit", ["0x1"]),
    ("anvil_setCode", [SOMEBODY, "0xef01"]),
    ("anvil_setStorageAt", [SOMEBODY, "0x0"]),
    ("evm_setIntervalMining", ["soon"]),
    ("bitai_mockInference", [SOMEBODY, None, "0x"]),
]


@pytest.mark.parametrize(("method", "params"), OUT_OF_BOUNDS)
def test_what_does_not_fit_is_an_invalid_argument(rpc: JsonRpc, method: str, params: list[Any]) -> None:
    """Too much, too little, too large."""
    with pytest.raises(CallFailed) as refused:
        rpc(method, *params)
    assert refused.value.code == -32602
