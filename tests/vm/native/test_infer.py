"""INFER in a block: answers, prices, who is paid, and transactions that leave no trace."""

import pytest

from primitives.hashes import keccak256
from tests.vm.native import assembly as a
from tests.vm.native.lab import BASE_FEE, COINBASE, FEE_VAULT, GWEI, POOL, Lab, decode, keys, slot
from vm import _core

KEY, OTHER = keys(2)
ASKER = b"\xa5" * 20
CHAIN_MODEL, NEURON_MODEL = b"\x11" * 32, b"\x22" * 32
NEURON, NEURON_B = b"\x4e" * 20, b"\x4f" * 20
FACTS = {
    CHAIN_MODEL: (0, 30_000, 4, 8, True),
    NEURON_MODEL: (1, 2_000_001, 4, 8, True),
    b"\x33" * 32: (1, 1, 4, 8, False),
    b"\x44" * 32: (0, 60_000_000, 4, 8, True),
}
OK, BAD_INPUT, UNAVAILABLE, UNKNOWN_MODEL = 0, 1, 3, 4
INPUT = b"\1\2\3\4"
BASE_GAS = 1_000 + 6
"""Of a call that hands over one word."""
CHAIN_PRICE = BASE_GAS + 30
NEURON_PRICE = BASE_GAS + 2_001 + (128 + 32) * 16


def asker(*, kind: int = a.CALL, after: bytes = b"") -> bytes:
    """Return a contract that hands its calldata to INFER, stores the flag and the first words, and returns all."""
    values = [a.CALLVALUE] if kind in {a.CALL, a.CALLCODE} else []
    ask = a.code(
        a.CALLDATASIZE, a.PUSH0, a.PUSH0, a.CALLDATACOPY, a.PUSH0, a.PUSH0, a.CALLDATASIZE, a.PUSH0,
        *values, a.push(_core.INFER_ADDRESS), a.GAS, kind, a.push(1), a.ADD, a.PUSH0, a.SSTORE,
        a.RETURNDATASIZE, a.push(1), a.SSTORE, a.RETURNDATASIZE, a.PUSH0, a.PUSH0, a.RETURNDATACOPY,
        a.PUSH0, a.MLOAD, a.push(2), a.SSTORE, a.push(96), a.MLOAD, a.push(3), a.SSTORE,
    )  # fmt: skip
    return ask + (after or a.code(a.RETURNDATASIZE, a.PUSH0, a.RETURN))


def make_lab(code: bytes | None = None, **rules: int | None) -> Lab:
    """Return a chain with the asking contract; on-chain models answer their input reversed."""
    lab = Lab({ASKER: (1, 0, code or asker(), {})}, rich=[KEY, OTHER], **rules)
    KEY.nonce = OTHER.nonce = 0
    lab.models = FACTS.get
    lab.runs = []  # type: ignore[attr-defined]

    def infer(model_id: bytes, data: bytes, params: bytes, max_output: int) -> tuple[int, bytes]:
        lab.runs.append((model_id, data, params, max_output))  # type: ignore[attr-defined]
        return OK, data[::-1]

    lab.infer = infer
    return lab


def ask(
    model: bytes, data: bytes = INPUT, params: bytes = b"", max_output: int = 32, **options: object
) -> bytes:
    """Return a signed transaction in which the contract asks."""
    calldata = a.infer_calldata(model, data, params, max_output)
    return KEY.sign(ASKER, data=calldata, **options)  # type: ignore[arg-type]


def answer(
    output: bytes, record: int = 0, neuron: bytes | None = NEURON, max_output: int = 32
) -> dict[bytes, object]:
    """Return the answer to a call of the neuron model with the usual input."""
    return {_core.request_hash(NEURON_MODEL, INPUT, b"", max_output): (OK, output, neuron, record)}


def stored(lab: Lab, number: int) -> int:
    """Return a slot of the asking contract."""
    return lab.state.storage(ASKER, slot(number))


def run(lab: Lab, *raws: bytes, **options: object) -> list[_core.Outcome]:
    """Run transactions in the next block and commit it."""
    executor = lab.open()
    outcomes = executor.run(decode(*raws), **options)  # type: ignore[arg-type]
    lab.commit(executor)
    return outcomes


