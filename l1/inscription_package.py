"""Build the transactions of one inscription: a commit that funds one output per leaf, and a reveal of each.

Everything is signed deterministically, so the same row with the same coins gives the same txids. Each reveal
pays its change back to the wallet, which leaves room to sign it again with a higher fee. The internal key of
the commit's outputs is the wallet's, so that money in a commit whose reveal never comes can be taken back by
key path.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from l1.coin_choice import (
    DUST_SATS,
    FRAME_WEIGHT,
    KEY_SPEND_WEIGHT,
    TAPROOT_OUTPUT_WEIGHT,
    Choice,
    Coin,
    Need,
    choose_coins,
)
from l1.fees import INCREMENTAL_RATE, VBYTES_PER_KVB, fee_of_weight
from l1.keys import WalletKey, sign_key_path
from l1.wallet import SignedTransaction, read_signed_transaction
from primitives.bitcoin.script import encode_compact_size
from primitives.bitcoin.taproot import (
    TapLeaf,
    TaprootOutput,
    build_taproot,
    sighash_taproot,
    sign_sighash,
)
from primitives.bitcoin.transaction import MAX_STANDARD_WEIGHT, Transaction, TxIn, TxOut, decode_transaction
from primitives.errors import InvalidInput, InvariantViolation, Rejected
from primitives.ids import OutPoint, Txid

MAX_LEAVES: Final = 100
"""Keeps the commit's output count in one byte with room for change, and its size small."""
_INPUT_WEIGHT: Final = 164
_WITNESS_FRAME: Final = 1 + 1 + 64 + 1 + 33
"""Item count, the signature with its length, and a control block of depth 0 with its length."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The wallet's key, and the key that the leaves' CHECKSIG asks for."""

    wallet: WalletKey
    signer_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PackagePlan:
    """How to build a package. Rates in sats per kvB.

    `headroom_percent` is put into each reveal's value on top of its fee, for later bumps; it comes back as
    change. Change of the commit is split into `lanes` coins when each is at least `lane_sats`.
    """

    rate: int
    headroom_percent: int = 100
    lanes: int = 1
    lane_sats: int = 0
    least_fee_sats: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed version of a row; all versions spend the same first coin, so only one can confirm."""

    commit: SignedTransaction
    reveals: tuple[SignedTransaction, ...]
    rate: int
    signed_height: int
    given_up_sats: int

    @property
    def fee_sats(self) -> int:
        """Fees of the commit and all reveals."""
        return self.commit.fee_sats + sum(reveal.fee_sats for reveal in self.reveals)

    @property
    def vbytes(self) -> int:
        """Virtual size of the commit and all reveals."""
        return self.commit.vbytes + sum(reveal.vbytes for reveal in self.reveals)


def weigh_reveal(leaf: bytes) -> int:
    """Return the weight of the transaction that reveals a leaf."""
    witness = _WITNESS_FRAME + len(encode_compact_size(len(leaf))) + len(leaf)
    return FRAME_WEIGHT + _INPUT_WEIGHT + TAPROOT_OUTPUT_WEIGHT + witness


def estimate_vbytes(leaves: Sequence[bytes]) -> int:
    """Return about how many vbytes a package with one funding coin and one change output takes."""
    outputs = (len(leaves) + 1) * TAPROOT_OUTPUT_WEIGHT
    weight = FRAME_WEIGHT + KEY_SPEND_WEIGHT + outputs + sum(weigh_reveal(leaf) for leaf in leaves)
    return weight // 4 + len(leaves) + 1


def require_standard_leaves(leaves: Sequence[bytes]) -> None:
    """Refuse what no node would relay.

    Raises InvalidInput `inscription.no_leaves`, `inscription.too_many`, `inscription.too_large`.
    """
    if not leaves:
        raise InvalidInput("inscription.no_leaves", "there is nothing to inscribe")
    if len(leaves) > MAX_LEAVES:
        raise InvalidInput("inscription.too_many", "too many leaves for one commit", count=len(leaves))
    for leaf in leaves:
        if weigh_reveal(leaf) > MAX_STANDARD_WEIGHT:
            raise InvalidInput("inscription.too_large", "the reveal would not be standard", size=len(leaf))


def build_package(
    keys: SigningKeys,
    leaves: Sequence[bytes],
    coins: Sequence[Coin],
    plan: PackagePlan,
    *,
    height: int,
    required: Sequence[Coin] = (),
) -> Attempt:
    """Return a signed commit and its reveals, paid from `coins`.

    With too few coins for the headroom a quarter of it is tried, then none. Raises Rejected
    `wallet.insufficient_funds` when even that is too much.
    """
    outputs = [build_taproot(keys.wallet.internal_key, TapLeaf(leaf)) for leaf in leaves]
    fees = [fee_of_weight(weigh_reveal(leaf), plan.rate) for leaf in leaves]
    values, choice = _fund(fees, coins, plan, required)
    funded = [TxOut(value, output.script) for value, output in zip(values, outputs, strict=True)]
    change = [TxOut(value, keys.wallet.script) for value in _split_change(choice.change_sats, plan)]
    unsigned = Transaction(tuple(TxIn(coin.outpoint) for coin in choice.coins), (*funded, *change))
    commit = sign_key_path(
        keys.wallet, unsigned, [TxOut(c.value_sats, keys.wallet.script) for c in choice.coins]
    )
    fee = choice.total_sats - sum(output.value for output in commit.outputs)
    _require_fee(fee, commit, plan, choice.given_up_sats)
    reveals = [
        _sign_reveal(keys, output, OutPoint(commit.txid, index), (funded[index], fees[index]))
        for index, output in enumerate(outputs)
    ]
    signed = read_signed_transaction(commit.raw, fee, keys.wallet.script)
    return Attempt(signed, tuple(reveals), plan.rate, height, choice.given_up_sats)


def bump_reveals(
    keys: SigningKeys, attempt: Attempt, rate: int, *, height: int, confirmed: AbstractSet[Txid]
) -> Attempt | None:
    """Return the attempt with its unconfirmed reveals signed again at a higher rate, the commit untouched.

    While the commit is unconfirmed too, the first reveal also pays what the commit lacks. None when the value
    in the commit's outputs leaves no room for a replacement that nodes would take.
    """
    shortfall = 0
    if attempt.commit.txid not in confirmed:
        shortfall = max(fee_of_weight(attempt.commit.weight, rate) - attempt.commit.fee_sats, 0)
    reveals: list[SignedTransaction] = []
    for reveal in attempt.reveals:
        replacement = None
        if reveal.txid not in confirmed:
            fee = max(fee_of_weight(reveal.weight, rate) + shortfall, _least_replacement_fee(reveal))
            replacement = _replace_reveal(keys, attempt.commit, reveal, fee)
        if replacement is not None:
            shortfall = 0
        reveals.append(replacement or reveal)
    if tuple(reveals) == attempt.reveals:
        return None
    return Attempt(attempt.commit, tuple(reveals), rate, height, attempt.given_up_sats)


def leaf_of_reveal(reveal: SignedTransaction) -> bytes:
    """Return the leaf script that a reveal of ours shows."""
    return decode_transaction(reveal.raw).inputs[0].witness[1]


def _replace_reveal(
    keys: SigningKeys, commit: SignedTransaction, reveal: SignedTransaction, wanted_fee_sats: int
) -> SignedTransaction | None:
    """Return the reveal at the wanted fee or at what its value allows, None when that replaces nothing."""
    funded = decode_transaction(commit.raw).outputs[reveal.inputs[0].vout]
    fee = min(wanted_fee_sats, funded.value - DUST_SATS)
    if fee < _least_replacement_fee(reveal):
        return None
    output = build_taproot(keys.wallet.internal_key, TapLeaf(leaf_of_reveal(reveal)))
    return _sign_reveal(keys, output, reveal.inputs[0], (funded, fee))


def _least_replacement_fee(reveal: SignedTransaction) -> int:
    return reveal.fee_sats - (-reveal.vbytes * INCREMENTAL_RATE // VBYTES_PER_KVB)


def _fund(
    fees: list[int], coins: Sequence[Coin], plan: PackagePlan, required: Sequence[Coin]
) -> tuple[list[int], Choice]:
    """Return what to put into the reveals' outputs, and the coins that pay for it: as much headroom as there is."""
    for percent in (plan.headroom_percent, plan.headroom_percent // 4):
        rooms = _headroom(fees, replace(plan, headroom_percent=percent))
        values = [fee + room + DUST_SATS for fee, room in zip(fees, rooms, strict=True)]
        try:
            return values, _choose(values, coins, plan, required)
        except Rejected:
            continue
    values = [fee + DUST_SATS for fee in fees]
    return values, _choose(values, coins, plan, required)


def _headroom(fees: list[int], plan: PackagePlan) -> list[int]:
    """Return what to put aside in each output for bumps; the first one's may have to carry the commit too."""
    commit_weight = FRAME_WEIGHT + KEY_SPEND_WEIGHT + TAPROOT_OUTPUT_WEIGHT * (len(fees) + 1)
    carried = [fees[0] + fee_of_weight(commit_weight, plan.rate), *fees[1:]]
    return [fee * plan.headroom_percent // 100 for fee in carried]


def _choose(values: list[int], coins: Sequence[Coin], plan: PackagePlan, required: Sequence[Coin]) -> Choice:
    need = Need(
        outputs_sats=sum(values),
        weight=FRAME_WEIGHT + TAPROOT_OUTPUT_WEIGHT * len(values),
        rate=plan.rate,
        least_fee_sats=plan.least_fee_sats,
    )
    return choose_coins(coins, need, required)


def _split_change(change_sats: int, plan: PackagePlan) -> list[int]:
    """Return the change as one coin, or as several lanes when it is large enough to pay for them."""
    if change_sats == 0:
        return []
    extra_fee = fee_of_weight(TAPROOT_OUTPUT_WEIGHT, plan.rate)
    least = max(plan.lane_sats, DUST_SATS)
    lanes = max(min(plan.lanes, (change_sats + extra_fee) // (least + extra_fee)), 1)
    rest = change_sats - (lanes - 1) * extra_fee
    share = rest // lanes
    return [rest - share * (lanes - 1), *[share] * (lanes - 1)]


def _sign_reveal(
    keys: SigningKeys, output: TaprootOutput, outpoint: OutPoint, funding: tuple[TxOut, int]
) -> SignedTransaction:
    """Return the reveal of an output's only leaf; `funding` is the output it spends and the fee it pays."""
    spent, fee = funding
    leaf = output.leaves[0]
    change = TxOut(spent.value - fee, keys.wallet.script)
    unsigned = Transaction((TxIn(outpoint),), (change,))
    signature = sign_sighash(keys.signer_secret, sighash_taproot(unsigned, 0, [spent], leaf_hash=leaf.hash))
    signed = unsigned.with_witness(0, (signature, leaf.script, output.control_block(0)))
    return read_signed_transaction(signed.raw, fee, keys.wallet.script)


def _require_fee(fee: int, commit: Transaction, plan: PackagePlan, given_up_sats: int) -> None:
    """Stop before a commit leaves the house that pays too little, or more than change and rounding explain."""
    least = fee_of_weight(commit.weight, plan.rate)
    lanes = fee_of_weight(TAPROOT_OUTPUT_WEIGHT * (plan.lanes - 1), plan.rate)
    most = max(least, plan.least_fee_sats + lanes) + given_up_sats + len(commit.outputs)
    if not least <= fee <= most:
        message = "a commit pays another fee than was worked out"
        raise InvariantViolation("inscription.fee", message, fee=fee, least=least, most=most)
