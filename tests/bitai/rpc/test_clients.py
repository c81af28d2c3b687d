"""Real clients against a node in memory: watching, estimating, reverting, with viem's, ethers' and web3.py's habits."""

import asyncio
import json
import shutil

import pytest
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import ContractLogicError, ContractPanicError, Web3RPCError

from tests.arch.source import ROOT
from tests.bitai.rig import DIGIT_IMAGES, Rig, asking_world, digit_facts
from tests.bitai.test_dispatcher import serving
from tests.vm.world import CHAIN_ID, ON_CHAIN_MODEL, artifact

NODE_TESTS = ROOT / "tests" / "node"
ABI = artifact("DigitReader")["abi"]


@pytest.fixture
async def rig():
    """A node with models, a neuron, and a reader."""
    async with Rig(asking_world()) as rig, serving(rig):
        yield rig


def questions():
    """Three images for each tier."""
    models = (ON_CHAIN_MODEL.model_id, digit_facts().model_id)
    return [
        {"modelId": "0x" + model.hex(), "image": "0x" + image.hex()}
        for model in models
        for image in DIGIT_IMAGES[:3]
    ]


async def run_script(rig, script, account):
    """Run one of tests/node's clients beside the node."""
    if not (NODE_TESTS / "node_modules").exists() or shutil.which("node") is None:
        pytest.skip("npm packages are not installed: run `make setup`")
    job = {
        "url": rig.rpc_url,
        "chainId": CHAIN_ID,
        "key": "0x" + rig.world.accounts[account].secret.hex(),
        "abi": ABI,
        "address": "0x" + rig.world.reader.hex(),
        "questions": questions(),
    }
    process = await asyncio.create_subprocess_exec(
        "node",
        script,
        cwd=NODE_TESTS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate(json.dumps(job).encode())
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def check_watching(report):
    """Every log arrived once on each way, and every block of a transaction was told."""
    assert len(report["blocks"]) == 6
    for name in ("httpLogs", "wsLogs"):
        assert len(report[name]) == len(set(report[name])) == 6, name
    assert report["httpLogs"] == report["wsLogs"]
    assert set(report["blocks"]) <= set(report["wsBlocks"])
    assert report["fees"] > 0


async def test_viem_watches_and_sends(rig):
    """Filters and subscriptions, gas of neuron calls, pending block, sending with the receipt, reverts by name."""
    report = await run_script(rig, "watch_viem.mjs", 2)
    check_watching(report)
    assert report["errors"] == []
    assert (report["pending"], report["syncStatus"]) == (1, "success")
    assert report["revert"] == "ContractFunctionExecutionError"


async def test_ethers_watches_and_sends(rig):
    """The same with ethers, which matches refusals by their words."""
    report = await run_script(rig, "watch_ethers.mjs", 3)
    check_watching(report)
    assert len(report["wsPending"]) == len(report["blocks"])
    assert sorted(report["wsPending"]) == sorted(report["sent"])
    assert report["unsupported"] == "UNSUPPORTED_OPERATION"
    assert report["revert"] in {"CALL_EXCEPTION", "BAD_DATA"}


async def test_web3_sends_and_reads(rig):
    """web3.py estimates, sends, waits, reads logs by filter, and raises its own kinds of errors."""
    report = await asyncio.to_thread(use_web3, rig.rpc_url, rig.world.accounts[4].secret, rig.world.reader)
    assert report == {"digits": 6, "changes": 6, "logs": 6, "waited": True, "panic": True, "refused": True}


def use_web3(url, secret, reader):
    """What a script with web3.py does; blocking."""
    web3 = Web3(Web3.HTTPProvider(url))
    account = web3.eth.account.from_key(secret)
    contract = web3.eth.contract(address=Web3.to_checksum_address(reader), abi=ABI)
    watch = contract.events.DigitRead.create_filter(from_block="latest")
    waiting = web3.eth.filter("pending")
    digits, hashes = [], []
    for question in questions():
        call = contract.functions.read(question["modelId"], bytes.fromhex(question["image"][2:]))
        nonce = web3.eth.get_transaction_count(account.address, "pending")
        signed = account.sign_transaction(call.build_transaction({"from": account.address, "nonce": nonce}))
        sent = web3.eth.send_raw_transaction(signed.raw_transaction)
        hashes.append(sent)
        assert web3.eth.get_transaction(sent)["hash"] == sent
        receipt = web3.eth.wait_for_transaction_receipt(sent, timeout=30, poll_latency=0.05)
        digits += contract.events.DigitRead().process_receipt(receipt)
    report = {"digits": len(digits), "changes": len(watch.get_new_entries())}
    report["waited"] = waiting.get_new_entries() == hashes
    report["logs"] = len(contract.events.DigitRead.get_logs(from_block=0))
    try:
        contract.functions.reading(9_999).call()
    except (ContractPanicError, ContractLogicError):
        report["panic"] = True
    try:
        web3.eth.send_raw_transaction(signed.raw_transaction)
    except Web3RPCError as error:
        report["refused"] = "nonce too low" in str(error)
    return report


async def test_web3_subscribes(rig):
    """web3.py's persistent connection hears of heads and logs."""
    async with AsyncWeb3(WebSocketProvider(rig.rpc_url.replace("http", "ws"))) as web3:
        heads = await web3.eth.subscribe("newHeads")
        raw = rig.world.accounts[5].sign(b"\1" * 20, value=1)
        sent = await web3.eth.send_raw_transaction(raw)
        async with asyncio.timeout(20):
            async for message in web3.socket.process_subscriptions():
                assert message["subscription"] == heads
                head = message["result"]
                break
        receipt = await web3.eth.wait_for_transaction_receipt(sent)
        assert receipt["blockHash"] == head["hash"]
        assert await web3.eth.unsubscribe(heads)
