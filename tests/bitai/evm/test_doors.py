"""The doors as a person or a test tool uses them: rows, exit codes, files, streams, and what is refused."""

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitai.cli.app import root
from bitai.evm.many import files_in, run_files
from bitai.evm.statetest import Choice, run_file
from primitives.curve import address_of
from primitives.errors import InvalidInput

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "evm"
STATE_TESTS = VECTORS / "state_tests.json"
BLOCK_TESTS = VECTORS / "blockchain_tests.json"
SECRET = bytes(31) + b"\1"
SENDER = "0x" + address_of(SECRET).hex()
ALLOC = {
    SENDER: {"balance": hex(10**18)},
    "0x" + "c0".rjust(40, "0"): {"nonce": "0x1", "code": "0x600160005500"},
}
ENV = {
    "currentCoinbase": "0x" + "cb".rjust(40, "0"),
    "currentGasLimit": "30000000",
    "currentNumber": "0x2",
    "currentTimestamp": "0x3e8",
    "currentRandom": "0x00",
    "parentBaseFee": "0x7",
    "parentGasUsed": "0x0",
    "parentGasLimit": "0x1c9c380",
    "parentBeaconBlockRoot": "0x" + "11" * 32,
    "withdrawals": [{"index": "0x0", "validatorIndex": "0x0", "address": "0x" + "aa" * 20, "amount": "0x2"}],
}
OLD = {**ENV, "currentDifficulty": "0x1"}
TX = {
    "type": "0x2",
    "nonce": "0x0",
    "gas": "0x186a0",
    "maxFeePerGas": "0x64",
    "maxPriorityFeePerGas": "0x1",
    "to": "0x" + "c0".rjust(40, "0"),
    "value": "0x0",
    "input": "0x",
    "accessList": [],
    "secretKey": "0x" + SECRET.hex(),
    "v": "0x0",
    "r": "0x0",
    "s": "0x0",
}


TOO_LARGE = {"chainId": "0x1", "address": "0x01", "nonce": hex(2**64), "v": "0x0", "r": "0x1", "s": "0x1"}


def ask(*arguments: str, stdin: object = None):
    """Run a command; standard output and standard error apart."""
    given = None if stdin is None else json.dumps(stdin)
    return CliRunner().invoke(root, ["evm", *arguments], input=given, standalone_mode=False)


def transition(*arguments: str, txs: object = (TX,), alloc: object = None, env: object = None):
    """Run t8n over the standard streams and return what it printed."""
    streams = [part for name in ("alloc", "env", "txs") for part in (f"--input.{name}", "stdin")]
    streams += [part for name in ("alloc", "result", "body") for part in (f"--output.{name}", "stdout")]
    given = {"alloc": alloc or ALLOC, "env": env or ENV, "txs": txs}
    return ask("t8n", *streams, *arguments, stdin=given)


@pytest.fixture(scope="module")
def state_tests():
    """The committed state tests."""
    return json.loads(STATE_TESTS.read_text())


def test_state_tests_pass() -> None:
    """Every committed state test, of every fork from Berlin on, comes to the specification's root and logs."""
    rows = list(run_file(STATE_TESTS, Choice()))
    assert [row for row in rows if not row.passed] == []
    assert {row.fork for row in rows} == {
        "Berlin",
        "London",
        "Paris",
        "Shanghai",
        "Cancun",
        "Prague",
        "Osaka",
    }
    assert len(rows) > 100


def test_rows_have_the_shape_of_geths() -> None:
    """The array that statetest prints can be read by what reads geth's."""
    result = ask("statetest", str(STATE_TESTS), "--fork", "Osaka")
    rows = json.loads(result.stdout)
    assert {"name", "pass", "fork", "stateRoot"} == set(rows[0])
    assert {row["fork"] for row in rows} == {"Osaka"}
    assert result.stderr.splitlines()[-1] == f"{len(rows)} passed, 0 failed, 0 skipped, 1 files"


