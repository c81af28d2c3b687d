"""What a model call costs besides the model: on the chain's own tier, and parked and replayed on the neurons'.

A small contract asks as often as it is told. The overhead of a call is the time of transactions that ask, less that
of the same transactions asking nothing, less the time inside the model.
"""

import time
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Final

from bench.measuring import Figure
from bench.payload import distinct_images
from bench.recorded_bitcoin import artifact_reveals
from bench.sequencing import BenchSequencer
from bench.world import NEURON, decode_all, make_world
from primitives.curve import address_of
from primitives.ids import Address, ModelId
from vm.executor import Executor
from vm.genesis import GenesisAccount
from vm.inference import engine
from vm.inference.artifact import parse_announcement, parse_artifact
from vm.inference.wire import Request, Status, sign_answer
from vm.predeploys import INFER
from vm.stored_models import StoredModels
from vm.types import InferenceRecord

if TYPE_CHECKING:
    from vm._core import Transaction
    from vm.types import Outcome

ASKER: Final = Address(b"\xa5" * 20)
CALLS: Final = 40
"""Calls of one transaction on the chain's tier: they must fit the block's multiply-accumulate limit."""
PARKED: Final = 200
"""Transactions with one call each on the neurons' tier."""
ROUNDS: Final = 7
GAS: Final = 100_000
GAS_A_CALL: Final = 20_000
_SELECTOR: Final = bytes.fromhex("2beefa08")
_IMAGE_BYTES: Final = 64
_IMAGE_AT: Final = 4 + 5 * 32
"""Where the image begins in the calldata of `infer`."""


def asker_code() -> bytes:
    """Return a contract that takes u256 count | calldata of `infer`, and asks that often.

    Before each call it sets two corner pixels from the counter, so that no call repeats another. Answers are dropped.
    """
    begin = bytes.fromhex("602036036020600037600035")  # calldata[32:] to memory; the counter
    pixels = bytes.fromhex("6011810660a453" + "6011601182040660a553")  # counter % 17, counter / 17 % 17
    call = bytes.fromhex("6000600060203603600073") + INFER + bytes.fromhex("5afa50")
    step = bytes.fromhex("60019003") + bytes([0x60, len(begin), 0x56])
    end = len(begin) + 6 + len(pixels) + len(call) + len(step)
    test = bytes([0x5B, 0x80, 0x15, 0x60, end, 0x57])
    return begin + test + pixels + call + step + b"\x5b\x00"


def ask(model: ModelId, image: bytes, times: int) -> bytes:
    """Return calldata for the asking contract."""
    words = [4 * 32, 4 * 32 + 32 + _IMAGE_BYTES, 21, _IMAGE_BYTES]
    head, tail = words[:3], words[3:]
    encoded = model + b"".join(each.to_bytes(32, "big") for each in (*head, *tail)) + image + bytes(32)
    return times.to_bytes(32, "big") + _SELECTOR + encoded


class TimedModels(StoredModels):
    """The node's models, with the time spent in them added up."""

    seconds = 0.0

    def run_on_chain(
        self, model_id: ModelId, input_bytes: bytes, params: bytes, max_output: int
    ) -> tuple[int, bytes]:
        """Run, and add the time."""
        started = time.perf_counter()
        answer = super().run_on_chain(model_id, input_bytes, params, max_output)
        self.seconds += time.perf_counter() - started
        return answer