def test_the_request_hash_binds_everything() -> None:
    """The hash is the documented one, and each argument moves it."""
    seed = b"\5" * 32
    expected = keccak256(
        b"BitAI/request" + CHAIN_MODEL + keccak256(b"in") + keccak256(b"p") + (7).to_bytes(4, "big") + seed
    )
    assert _core.request_hash(CHAIN_MODEL, b"in", b"p", 7, seed) == expected
    variants = {
        _core.request_hash(*arguments)
        for arguments in [
            (CHAIN_MODEL, b"in", b"p", 7, seed), (NEURON_MODEL, b"in", b"p", 7, seed),
            (CHAIN_MODEL, b"i", b"np", 7, seed), (CHAIN_MODEL, b"in", b"p", 8, seed), (CHAIN_MODEL, b"in", b"p", 7),
        ]
    }  # fmt: skip
    assert len(variants) == 5


def test_an_on_chain_model_answers() -> None:
    """The contract gets the ABI-encoded status and output, and pays base and MACs."""
    lab = make_lab()
    outcome = run(lab, ask(CHAIN_MODEL))[0]
    assert outcome.receipt is not None
    assert (outcome.receipt.status, outcome.receipt.infer_gas) == (1, CHAIN_PRICE)
    assert (stored(lab, 0), stored(lab, 1), stored(lab, 2)) == (2, 128, OK)
    assert stored(lab, 3).to_bytes(32, "big")[:4] == INPUT[::-1]
    assert lab.runs == [(CHAIN_MODEL, INPUT, b"", 32)]  # type: ignore[attr-defined]
    assert outcome.used_records == []


def test_equal_calls_of_a_block_run_once() -> None:
    """A block asks an on-chain model once for each request, and each call pays."""
    lab = make_lab()
    outcomes = run(lab, ask(CHAIN_MODEL), ask(CHAIN_MODEL))
    assert [outcome.receipt.infer_gas for outcome in outcomes if outcome.receipt] == [CHAIN_PRICE] * 2
    assert len(lab.runs) == 1  # type: ignore[attr-defined]


def test_park_then_answer() -> None:
    """An unanswered neuron call parks without trace; with the answer the transaction runs as if never parked."""
    lab = make_lab()
    raw = ask(NEURON_MODEL)
    executor = lab.open()
    parked = executor.run(decode(raw), missing="park")[0]
    assert (parked.kind, executor.transaction_count, executor.gas_left) == ("parked", 0, 60_000_000)
    request = parked.request
    assert request is not None
    assert (request.model_id, request.input, request.params) == (NEURON_MODEL, INPUT, b"")
    assert (request.max_output, request.ordinal, request.seed) == (32, 0, bytes(32))
    assert (request.macs, request.gas) == (2_000_001, NEURON_PRICE)
    assert request.request_hash == _core.request_hash(NEURON_MODEL, INPUT, b"", 32)
    answers = [{request.request_hash: (OK, b"hello", NEURON, 3)}]
    included = executor.run(decode(raw), answers, missing="park")[0]
    assert included.kind == "included"
    assert included.used_records == [3]
    fresh = lab.open()
    fresh.run(decode(raw), answers)
    assert fresh.seal().hash == lab.commit(executor).hash
    assert stored(lab, 2) == OK
    assert stored(lab, 3).to_bytes(32, "big")[:5] == b"hello"


def test_no_record_is_a_skip_in_replay() -> None:
    """Replay never guesses: without a record the transaction is skipped, and its nonce stays."""
    lab = make_lab()
    outcome = run(lab, ask(NEURON_MODEL))[0]
    assert (outcome.kind, outcome.code) == ("skipped", "infer.no_record")
    account = lab.state.account(KEY.address)
    assert account is not None
    assert account.nonce == 0
    assert stored(lab, 0) == 0