def test_a_wrong_root_fails(tmp_path, state_tests) -> None:
    """A test that expects another root, other logs, or an exception that does not come, fails with exit code 1."""
    name, test = next(
        (name, test)
        for name, test in state_tests.items()
        if "expectException" not in test["post"]["Osaka"][0]
    )
    post = test["post"]["Osaka"][0]
    spoilt = [{**post, "hash": "0x" + "00" * 32}, {**post, "logs": "0x" + "00" * 32}]
    spoilt += [{**post, "expectException": "TransactionException.NONCE_IS_MAX"}]
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps({name: {**test, "post": {"Osaka": spoilt}}}))
    result = ask("statetest", str(path))
    assert result.return_value == 1
    words = ["post state root mismatch", "post state logs hash mismatch", "expected error"]
    assert all(word in row["error"] for word, row in zip(words, json.loads(result.stdout), strict=True))


def test_an_unexpected_refusal_fails(tmp_path, state_tests) -> None:
    """A transaction that is refused although the test says nothing of it fails, and the row names the reason."""
    name, test = next(iter(state_tests.items()))
    post = {**test["post"]["Osaka"][0], "txbytes": "0x"}
    post.pop("expectException", None)
    transaction = {**test["transaction"], "nonce": "0x9999"}
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps({name: {**test, "transaction": transaction, "post": {"Osaka": [post]}}}))
    (row,) = json.loads(ask("statetest", str(path)).stdout)
    assert "unexpected error: TransactionException.NONCE_MISMATCH_TOO_HIGH" in row["error"]


def test_steps_and_roots_are_traced(state_tests) -> None:
    """With --json, standard error holds a line a step as EIP-3155 has it, the output, and the state root."""
    name = next(
        name for name in state_tests if "expectException" not in state_tests[name]["post"]["Osaka"][0]
    )
    result = ask("statetest", str(STATE_TESTS), "--json", "--fork", "Osaka", "--run", name)
    lines = [json.loads(line) for line in result.stderr.splitlines()[:-1]]
    assert lines[-1] == {"stateRoot": json.loads(result.stdout)[0]["stateRoot"]}
    assert {"output", "gasUsed"} <= set(lines[-2])
    steps = {"pc", "op", "gas", "gasCost", "memSize", "stack", "depth", "refund", "opName"}
    assert all(steps <= set(line) for line in lines[:-2])


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "evm.bad_json"),
        ("[]", "evm.bad_shape"),
        ('{"t": 5}', "evm.bad_shape"),
        ('{"t": {}}', "evm.missing_field"),
        ('{"t": {"post": {"Osaka": [{}]}, "pre": {}, "env": {}, "transaction": {}}}', "evm.missing_field"),
        ('{"t": {"post": {"Moonshot": [{}]}, "pre": {}}}', "evm.unknown_fork"),
        ('{"t": {"post": {"Osaka": [{}]}, "pre": {"0x1": {"balance": "x"}}}}', "evm.bad_number"),
        ('{"t": {"post": {"Osaka": [{}]}, "pre": {"zz": {}}}}', "evm.bad_hex"),
        (
            '{"t": {"post": {"Osaka": [{}]}, "pre": {"0x1": {"nonce": "0x1ffffffffffffffff"}}}}',
            "evm.bad_number",
        ),
    ],
)
def test_bad_files_are_refused_with_a_code(tmp_path, content, code) -> None:
    """What is no state test is told with a stable code, and the other files still run."""
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InvalidInput) as caught:
        list(run_file(path, Choice()))
    assert caught.value.code == code
    result = ask("statetest", str(path), str(tmp_path / "none.json"))
    assert result.return_value == 2
    assert code in result.stderr
    assert "evm.no_file" in result.stderr


def test_forks_that_are_not_final_are_skipped(tmp_path, state_tests) -> None:
    """A case of a fork that never came is counted as skipped, with the reason, and fails nothing."""
    test = next(iter(state_tests.values()))
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"t": {**test, "post": {"Constantinople": [test["post"]["Osaka"][0]]}}}))
    result = ask("statetest", str(path))
    assert result.return_value == 0
    assert "EIP-1283" in json.loads(result.stdout)[0]["skipped"]


