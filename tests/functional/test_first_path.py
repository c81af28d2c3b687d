"""A contract asks a model on both tiers, Bitcoin holds the answers, and a second node rebuilds the same chain."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3

from tests.functional.conftest import ARTIFACT, questions, run_node_client, wait_for_models, wait_for_neuron
from tests.functional.harness import ROOT, NodeProcess, assert_same_chain, dev_node, full_node, wait_until
from vm.dev_accounts import DEV_ACCOUNTS
from vm.inference.artifact import Artifact

pytestmark = [
    pytest.mark.functional,
    # web3.py keeps its HTTP sessions in a cache of its own and never closes them.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
DIGITS = 20


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One dev node for all the tests of this page."""
    with dev_node(
        tmp_path_factory.mktemp("first_path"), "--mine-interval", "1", "--block-time-mode", "on-demand"
    ) as running:
        wait_for_models(running)
        wait_for_neuron(running)
        yield running


def check_answers(asked: list[dict[str, Any]], digits: list[int | None], client: str) -> str:
    """Every answer is the reference's; return how many are right, beside the float model."""
    wrong = [
        (q["tier"], q["reference"], d) for q, d in zip(asked, digits, strict=True) if q["reference"] != d
    ]
    assert not wrong, f"{client}: answers differ from the integer reference: {wrong}"
    right = sum(q["label"] == d for q, d in zip(asked, digits, strict=True))
    by_float = sum(q["label"] == q["float"] for q in asked)
    return f"{client}: {right} of {len(asked)} digits right, the float model {by_float}; all equal to the reference"


def test_web3_asks_both_tiers(
    node: NodeProcess, artifacts: dict[str, Artifact], record_property: Callable[[str, object], None]
) -> None:
    """web3.py deploys DigitReader, asks each tier the held-out digits and reads logs and state back."""
    web3 = Web3(Web3.HTTPProvider(node.run_file["rpc_url"]))
    account = web3.eth.account.from_key(DEV_ACCOUNTS[1].secret)
    factory = web3.eth.contract(abi=ARTIFACT["abi"], bytecode=ARTIFACT["bytecode"])

    def send(call: Any) -> Any:
        fields = {
            "from": account.address,
            "nonce": web3.eth.get_transaction_count(account.address, "pending"),
        }
        signed = account.sign_transaction(call.build_transaction(fields))
        return web3.eth.wait_for_transaction_receipt(
            web3.eth.send_raw_transaction(signed.raw_transaction), timeout=60, poll_latency=0.1
        )

    reader = web3.eth.contract(send(factory.constructor())["contractAddress"], abi=ARTIFACT["abi"])
    asked = questions(artifacts, DIGITS)
    digits: list[int | None] = []
    for question in asked:
        receipt = send(reader.functions.read(question["modelId"], bytes.fromhex(question["image"][2:])))
        assert receipt["status"] == 1
        (event,) = reader.events.DigitRead().process_receipt(receipt)
        digits.append(event["args"]["digit"])
    record_property("said", check_answers(asked, digits, "web3.py"))
    assert reader.functions.readingCount().call() == len(asked)
    assert len(reader.events.DigitRead().get_logs(from_block=0)) == len(asked)
    assert reader.functions.reading(0).call()[0] == digits[0]


@pytest.mark.parametrize(("client", "account"), [("digits_viem.mjs", 2), ("digits_ethers.mjs", 3)])
def test_javascript_asks_both_tiers(
    node: NodeProcess,
    artifacts: dict[str, Artifact],
    record_property: Callable[[str, object], None],
    client: str,
    account: int,
) -> None:
    """Viem and ethers do the same with their own habits of estimating, polling and decoding."""
    asked = questions(artifacts, DIGITS)
    job = {
        "url": node.run_file["rpc_url"],
        "chainId": int(node.rpc("eth_chainId"), 16),
        "key": "0x" + DEV_ACCOUNTS[account].secret.hex(),
        "abi": ARTIFACT["abi"],
        "bytecode": ARTIFACT["bytecode"],
        "questions": [{"modelId": each["modelId"], "image": each["image"]} for each in asked],
    }
    report = run_node_client(client, job)
    assert [answer["status"] for answer in report["answers"]] == ["success"] * len(asked)
    digits = [answer["digit"] for answer in report["answers"]]
    record_property("said", check_answers(asked, digits, client))
    assert report["stored"] == report["events"] == len(asked)


def test_second_node_rebuilds_the_chain(node: NodeProcess, tmp_path: Path) -> None:
    """A node with an empty folder, a Bitcoin URL and the rollup config reaches the same blocks, roots and receipts."""
    head = node.status()["heads"]["unsafe"]["number"]
    wait_until(lambda: node.status()["heads"]["safe"]["number"] >= head, "the head is safe", limit_s=90)
    with full_node(tmp_path, node, "second").start() as second:
        wait_until(lambda: second.status()["heads"]["safe"]["number"] >= head, "the second node caught up")
        assert_same_chain(node, second, head)
        anchor = second.rpc("bitai_getL1Anchor", hex(head))
        assert anchor["safeAtHeight"] <= second.status()["l1"]["processed_height"]


def test_the_walkthrough_does_what_it_says(node: NodeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python of contracts/examples/README.md, run as it stands, reads its seven with the model that it names."""
    page = (ROOT / "contracts/examples/README.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    model = next(each["modelId"] for each in node.rpc("bitai_getModels") if each["tier"] == "on-chain")
    for shown, here in (("http://127.0.0.1:8545", node.run_file["rpc_url"]), ('"..."', repr(model[2:]))):
        assert program.count(shown) == 1
        program = program.replace(shown, here)
    monkeypatch.chdir(ROOT)
    printed: list[Any] = []
    exec(compile(program, "contracts/examples/README.md", "exec"), {"print": printed.append})
    assert printed[0]["digit"] == 7


def test_what_the_readme_says_to_try_works(node: NodeProcess) -> None:
    """Each command under "Then try", typed as it stands, ends well; --json gives one object of the same."""
    page = (ROOT / "README.md").read_text().partition("Then try:")[2]
    lines = [line for line in page.split("```")[1].splitlines() if line.startswith("bitai-node ")]
    assert len(lines) >= 4
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BITAI_")}
    environment["BITAI_DATADIR"] = str(node.datadir)
    for line in lines:
        words = [sys.executable, "-m", "bitai.cli", *shlex.split(line)[1:]]
        for more in ([], ["--json"])[: 1 if "--help" in words else 2]:
            done = subprocess.run(
                [*words, *more], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, ""), f"{line}: {done.stderr}"
            assert not more or json.loads(done.stdout)["schema"] == 1