def test_unavailable_mode_runs_on() -> None:
    """Forced transactions and remade blocks answer UNAVAILABLE for the base price, but use an answer that is there."""
    lab = make_lab()
    outcome = run(lab, ask(NEURON_MODEL), missing="unavailable")[0]
    assert outcome.receipt is not None
    assert (outcome.receipt.status, outcome.receipt.infer_gas) == (1, BASE_GAS)
    assert (stored(lab, 1), stored(lab, 2)) == (96, UNAVAILABLE)
    outcome = run(lab, ask(NEURON_MODEL), missing="unavailable", answers=[answer(b"x")])[0]
    assert stored(lab, 2) == OK
    assert outcome.used_records == [0]


def test_the_price_of_the_unused_part_comes_back() -> None:
    """A neuron call is charged for max output and pays for its output."""
    lab = make_lab()
    for length in (0, 5, 32):
        outcome = run(lab, ask(NEURON_MODEL), answers=[answer(bytes(length))])[0]
        assert outcome.receipt is not None
        assert outcome.receipt.infer_gas == NEURON_PRICE - (32 - length) * 16
    assert lab.rules.infer_gas(1, 2_000_001, 32, 4) == NEURON_PRICE
    assert lab.rules.infer_gas(0, 30_000, 32, 4) == CHAIN_PRICE


def test_an_answer_longer_than_paid_for_is_none() -> None:
    """A record that breaks the limit of its request does not answer it."""
    lab = make_lab()
    outcome = run(lab, ask(NEURON_MODEL), answers=[answer(bytes(33))])[0]
    assert outcome.code == "infer.no_record"