def test_folders_are_walked_by_several_processes(tmp_path, state_tests) -> None:
    """Many files are run side by side, their rows in the order of their names; hidden folders are left out."""
    for index, (name, test) in enumerate([*state_tests.items(), *state_tests.items()][:30]):
        (tmp_path / f"{index:02}.json").write_text(
            json.dumps({name: {**test, "post": {"Osaka": test["post"]["Osaka"]}}})
        )
    (tmp_path / ".meta").mkdir()
    (tmp_path / ".meta" / "index.json").write_text("{")
    files = files_in([tmp_path])
    done = list(run_files(run_file, files, Choice()))
    assert [one.path for one in done] == files == sorted(files)
    assert all(row.passed for one in done for row in one.rows)
    assert len(files) == 30


def test_block_tests_pass() -> None:
    """Chains that the specification accepted are accepted, and what it refused before each block is refused."""
    result = ask("blocktest", str(BLOCK_TESTS))
    rows = json.loads(result.stdout)
    assert [row for row in rows if not row["pass"]] == []
    assert {row["fork"] for row in rows} == {"Paris", "Shanghai", "Cancun", "Prague", "Osaka"}
    assert result.return_value == 0


@pytest.mark.parametrize("key", ["lastblockhash", "postState", "genesisRLP"])
def test_a_wrong_end_of_a_chain_fails(tmp_path, key) -> None:
    """Another last hash, another state at the end, or a genesis of another state fails a blockchain test."""
    name, test = next(iter(json.loads(BLOCK_TESTS.read_text()).items()))
    changes = {"lastblockhash": "0x" + "00" * 32, "postState": {}}
    if key == "genesisRLP":
        test = {**test, "pre": {}}
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps({name: {**test, **({key: changes[key]} if key in changes else {})}}))
    result = ask("blocktest", str(path))
    assert result.return_value == 1
    assert json.loads(result.stdout)[0]["error"]


def test_a_good_block_that_should_be_bad_fails(tmp_path) -> None:
    """A block that is accepted although an exception was expected fails the test."""
    name, test = next(iter(json.loads(BLOCK_TESTS.read_text()).items()))
    blocks = [{**test["blocks"][1], "expectException": "BlockException.INVALID_STATE_ROOT"}]
    path = tmp_path / "spoilt.json"
    path.write_text(json.dumps({name: {**test, "blocks": blocks}}))
    assert "got no error" in json.loads(ask("blocktest", str(path)).stdout)[0]["error"]


def test_transition_over_streams() -> None:
    """One JSON object in, one out; what follows from the parent is computed, and a withdrawal is paid."""
    result = json.loads(transition("--state.fork", "Cancun").stdout)
    assert result["alloc"]["0x" + "aa" * 20] == {"balance": hex(2 * 10**9)}
    assert result["alloc"]["0x" + "c0".rjust(40, "0")]["storage"] == {
        "0x" + "00" * 32: "0x" + "00" * 31 + "01"
    }
    assert result["result"]["rejected"] == []
    assert result["result"]["currentBaseFee"] == "0x7"
    assert [receipt["status"] for receipt in result["result"]["receipts"]] == ["0x1"]
    again = json.loads(transition("--state.fork", "Cancun", txs=result["body"]).stdout)
    assert again["result"]["txRoot"] == result["result"]["txRoot"]


