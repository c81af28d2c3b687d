"""How many bytes of Bitcoin a transaction takes: through the batch codec and zstd, beside raw RLP and zstd.

Channels hold 2,000 transactions of 400 senders in 20 blocks: amounts of two to four digits with a varying number of
zeros, fees as wallets make them of a moving base fee. Recipients that are "seen" stand elsewhere in the same channel,
"first-seen" ones nowhere before. What an envelope costs besides is a figure of its own.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bench.measuring import Figure
from bench.recorded_bitcoin import channel_content, channel_reveals
from bench.workload import GWEI, Signer, make_holders, make_signers, transfer_call
from bench.world import NEURON, START, START_TIME, TOKEN_ADDRESS, make_world
from bitai.demo import held_out_images
from primitives.curve import address_of
from primitives.ids import Address
from rollup.batch.channel import compress_batch
from rollup.batch.codec import ORIGIN_HASH_BYTES, BatchBlock
from rollup.config import RollupConfig
from vm.inference.wire import Request, Status, sign_answer
from vm.types import InferenceRecord

CHANNEL: Final = 2_000
SENDERS: Final = 400
SEEN: Final = 300
PER_BLOCK: Final = 100
RECORDS: Final = 1_000
SEED: Final = 20_261_123

Pay = Callable[[Signer, Address, random.Random], bytes]


def measure_payload(digits: tuple[bytes, Callable[[bytes], bytes]]) -> Iterator[Figure]:
    """Measure bytes a transaction; `digits` is the neuron model's id and what it answers to an image."""
    config = make_world(senders=1, holders=0).config
    for key, name, pay in (
        ("plain", "plain transfer", _pay_coin),
        ("erc20", "ERC-20 transfer", _pay_token),
    ):
        for seen in (True, False):
            raws = _transfers(pay, seen=seen)
            words = "to a seen recipient" if seen else "to a first-seen recipient"
            suffix = "" if seen else "_new"
            yield _bytes(f"bytes_{key}{suffix}", f"{name} {words}", len(_content(config, raws)) / CHANNEL)
            plain = compress_batch(b"".join(raws))
            yield _bytes(f"bytes_{key}{suffix}_rlp", f"{name} {words}, raw RLP + zstd", len(plain) / CHANNEL)
    yield from _inference(config, digits)
    content = _content(config, _transfers(_pay_coin, seen=True))
    shown = sum(len(each.raw) for each in channel_reveals(config, 1, content)) - len(content)
    yield _bytes("bytes_channel", "an envelope besides its payload, reveal included", shown)


def _bytes(key: str, name: str, size: float) -> Figure:
    return Figure(key, name, "bytes", (float(size),), low_is_good=True)


def _transfers(pay: Pay, *, seen: bool) -> list[bytes]:
    chance = random.Random(SEED)  # noqa: S311 -- the same workload at every run
    signers = make_signers(SENDERS, b"payer")
    for signer in signers:
        signer.nonce = chance.randrange(200)
    known, new = make_holders(SEEN, b"seen"), make_holders(CHANNEL, b"new")
    return [
        pay(chance.choice(signers), chance.choice(known) if seen else new[index], chance)
        for index in range(CHANNEL)
    ]


def _amount(chance: random.Random, *, least_zeros: int) -> int:
    """People send amounts of few digits."""
    digits, zeros = chance.randint(2, 4), chance.randint(least_zeros, least_zeros + 4)
    return chance.randrange(1, int(10**digits)) * int(10**zeros)


def _fee_cap(chance: random.Random) -> int:
    """Wallets offer twice a base fee that moves, and a tip."""
    return 2 * (GWEI + chance.randrange(0, GWEI // 8, GWEI // 1_000)) + GWEI // 1_000


def _pay_coin(signer: Signer, to: Address, chance: random.Random) -> bytes:
    return signer.sign(to, 21_000, value=_amount(chance, least_zeros=12), fee_cap_wei=_fee_cap(chance))


def _pay_token(signer: Signer, to: Address, chance: random.Random) -> bytes:
    gas = chance.choice((34_500, 51_700)) * 6 // 5
    data = transfer_call(to, _amount(chance, least_zeros=4))
    return signer.sign(TOKEN_ADDRESS, gas, data=data, fee_cap_wei=_fee_cap(chance))


def _content(config: RollupConfig, raws: Sequence[bytes], records: Sequence[InferenceRecord] = ()) -> bytes:
    """Return the channel that holds these transactions, and a record for each of the first ones."""
    blocks = []
    for number, start in enumerate(range(0, len(raws), PER_BLOCK)):
        block = BatchBlock(
            START_TIME + 2 * number,
            START.height,
            START.hash[:ORIGIN_HASH_BYTES],
            tuple(raws[start : start + PER_BLOCK]),
            tuple(records[start : start + PER_BLOCK]),
        )
        blocks.append(block)
    return channel_content(config, 1, blocks)


def _inference(config: RollupConfig, digits: tuple[bytes, Callable[[bytes], bytes]]) -> Iterator[Figure]:
    """Compare a channel of model calls with and without the records that answer them."""
    model_id, answer = digits
    chance = random.Random(SEED)  # noqa: S311 -- as above
    signers, contract = make_signers(SENDERS, b"asker"), make_holders(1, b"contract")[0]
    raws, records = [], []
    for index, image in enumerate(distinct_images(RECORDS)):
        raws.append(chance.choice(signers).sign(contract, 200_000, data=model_id + image))
        request = Request(model_id, image, b"", 21)  # type: ignore[arg-type]  # a model id is 32 bytes
        output = answer(image)
        signed = sign_answer(NEURON, config.identity, request, (Status.OK, output))
        records.append(
            InferenceRecord(
                tx_index=index % PER_BLOCK,
                request_hash=signed.request_hash,
                status=int(signed.status),
                output=output,
                neuron=address_of(NEURON),
                signature=signed.signature,
                ask_height=START.height - chance.randrange(2),
            )
        )
    without, with_records = _content(config, raws), _content(config, raws, records)
    added = (len(with_records) - len(without)) / RECORDS
    yield _bytes("bytes_record", "inference record of the digit model (neuron tier)", added)


def distinct_images(count: int) -> list[bytes]:
    """Return held-out images, no two alike: two corner pixels count."""
    images = [image for image, _ in held_out_images()]
    return [bytes([index % 17, index // 17 % 17]) + images[index % len(images)][2:] for index in range(count)]
