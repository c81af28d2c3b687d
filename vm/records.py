"""Inference records: their encoding, and when one answers a call.

A record repeats neither model nor input: its request hash binds both. So it is judged at the call it is meant
for, by who signed, whether that neuron was to be asked at the ask height, and whether the output can be one
of that model. Spec: docs/spec/transactions.md.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from primitives.codec import Reader, Writer
from primitives.curve import ECDSA_BYTES
from primitives.errors import InvalidInput
from primitives.ids import ADDRESS_BYTES, HASH_BYTES, Address, Hash32, L1Hash
from vm.inference.manifest import Profile
from vm.inference.wire import MAX_OUTPUT_BYTES, SignedAnswer, Status, recover_neuron
from vm.registry import ModelFacts, NeuronRegistry, assigned_neurons
from vm.types import InferenceRecord

ASK_WINDOW: Final = 6
"""L1 blocks that the ask height may lie below the block's origin."""

OriginHashes: TypeAlias = Callable[[int], L1Hash | None]
"""L1 height -> hash of that origin on this chain, or None where no epoch looked back to it."""


class RecordJudge(NamedTuple):
    """What a block's records are judged by: the chain, the block's origin height, the neurons."""

    identity: Hash32
    origin_height: int
    origin_hashes: OriginHashes
    neurons: NeuronRegistry

    def require_valid(self, record: InferenceRecord, model: ModelFacts) -> None:
        """Refuse a record that does not answer a call of this model with its request hash.

        Raises InvalidInput `record.status` (only OK needs a neuron's word: every node finds BAD_INPUT and
        OUT_OF_CONTEXT itself), `record.ask_height`, `record.output_length`, `record.not_assigned`,
        `record.wrong_signer`, `signature.*`.
        """
        if record.status != Status.OK:
            raise InvalidInput("record.status", "a record answers OK or not at all", status=record.status)
        beacon = self._beacon(record.ask_height)
        _require_output(record, model)
        eligible = self.neurons.eligible(model.model_id, record.ask_height)
        if record.neuron not in assigned_neurons(eligible, beacon, record.request_hash):
            raise InvalidInput(
                "record.not_assigned", "this neuron was not to answer", neuron=record.neuron.hex()
            )
        answer = SignedAnswer(record.request_hash, Status.OK, record.output, record.signature)
        signer = recover_neuron(self.identity, model.model_id, answer)
        if signer != record.neuron:
            raise InvalidInput("record.wrong_signer", "another key signed this", signer=signer.hex())

    def first_valid(
        self, records: Sequence[tuple[int, InferenceRecord]], model: ModelFacts
    ) -> tuple[int, InferenceRecord] | None:
        """Return the first record that stands, with the index it came with."""
        for index, record in records:
            try:
                self.require_valid(record, model)
            except InvalidInput:
                continue  # as good as absent; of several for one call, any may stand
            return index, record
        return None

    def _beacon(self, ask_height: int) -> L1Hash:
        if not 0 <= self.origin_height - ask_height <= ASK_WINDOW:
            raise InvalidInput(
                "record.ask_height", "asked too long ago, or later than the block", height=ask_height
            )
        beacon = self.origin_hashes(ask_height)
        if beacon is None:
            raise InvalidInput("record.ask_height", "before this chain", height=ask_height)
        return beacon


def _require_output(record: InferenceRecord, model: ModelFacts) -> None:
    exact = model.profile == Profile.TENSOR
    length = len(record.output)
    if length > model.output_bytes or (exact and length != model.output_bytes):
        raise InvalidInput("record.output_length", "not an output of this model", length=length)


def encode_record(record: InferenceRecord) -> bytes:
    """Return what the header commits to and the body stores.

    tx index 4 | request hash 32 | status 1 | ask height 8 | neuron 20 | signature 65 | output: uvarint
    length, bytes.
    """
    writer = Writer()
    writer.u32(record.tx_index)
    writer.raw(record.request_hash)
    writer.u8(record.status)
    writer.u64(record.ask_height)
    writer.raw(record.neuron)
    writer.raw(record.signature)
    writer.byte_string(record.output)
    return writer.finish()


def decode_record(data: bytes) -> InferenceRecord:
    """Read one record; raises InvalidInput `codec.*`."""
    reader = Reader(data)
    tx_index, request_hash = reader.u32(), Hash32(reader.take(HASH_BYTES))
    status, ask_height = reader.u8(), reader.u64()
    neuron, signature = Address(reader.take(ADDRESS_BYTES)), reader.take(ECDSA_BYTES)
    record = InferenceRecord(
        tx_index=tx_index,
        request_hash=request_hash,
        status=status,
        output=reader.byte_string(MAX_OUTPUT_BYTES),
        neuron=neuron,
        signature=signature,
        ask_height=ask_height,
    )
    reader.done()
    return record