def test_transition_over_files(tmp_path) -> None:
    """Files are read and written under their names, and each transaction has its file of steps."""
    for name, content in (("alloc", ALLOC), ("env", ENV), ("txs", [TX])):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    inputs = [
        part
        for name in ("alloc", "env", "txs")
        for part in (f"--input.{name}", str(tmp_path / f"{name}.json"))
    ]
    out = tmp_path / "out"
    ask(
        "t8n",
        *inputs,
        "--output.basedir",
        str(out),
        "--output.body",
        "txs.rlp",
        "--state.fork",
        "Shanghai",
        "--trace",
    )
    result = json.loads((out / "result.json").read_text())
    (trace,) = out.glob("trace-0-*.jsonl")
    assert trace.name == f"trace-0-{result['receipts'][0]['transactionHash']}.jsonl"
    steps = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [step["opName"] for step in steps[:-1]] == ["PUSH1", "PUSH1", "SSTORE", "STOP"]
    body = ask(
        "t8n", *inputs[:4], "--input.txs", str(out / "txs.rlp"), "--output.basedir", str(tmp_path / "again")
    )
    assert body.return_value == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nonce": "0x5"}, "NONCE_MISMATCH_TOO_HIGH"),
        ({"nonce": hex(2**64 - 1)}, "NONCE_IS_MAX"),
        ({"gas": hex(2**64)}, "GAS_LIMIT_EXCEEDS_MAXIMUM"),
        ({"gas": hex(2**24 + 1)}, "GAS_LIMIT_EXCEEDS_MAXIMUM"),
        ({"value": hex(2**256)}, "RLP_INVALID_VALUE"),
        ({"value": hex(2**255)}, "INSUFFICIENT_ACCOUNT_FUNDS"),
        ({"maxFeePerGas": hex(2**200)}, "INSUFFICIENT_ACCOUNT_FUNDS"),
        ({"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x1"}, "INSUFFICIENT_MAX_FEE_PER_GAS"),
        ({"maxPriorityFeePerGas": "0x65"}, "PRIORITY_GREATER_THAN_MAX_FEE_PER_GAS"),
        ({"gas": "0x5207"}, "INTRINSIC_GAS_TOO_LOW"),
        ({"gas": "0x5dc0", "input": "0x" + "01" * 100}, "INTRINSIC_GAS_BELOW_FLOOR_GAS_COST"),
        ({"chainId": "0x2"}, "INVALID_CHAINID"),
        ({"type": "0x3", "maxFeePerBlobGas": "0x1"}, "TYPE_3_TX_ZERO_BLOBS"),
        (
            {"type": "0x3", "maxFeePerBlobGas": "0x1", "blobVersionedHashes": ["0x" + "00" * 32]},
            "INVALID_BLOB_VERSIONED_HASH",
        ),
        (
            {"type": "0x3", "maxFeePerBlobGas": "0x1", "blobVersionedHashes": ["0x01" + "00" * 31] * 7},
            "BLOB_COUNT_EXCEEDED",
        ),
        (
            {"type": "0x3", "maxFeePerBlobGas": "0x1", "blobVersionedHashes": ["0x01" + "00" * 31] * 10},
            "MAX_BLOB_GAS_ALLOWANCE",
        ),
        (
            {"type": "0x3", "to": None, "blobVersionedHashes": ["0x01" + "00" * 31]},
            "TYPE_3_TX_CONTRACT_CREATION",
        ),
        ({"type": "0x4", "authorizationList": []}, "TYPE_4_EMPTY_AUTHORIZATION_LIST"),
        ({"type": "0x4", "authorizationList": [TOO_LARGE]}, "TYPE_4_INVALID_AUTHORIZATION_FORMAT"),
        ({"type": "0x4", "authorizationList": [], "to": ""}, "TYPE_4_TX_CONTRACT_CREATION"),
        ({"to": "", "input": "0x" + "00" * 49_153, "gas": hex(2**23)}, "INITCODE_SIZE_EXCEEDED"),
        ({"v": "0x5", "r": "0x1", "s": "0x1"}, "INVALID_SIGNATURE_VRS"),
    ],
)
def test_refusals_bear_official_names(change, reason) -> None:
    """A transaction that no block holds is rejected under the name that execution-spec-tests give the reason."""
    (rejected,) = json.loads(transition("--state.fork", "Osaka", txs=[{**TX, **change}]).stdout)["result"][
        "rejected"
    ]
    assert rejected["index"] == 0
    assert rejected["error"].startswith("TransactionException.")
    assert reason in rejected["error"]


def test_types_belong_to_forks() -> None:
    """A type that a fork does not know yet is rejected."""
    (rejected,) = json.loads(
        transition("--state.fork", "Berlin", env={**ENV, "currentDifficulty": "0x1"}).stdout
    )["result"]["rejected"]
    assert "TYPE_NOT_SUPPORTED" in rejected["error"]