class AskingChain:
    """A chain on which both digit models are registered, and the asking contract stands."""

    def __init__(self) -> None:
        """Inscribe and register the models."""
        shipped = resources.files("vm.inference.models")
        on_chain = (shipped / "digits-onchain.bitai").read_bytes()
        announced = (shipped / "digits-neuron.announcement.bitai").read_bytes()
        self.on_chain = parse_artifact(on_chain).model_id
        self.neuron = parse_announcement(announced).model_id
        self._artifact = parse_artifact((shipped / "digits-neuron.bitai").read_bytes())
        asker = GenesisAccount(ASKER, nonce=1, code=asker_code())
        world = make_world(senders=PARKED, holders=0, accounts=(asker,))
        self.config, self.signers = world.config, world.signers
        made = BenchSequencer(world)
        uploads = [
            each
            for sequence, artifact in enumerate((on_chain, announced))
            for each in artifact_reveals(made.config, artifact, sequence)
        ]
        made.mine(uploads)
        made.mine()
        made.make()
        made.make()
        self.models = TimedModels(made.store)
        self.executor = Executor(made.config.chain_spec(), made.store, self.models)

    def answer(self, image: bytes) -> bytes:
        """Return what the neuron model says of an image."""
        return engine.run(self._artifact, image, b"", 21).output

    def sign(self, model: ModelId, images: Sequence[bytes], times: int) -> "list[Transaction]":
        """Return decoded transactions that ask, one an image, each of another sender."""
        gas = GAS + GAS_A_CALL * times
        raws = []
        for signer, image in zip(self.signers, images, strict=False):
            signer.nonce = 0
            raws.append(signer.sign(ASKER, gas, data=ask(model, image, times)))
        return decode_all(self.executor, raws)

    def run(
        self, transactions: "Sequence[Transaction]", records: Sequence[InferenceRecord] = ()
    ) -> "tuple[float, list[Outcome]]":
        """Run transactions in a block that is dropped again; return the seconds and the outcomes."""
        builder = self.executor.open(self.executor.head.timestamp + 2, self.executor.head.origin)
        started = time.perf_counter()
        outcomes = builder.add(transactions, records)
        seconds = time.perf_counter() - started
        builder.abandon()
        return seconds, outcomes

    def records(self, outcomes: "Sequence[Outcome]") -> list[InferenceRecord]:
        """Return what the neuron answers to parked transactions."""
        found = []
        for index, outcome in enumerate(outcomes):
            request = outcome.request
            assert request is not None, outcome
            asked = Request(self.neuron, request.input, b"", request.max_output)
            signed = sign_answer(NEURON, self.config.identity, asked, (Status.OK, self.answer(request.input)))
            height = self.executor.head.origin.height
            found.append(
                InferenceRecord(
                    tx_index=index,
                    request_hash=signed.request_hash,
                    status=int(signed.status),
                    output=signed.output,
                    neuron=address_of(NEURON),
                    signature=signed.signature,
                    ask_height=height,
                )
            )
        return found


def measure_infer(chain: AskingChain) -> Iterator[Figure]:
    """Measure both tiers."""
    yield from _on_chain(chain)
    yield from _parked(chain)


def _on_chain(chain: AskingChain) -> Iterator[Figure]:
    image = distinct_images(1)
    silent, asking = chain.sign(chain.on_chain, image, 0), chain.sign(chain.on_chain, image, CALLS)
    overheads, inside = [], []
    for _ in range(ROUNDS + 1):
        base, outcomes = chain.run(silent)
        assert outcomes[0].kind == "included", outcomes
        chain.models.seconds = 0.0
        spent, outcomes = chain.run(asking)
        assert outcomes[0].kind == "included", outcomes
        assert chain.models.seconds, "no model ran"
        overheads.append(1e6 * (spent - base - chain.models.seconds) / CALLS)
        inside.append(1e6 * chain.models.seconds / CALLS)
    yield _micros(
        "infer_on_chain", "INFER on the chain's tier, without the model's run", overheads[1:], aim=50
    )
    yield _micros("infer_model", "the digit model's run itself, for comparison", inside[1:])


def _parked(chain: AskingChain) -> Iterator[Figure]:
    images = distinct_images(PARKED)
    silent, asking = chain.sign(chain.neuron, images, 0), chain.sign(chain.neuron, images, 1)
    records = chain.records(chain.run(asking)[1])
    parks, replays = [], []
    for _ in range(ROUNDS + 1):
        base, outcomes = chain.run(silent)
        assert {each.kind for each in outcomes} == {"included"}, outcomes
        park, outcomes = chain.run(asking)
        assert {each.kind for each in outcomes} == {"parked"}, outcomes
        replay, outcomes = chain.run(asking, records)
        assert {each.kind for each in outcomes} == {"included"}, outcomes
        parks.append(1e6 * park / PARKED)
        replays.append(1e6 * (replay - base) / PARKED)
    both = [park + replay for park, replay in zip(parks, replays, strict=True)]
    yield _micros("infer_park", "INFER on the neurons' tier: the run that parks", parks[1:])
    yield _micros(
        "infer_replay", "and the run with its record, signature checked (every node pays this)", replays[1:]
    )
    yield _micros("infer_both", "both together, without the neuron", both[1:], aim=50)


def _micros(key: str, name: str, values: Sequence[float], aim: float | None = None) -> Figure:
    return Figure(key, name, "us a call", tuple(values), aim, low_is_good=True)