def test_a_seventy_thirty_split() -> None:
    """INFER gas pays pool and neuron at the full price, ordinary gas vault and coinbase; nothing is lost."""
    lab = make_lab()
    places = [FEE_VAULT, POOL, COINBASE, NEURON, KEY.address]
    before = [lab.balance(place) for place in places]
    receipt = run(lab, ask(NEURON_MODEL, tip=GWEI), answers=[answer(b"12345")])[0].receipt
    assert receipt is not None
    vault, pool, coinbase, neuron, sender = (
        lab.balance(place) - old for place, old in zip(places, before, strict=True)
    )
    price = BASE_FEE + GWEI
    ordinary = receipt.gas_used - receipt.infer_gas
    fee = receipt.infer_gas * price
    assert receipt.effective_gas_price == price
    assert coinbase == ordinary * GWEI
    assert (pool, neuron) == (fee * 30 // 100, fee * 70 // 100)
    assert vault == ordinary * BASE_FEE + fee - pool - neuron
    assert sender == -receipt.gas_used * price
    assert vault + pool + coinbase + neuron + sender == 0


def test_where_no_neuron_answered_the_vault_gets_the_seventy() -> None:
    """On-chain runs and refusals have no neuron to pay."""
    lab = make_lab()
    before = lab.balance(FEE_VAULT)
    receipt = run(lab, ask(CHAIN_MODEL))[0].receipt
    assert receipt is not None
    fee = receipt.infer_gas * receipt.effective_gas_price
    ordinary = (receipt.gas_used - receipt.infer_gas) * BASE_FEE
    assert lab.balance(POOL) == fee * 30 // 100
    assert lab.balance(FEE_VAULT) - before == ordinary + fee - fee * 30 // 100


@pytest.mark.parametrize(
    ("model", "data", "params", "max_output", "status"),
    [
        (b"\x99" * 32, INPUT, b"", 32, UNKNOWN_MODEL),
        (NEURON_MODEL, INPUT + b"\5", b"", 32, BAD_INPUT),
        (NEURON_MODEL, b"", b"", 32, BAD_INPUT),
        (NEURON_MODEL, INPUT, b"p", 32, BAD_INPUT),
        (CHAIN_MODEL, INPUT, b"", 7, BAD_INPUT),
        (b"\x33" * 32, INPUT, b"", 32, UNAVAILABLE),
        (b"\x44" * 32, INPUT, b"", 32, UNAVAILABLE),
    ],
)
def test_answers_without_a_run(
    model: bytes, data: bytes, params: bytes, max_output: int, status: int
) -> None:
    """Refusals are answers: status, empty output, the base price, and no dispatch even when parking."""
    lab = make_lab()
    outcome = run(lab, ask(model, data, params, max_output), missing="park")[0]
    assert outcome.receipt is not None
    assert (outcome.receipt.status, outcome.receipt.infer_gas) == (
        1,
        1_000 + 6 * -(-len(data + params) // 32),
    )
    assert (stored(lab, 0), stored(lab, 1), stored(lab, 2)) == (2, 96, status)
    assert lab.runs == []  # type: ignore[attr-defined]


def test_a_model_that_refuses_its_input_costs_the_base_price() -> None:
    """Whoever says that a status is not OK, no output is paid for, and neither record nor budget is used."""
    lab = make_lab()
    lab.infer = lambda *_: (BAD_INPUT, b"no")
    executor = lab.open()
    refused = {_core.request_hash(NEURON_MODEL, INPUT, b"", 32): (BAD_INPUT, b"no", None, -1)}
    outcomes = executor.run(decode(ask(CHAIN_MODEL), ask(NEURON_MODEL)), [None, refused])
    assert [outcome.receipt.infer_gas for outcome in outcomes if outcome.receipt] == [BASE_GAS] * 2
    assert [outcome.used_records for outcome in outcomes] == [[], []]
    assert (executor.on_chain_macs_left, executor.neuron_macs_left) == (50_000_000, 4_000_000_000)
    lab.commit(executor)
    assert (stored(lab, 1), stored(lab, 2), lab.balance(NEURON)) == (96, BAD_INPUT, 0)


@pytest.mark.parametrize("model", [CHAIN_MODEL, NEURON_MODEL, b"\x99" * 32])
@pytest.mark.parametrize("length", [0, 1, 32, 33, 4_000])
def test_what_a_call_hands_over_is_paid_by_the_word(model: bytes, length: int) -> None:
    """Each node copies and hashes it whatever the answer: it costs what KECCAK256 costs, and never comes back.

    Else a contract with a megabyte in memory keeps all nodes hashing for the base gas.
    """
    lab = make_lab()
    for params in (b"", b"\1" * length):
        paid = 1_000 + 6 * -(-(length + len(params)) // 32)
        outcome = run(lab, ask(model, bytes(length), params))[0]
        assert outcome.receipt is not None
        assert (outcome.receipt.status, outcome.receipt.infer_gas) == (1, paid)


def test_bad_calldata_reverts() -> None:
    """Calldata that is no call of infer() reverts with the base price and no data."""
    lab = make_lab()
    good = a.infer_calldata(CHAIN_MODEL, INPUT)
    for bad in (b"", good[:3], b"\0\0\0\0" + good[4:], good[:140], good[:-33]):
        outcome = run(lab, KEY.sign(ASKER, data=bad))[0]
        assert outcome.receipt is not None
        assert outcome.receipt.infer_gas == 1_000
        assert (stored(lab, 0), stored(lab, 1)) == (1, 0)


def test_value_reverts() -> None:
    """INFER takes no coin: the call fails and the coin stays with the caller."""
    lab = make_lab()
    outcome = run(lab, ask(CHAIN_MODEL, value=5))[0]
    assert outcome.receipt is not None
    assert outcome.receipt.status == 1
    assert stored(lab, 0) == 1
    assert (lab.balance(ASKER), lab.balance(_core.INFER_ADDRESS)) == (5, 0)


@pytest.mark.parametrize("kind", [a.STATICCALL, a.DELEGATECALL, a.CALLCODE])
def test_every_kind_of_call_means_the_same(kind: int) -> None:
    """STATICCALL is allowed; DELEGATECALL and CALLCODE behave as CALL."""
    lab = make_lab(asker(kind=kind))
    run(lab, ask(CHAIN_MODEL))
    assert (stored(lab, 0), stored(lab, 2)) == (2, OK)


def test_a_transaction_may_call_infer_directly() -> None:
    """The precompile can be a transaction's destination."""
    lab = make_lab()
    outcome = run(lab, KEY.sign(_core.INFER_ADDRESS, data=a.infer_calldata(CHAIN_MODEL, INPUT)))[0]
    assert outcome.receipt is not None
    assert outcome.receipt.status == 1
    assert outcome.output is not None
    assert outcome.output[96:100] == INPUT[::-1]


def test_out_of_gas_never_reaches_the_model() -> None:
    """A call that cannot pay fails like any other call: no run, no dispatch, the transaction goes on."""
    gas_for_call = 40_000
    code = a.code(
        a.CALLDATASIZE, a.PUSH0, a.PUSH0, a.CALLDATACOPY, a.PUSH0, a.PUSH0, a.CALLDATASIZE, a.PUSH0, a.PUSH0,
        a.push(_core.INFER_ADDRESS), a.push(CHAIN_PRICE - 1), a.CALL, a.push(1), a.ADD, a.PUSH0, a.SSTORE,
    )  # fmt: skip
    for model in (CHAIN_MODEL, NEURON_MODEL):
        lab = make_lab(code)
        outcome = run(lab, ask(model, gas=21_000 + 10_000 + gas_for_call), missing="park")[0]
        assert outcome.receipt is not None
        assert (outcome.receipt.status, outcome.receipt.infer_gas) == (1, 0)
        assert stored(lab, 0) == 1
        assert lab.runs == []  # type: ignore[attr-defined]


def test_a_reverted_frame_keeps_its_record_and_its_price() -> None:
    """A call in a frame that reverts was answered all the same: its record stays and the neuron is paid."""
    reverting = asker(after=a.code(a.PUSH0, a.PUSH0, a.REVERT))
    lab = make_lab(reverting)
    outcome = run(lab, ask(NEURON_MODEL), answers=[answer(b"x", record=9)])[0]
    assert outcome.receipt is not None
    assert (outcome.receipt.status, outcome.used_records) == (0, [9])
    assert outcome.receipt.infer_gas == NEURON_PRICE - 31 * 16
    assert stored(lab, 0) == 0
    assert lab.balance(NEURON) > 0


def test_a_failed_frame_pays_too() -> None:
    """An invalid opcode after the answer burns the rest of the gas as ordinary gas."""
    lab = make_lab(asker(after=a.code(a.INVALID)))
    outcome = run(lab, ask(NEURON_MODEL, gas=500_000), answers=[answer(b"x")])[0]
    assert outcome.receipt is not None
    assert (outcome.receipt.status, outcome.receipt.gas_used) == (0, 500_000)
    assert outcome.receipt.infer_gas == NEURON_PRICE - 31 * 16


def twice(first: bytes, second: bytes, middle: bytes = b"") -> bytes:
    """Return a contract that makes two calls of INFER and stores both flags."""

    def one(calldata: bytes, at: int) -> bytes:
        return a.call(a.CALL, _core.INFER_ADDRESS, calldata) + a.code(a.push(1), a.ADD, a.push(at), a.SSTORE)

    return one(first, 0) + middle + one(second, 1)


def test_two_calls_park_one_after_the_other() -> None:
    """A transaction parks at its first unanswered call; ordinals count the neuron calls."""
    second = b"\4\3\2\1"
    lab = make_lab(twice(a.infer_calldata(NEURON_MODEL, INPUT), a.infer_calldata(NEURON_MODEL, second)))
    raw = KEY.sign(ASKER)
    executor = lab.open()
    answers = answer(b"one", record=4)
    first = executor.run(decode(raw), missing="park")[0].request
    assert first is not None
    assert (first.ordinal, first.input) == (0, INPUT)
    then = executor.run(decode(raw), [answers], missing="park")[0].request
    assert then is not None
    assert (then.ordinal, then.input) == (1, second)
    answers[then.request_hash] = (OK, b"two", NEURON_B, 2)
    outcome = executor.run(decode(raw), [answers], missing="park")[0]
    assert outcome.used_records == [4, 2]
    lab.commit(executor)
    assert lab.balance(NEURON) > 0
    assert lab.balance(NEURON_B) > 0


def test_one_record_serves_all_equal_calls_of_its_transaction() -> None:
    """The same request twice uses one record and pays twice."""
    same = a.infer_calldata(NEURON_MODEL, INPUT)
    lab = make_lab(twice(same, same))
    outcome = run(lab, KEY.sign(ASKER), answers=[answer(b"x", record=6)])[0]
    assert outcome.used_records == [6]
    assert outcome.receipt is not None
    assert outcome.receipt.infer_gas == 2 * (NEURON_PRICE - 31 * 16)


def test_nested_calls_reach_infer() -> None:
    """A contract called by a contract may ask, also inside a static call."""
    inner = b"\xa6" * 20
    ask_inside = a.call(a.STATICCALL, inner, a.infer_calldata(CHAIN_MODEL, INPUT))
    outer = ask_inside + a.code(a.PUSH0, a.SSTORE, a.RETURNDATASIZE, a.push(1), a.SSTORE)
    forward = a.code(
        a.CALLDATASIZE, a.PUSH0, a.PUSH0, a.CALLDATACOPY, a.PUSH0, a.PUSH0, a.CALLDATASIZE, a.PUSH0,
        a.push(_core.INFER_ADDRESS), a.GAS, a.STATICCALL, a.POP, a.return_data(),
    )  # fmt: skip
    lab = Lab({ASKER: (1, 0, outer, {}), inner: (1, 0, forward, {})}, rich=[KEY])
    KEY.nonce = 0
    lab.models = FACTS.get
    lab.infer = lambda *request: (OK, request[1])
    run(lab, KEY.sign(ASKER))
    assert (stored(lab, 0), stored(lab, 1)) == (1, 128)


def test_mac_budgets_of_a_block() -> None:
    """A transaction over what the block has left waits for the next; one over any block's never comes."""
    lab = make_lab(on_chain_mac_limit=60_000, neuron_mac_limit=4_000_002)
    executor = lab.open()
    third = ask(CHAIN_MODEL, b"\0\0\0\3", nonce=2)
    raws = [ask(CHAIN_MODEL, b"\0\0\0\1"), ask(CHAIN_MODEL, b"\0\0\0\2"), third]
    outcomes = executor.run(decode(*raws), missing="park")
    assert [outcome.code for outcome in outcomes] == [None, None, "infer.block_mac_limit"]
    assert (executor.on_chain_macs_left, executor.neuron_macs_left) == (0, 4_000_002)
    lab.commit(executor)
    assert run(lab, third)[0].kind == "included"
    greedy = make_lab(twice(a.infer_calldata(CHAIN_MODEL, b"aaaa"), a.infer_calldata(CHAIN_MODEL, b"bbbb")),
                      on_chain_mac_limit=50_000)  # fmt: skip
    assert run(greedy, KEY.sign(ASKER))[0].code == "infer.transaction_mac_limit"


def test_a_transaction_that_left_no_trace_spends_no_budget() -> None:
    """Parked transactions give their MACs back."""
    mixed = twice(a.infer_calldata(CHAIN_MODEL, INPUT), a.infer_calldata(NEURON_MODEL, INPUT))
    lab = make_lab(mixed)
    executor = lab.open()
    raw = KEY.sign(ASKER)
    for _ in range(3):
        assert executor.run(decode(raw), missing="park")[0].kind == "parked"
        assert executor.on_chain_macs_left == 50_000_000
    executor.run(decode(raw), [answer(b"x")])
    assert executor.on_chain_macs_left == 50_000_000 - 30_000
    assert executor.neuron_macs_left == 4_000_000_000 - 2_000_001


def test_replay_stops_running_what_leaves_no_trace() -> None:
    """Data full of unanswered calls costs a block's gas to run, not its length times that; the rest is not run."""
    lab = make_lab(twice(a.infer_calldata(CHAIN_MODEL, INPUT), a.infer_calldata(NEURON_MODEL, INPUT)))
    executor = lab.open(gas_limit=5_500_000)
    raw = KEY.sign(ASKER)
    outcomes = executor.run(
        decode(*[raw] * 100, OTHER.sign(ASKER, nonce=0), OTHER.sign(POOL, gas=400_000, nonce=0))
    )
    codes = [outcome.code for outcome in outcomes]
    assert codes == ["infer.no_record"] * 5 + ["tx.block_gas"] * 96 + [None]
    assert executor.on_chain_macs_left == 50_000_000 - 5 * 30_000
    assert executor.gas_left == 5_500_000 - 5 * 1_000_000 - 21_000
    assert executor.ordinary_gas_used == 21_000


def test_replay_stops_running_models_for_what_leaves_no_trace() -> None:
    """The MACs of transactions left out are gone: on-chain models run no more than one block's worth."""
    calls = twice(a.infer_calldata(CHAIN_MODEL, INPUT), a.infer_calldata(NEURON_MODEL, INPUT))
    lab = make_lab(calls, on_chain_mac_limit=70_000)
    executor = lab.open()
    codes = [outcome.code for outcome in executor.run(decode(*[KEY.sign(ASKER, nonce=0)] * 4))]
    assert codes == ["infer.no_record"] * 2 + ["infer.block_mac_limit"] * 2
    assert executor.on_chain_macs_left == 10_000
    assert executor.gas_left == 60_000_000 - 4 * 1_000_000


@pytest.mark.parametrize("missing", ["park", "skip"])
def test_nobody_is_asked_for_more_than_a_block_has(missing: "_core.Missing") -> None:
    """A neuron call that takes its transaction above any block's MACs is refused before it is parked or answered."""
    second = b"\4\3\2\1"
    lab = make_lab(twice(a.infer_calldata(NEURON_MODEL, INPUT), a.infer_calldata(NEURON_MODEL, second)),
                   neuron_mac_limit=4_000_001)  # fmt: skip
    answers = answer(b"one")
    raw = decode(KEY.sign(ASKER))
    assert lab.open().run(raw, [answers], missing=missing)[0].code == "infer.transaction_mac_limit"
    answers[_core.request_hash(NEURON_MODEL, second, b"", 32)] = (OK, b"two", NEURON_B, 1)
    assert lab.open().run(raw, [answers], missing=missing)[0].code == "infer.transaction_mac_limit"
    assert lab.open().run(raw, [answers], missing="unavailable")[0].used_records == [0]


def test_ordinary_gas_alone_counts_for_the_base_fee() -> None:
    """The header's gas is all gas; what moves the fee leaves INFER gas out."""
    lab = make_lab()
    executor = lab.open()
    receipt = executor.run(decode(ask(CHAIN_MODEL)))[0].receipt
    assert receipt is not None
    assert executor.ordinary_gas_used == receipt.gas_used - CHAIN_PRICE
    sealed = lab.commit(executor)
    assert (sealed.gas_used, sealed.ordinary_gas_used) == (receipt.gas_used, receipt.gas_used - CHAIN_PRICE)


@pytest.mark.parametrize("hook", ["models", "infer"])
def test_a_callback_that_raises_ends_the_block(hook: str) -> None:
    """The exception arrives unchanged, and what was half done can only be abandoned."""
    lab = make_lab()
    executor = lab.open()
    executor.run(decode(OTHER.sign(b"\x77" * 20, value=1)))

    def fail(*_: object) -> object:
        raise KeyError("no disk")

    setattr(lab, hook, fail)
    with pytest.raises(KeyError, match="no disk"):
        executor.run(decode(ask(CHAIN_MODEL)))
    with pytest.raises(_core.CoreError) as error:
        executor.seal()
    assert error.value.code == "core.order"
    executor.abandon()
    lab.models = FACTS.get
    lab.infer = lambda *_: (OK, b"fine")
    assert run(lab, ask(CHAIN_MODEL, nonce=0))[0].kind == "included"


@pytest.mark.parametrize("bad", [(0, bytes(33)), (0,), "text", (256, b"")])
def test_a_broken_answer_is_our_bug(bad: object) -> None:
    """What the contract of the callback forbids never becomes state."""
    lab = make_lab()
    lab.infer = lambda *_: bad
    with pytest.raises(_core.CoreError) as error:
        lab.open().run(decode(ask(CHAIN_MODEL)))
    assert error.value.code == "core.bad_answer"


def test_host_answers_are_asked_with_the_position() -> None:
    """The answer callback of the host stands in for the mapping, once for each request of a transaction."""
    lab = make_lab()
    asked = []

    def answer_call(position: int, request: _core.InferenceRequest) -> tuple[int, bytes, bytes, int]:
        asked.append((position, request.request_hash))
        return OK, b"host", NEURON, 5

    lab.host = _core.Host(models=FACTS.get, infer=lab.infer, block_hash=lambda _: None, answer=answer_call)  # type: ignore[arg-type]
    outcomes = run(lab, OTHER.sign(b"\x77" * 20), ask(NEURON_MODEL))
    assert outcomes[1].used_records == [5]
    assert asked == [(1, _core.request_hash(NEURON_MODEL, INPUT, b"", 32))]


def opcode_program(model: bytes, max_output: int, output_at: int = 64) -> bytes:
    """Return a contract that asks by opcode and stores status, return data size, and both copies of the output."""
    return a.code(
        a.store_bytes(INPUT), a.push(output_at), a.push(max_output), a.PUSH0, a.PUSH0, a.push(4), a.PUSH0,
        a.push(model), a.INFER, a.push(1), a.ADD, a.PUSH0, a.SSTORE, a.RETURNDATASIZE, a.push(1), a.SSTORE,
        a.push(output_at), a.MLOAD, a.push(2), a.SSTORE, a.RETURNDATASIZE, a.PUSH0, a.push(128), a.RETURNDATACOPY,
        a.push(128), a.MLOAD, a.push(3), a.SSTORE,
    )  # fmt: skip


def test_the_opcode_means_the_same() -> None:
    """Status on the stack, output in memory and as return data, the same price, the same record."""
    lab = make_lab(opcode_program(NEURON_MODEL, 32), infer_opcode=a.INFER)
    outcome = run(lab, KEY.sign(ASKER), answers=[answer(b"opcode")])[0]
    assert outcome.receipt is not None
    assert (outcome.receipt.infer_gas, outcome.used_records) == (NEURON_PRICE - 26 * 16, [0])
    assert (stored(lab, 0), stored(lab, 1)) == (OK + 1, 6)
    assert stored(lab, 2) == stored(lab, 3) == int.from_bytes(b"opcode".ljust(32, b"\0"), "big")


def test_the_opcode_parks_refuses_and_runs_out_of_gas() -> None:
    """Everything that the precompile may do, the opcode does; out of gas fails the frame."""
    lab = make_lab(opcode_program(NEURON_MODEL, 32), infer_opcode=a.INFER)
    executor = lab.open()
    parked = executor.run(decode(KEY.sign(ASKER, nonce=0)), missing="park")[0]
    assert parked.request is not None
    assert parked.request.request_hash == _core.request_hash(NEURON_MODEL, INPUT, b"", 32)
    poor = executor.run(decode(KEY.sign(ASKER, nonce=0, gas=24_000)), missing="park")[0]
    assert poor.receipt is not None
    assert (poor.receipt.status, poor.receipt.gas_used, poor.receipt.infer_gas) == (0, 24_000, 0)
    unknown = make_lab(opcode_program(b"\x99" * 32, 32), infer_opcode=a.INFER)
    run(unknown, KEY.sign(ASKER))
    assert (stored(unknown, 0), stored(unknown, 1)) == (UNKNOWN_MODEL + 1, 0)


def test_the_opcode_is_off_unless_configured() -> None:
    """Without configuration 0xb0 is what it is in Ethereum: invalid."""
    lab = make_lab(opcode_program(CHAIN_MODEL, 32))
    outcome = run(lab, KEY.sign(ASKER))[0]
    assert outcome.receipt is not None
    assert outcome.receipt.status == 0
    with pytest.raises(ValueError, match="meaning already"):
        make_lab(infer_opcode=a.ADD)


def test_max_output_zero_and_prices_that_overflow() -> None:
    """The least and the most a call can ask: nothing is divided, nothing wraps."""
    lab = make_lab(infer_byte_gas=2**62)
    assert lab.rules.infer_gas(1, 2**64 - 1, 2**32 - 1) == 2**64 - 1
    outcome = run(lab, ask(NEURON_MODEL, gas=200_000), missing="park")[0]
    assert outcome.receipt is not None
    assert (outcome.receipt.status, stored(lab, 0)) == (0, 0)
    lab = make_lab()
    lab.models = lambda _: (0, 5, None, 0, True)
    lab.infer = lambda *_: (OK, b"")
    outcome = run(lab, ask(CHAIN_MODEL, b"any length at all", max_output=0))[0]
    assert (stored(lab, 1), stored(lab, 2)) == (96, OK)
    assert outcome.receipt is not None
    assert outcome.receipt.infer_gas == BASE_GAS + 1