def test_signatures_name_a_chain_since_spurious_dragon() -> None:
    """A legacy transaction signed by EIP-155 is none in a fork that does not know it."""
    legacy = {name: value for name, value in TX.items() if not name.startswith(("max", "accessList"))}
    legacy |= {"type": "0x0", "gasPrice": "0x64", "secretKey": TX["secretKey"]}
    signed = json.loads(transition("--state.fork", "Berlin", txs=[legacy], env=OLD).stdout)
    assert signed["result"]["rejected"] == []
    (rejected,) = json.loads(transition("--state.fork", "EIP150", txs=signed["body"], env=OLD).stdout)[
        "result"
    ]["rejected"]
    assert "INVALID_SIGNATURE_VRS" in rejected["error"]
    assert (
        json.loads(transition("--state.fork", "EIP150", txs=[legacy], env=OLD).stdout)["result"]["rejected"]
        == []
    )


def test_coinbase_and_ommers_are_rewarded_before_paris() -> None:
    """Berlin pays two ether and a 32nd for each ommer; --state.reward -1 pays nothing."""
    ommer = "0x" + "bb" * 20
    env = {**ENV, "currentDifficulty": "0x1", "ommers": [{"delta": 1, "address": ommer}]}
    paid = json.loads(transition("--state.fork", "Berlin", txs=[], env=env).stdout)["alloc"]
    assert int(paid[ENV["currentCoinbase"]]["balance"], 16) == 2 * 10**18 + 2 * 10**18 // 32
    assert int(paid[ommer]["balance"], 16) == 7 * 2 * 10**18 // 8
    unpaid = json.loads(transition("--state.fork", "Berlin", "--state.reward", "-1", txs=[], env=env).stdout)[
        "alloc"
    ]
    assert ENV["currentCoinbase"] not in unpaid


def test_prague_needs_its_system_contracts() -> None:
    """Without the contracts of EIP-7002 and EIP-7251 there is no block, and t8n says so."""
    result = json.loads(transition("--state.fork", "Prague").stdout)["result"]
    assert result["blockException"] == "BlockException.SYSTEM_CONTRACT_EMPTY"


def test_run_answers() -> None:
    """A program's answer, gas and state root are printed; a revert is told by the exit code."""
    result = ask("run", "600160020160005260206000f3", "--json")
    answer = json.loads(result.stdout)
    assert int(answer["output"], 16) == 3
    assert answer["gas_used"] == 21_000 + 24
    assert result.return_value == 0
    assert ask("run", "60006000fd").return_value == 1


def test_run_traces_steps() -> None:
    """--trace prints a line a step on standard error."""
    result = ask("run", "6001600201", "--trace", "--input", "0x01")
    assert [json.loads(line)["opName"] for line in result.stderr.splitlines()] == [
        "PUSH1",
        "PUSH1",
        "ADD",
        "STOP",
    ]


@pytest.mark.parametrize(
    "arguments", [("run", "xyz"), ("run", "00", "--fork", "Moonshot"), ("run", "00", "--fork", "Amsterdam")]
)
def test_run_refuses_what_is_no_program_or_fork(arguments) -> None:
    """Bad hex and unknown forks end with exit code 2 and a code."""
    result = ask(*arguments)
    assert result.exception is None or getattr(result.exception, "exit_code", 2) == 2
    assert "evm." in result.stderr


def test_standard_input_is_read_once_and_must_hold_what_is_asked() -> None:
    """A missing part of standard input is told by its name."""
    result = ask(
        "t8n", "--input.alloc", "stdin", "--input.env", "stdin", "--input.txs", "stdin", stdin={"alloc": {}}
    )
    assert "evm.missing_field" in result.stderr
    assert "'env'" in result.stderr


def test_inputs_are_bounded(monkeypatch) -> None:
    """More than the limit on standard input is refused, not read into memory."""
    from bitai.evm import t8n_files

    monkeypatch.setattr(t8n_files, "_MAX_BYTES", 10)
    with pytest.raises(InvalidInput) as caught:
        t8n_files.Inputs(io.BytesIO(b"x" * 11)).read("alloc", "stdin")
    assert caught.value.code == "evm.too_large"
