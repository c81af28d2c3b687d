"""Taproot: script trees, output keys, control blocks and the messages that signatures sign (BIP 341, 342)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from primitives.bitcoin.script import encode_compact_size, p2tr_script
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.curve import schnorr_sign, tweak_public, tweak_secret
from primitives.errors import InvalidInput
from primitives.hashes import sha256, tagged_hash
from primitives.ids import Hash32, XOnlyKey

TAPSCRIPT: Final = 0xC0
"""The leaf version of tapscript (BIP 342)."""
MAX_DEPTH: Final = 128
UNSPENDABLE_KEY: Final = XOnlyKey(
    bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
)
"""BIP 341's point whose discrete logarithm nobody knows: an internal key that closes the key path."""
NO_CODESEPARATOR: Final = 0xFFFFFFFF

SIGHASH_DEFAULT: Final = 0x00
SIGHASH_ALL: Final = 0x01
SIGHASH_NONE: Final = 0x02
SIGHASH_SINGLE: Final = 0x03
SIGHASH_ANYONECANPAY: Final = 0x80
_HASH_TYPES: Final = frozenset({0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83})
_OUTPUT_BITS: Final = 0x03


@dataclass(frozen=True)
class TapLeaf:
    """One script of a tree."""

    script: bytes
    version: int = TAPSCRIPT

    @cached_property
    def hash(self) -> Hash32:
        """Return the leaf's hash, the tree's lowest node."""
        return tapleaf_hash(self.script, self.version)


TapTree: TypeAlias = "TapLeaf | tuple[TapTree, TapTree]"


@dataclass(frozen=True)
class TaprootOutput:
    """An output key with all that a spender needs to know of it.

    `parity` is 1 when the output key's point has an odd y. `paths` holds the sibling hashes from each leaf
    up, leaves ordered as in the tree, left to right.
    """

    internal_key: XOnlyKey
    merkle_root: Hash32 | None
    output_key: XOnlyKey
    parity: int
    leaves: tuple[TapLeaf, ...]
    paths: tuple[tuple[Hash32, ...], ...]

    @property
    def script(self) -> bytes:
        """Return the output script."""
        return p2tr_script(self.output_key)

    def control_block(self, leaf_index: int) -> bytes:
        """Return the last witness item of a leaf's spend; raises InvalidInput `taproot.no_such_leaf`."""
        if not 0 <= leaf_index < len(self.leaves):
            raise InvalidInput("taproot.no_such_leaf", "no such leaf", index=leaf_index)
        first = self.leaves[leaf_index].version | self.parity
        return bytes([first]) + self.internal_key + b"".join(self.paths[leaf_index])


def tapleaf_hash(script: bytes, version: int = TAPSCRIPT) -> Hash32:
    """Return the hash of one leaf."""
    return tagged_hash("TapLeaf", bytes([version]) + _prefixed(script))


def tapbranch_hash(left: bytes, right: bytes) -> Hash32:
    """Return the hash of two nodes; their order does not matter, the smaller goes first."""
    return tagged_hash("TapBranch", left + right if left < right else right + left)


def output_key(internal_key: bytes, merkle_root: bytes | None) -> tuple[XOnlyKey, int]:
    """Return the output key and its parity; no root means that there is no script path.

    Raises InvalidInput `key.bad_public`.
    """
    return tweak_public(internal_key, _tweak(internal_key, merkle_root))


def output_secret(secret: bytes, internal_key: bytes, merkle_root: bytes | None) -> bytes:
    """Return the secret that signs for the key path of `output_key`; `internal_key` is the secret's own."""
    return tweak_secret(secret, _tweak(internal_key, merkle_root))


def build_taproot(internal_key: bytes, tree: "TapTree | None" = None) -> TaprootOutput:
    """Return the output of an internal key and a tree of scripts.

    Raises InvalidInput `key.bad_public`, `taproot.too_deep`.
    """
    if tree is None:
        key, parity = output_key(internal_key, None)
        return TaprootOutput(XOnlyKey(internal_key), None, key, parity, (), ())
    root, walked = _walk(tree, 0)
    key, parity = output_key(internal_key, root)
    leaves = tuple(leaf for leaf, _ in walked)
    paths = tuple(path for _, path in walked)
    return TaprootOutput(XOnlyKey(internal_key), root, key, parity, leaves, paths)


class TaprootSpend:
    """A transaction with the outputs it spends: what every taproot signature of it commits to.

    Raises InvalidInput `taproot.spent_outputs` unless there is one spent output an input.
    """

    def __init__(self, transaction: Transaction, spent: Sequence[TxOut]) -> None:
        if len(spent) != len(transaction.inputs):
            message = "one spent output an input is wanted"
            raise InvalidInput("taproot.spent_outputs", message, got=len(spent))
        self._transaction = transaction
        self._spent = tuple(spent)

    def sighash(
        self,
        input_index: int,
        hash_type: int = SIGHASH_DEFAULT,
        *,
        leaf_hash: bytes | None = None,
        annex: bytes | None = None,
        codeseparator: int = NO_CODESEPARATOR,
    ) -> Hash32:
        """Return the 32-byte message that one input's signature signs.

        Without `leaf_hash` it is the key path's, with it that leaf's script path's; `codeseparator` is the
        position of the last OP_CODESEPARATOR executed. Raises InvalidInput `taproot.bad_hash_type`,
        `taproot.bad_input_index`, `taproot.bad_annex`, `taproot.no_matching_output`.
        """
        self._check(input_index, hash_type, annex)
        message = [bytes([0, hash_type]), _i32(self._transaction.version), _u32(self._transaction.locktime)]
        if not hash_type & SIGHASH_ANYONECANPAY:
            message.append(self._all_inputs)
        if hash_type & _OUTPUT_BITS not in (SIGHASH_NONE, SIGHASH_SINGLE):
            message.append(self._all_outputs)
        message.append(bytes([2 * (leaf_hash is not None) + (annex is not None)]))
        if hash_type & SIGHASH_ANYONECANPAY:
            message.append(self._one_input(input_index))
        else:
            message.append(_u32(input_index))
        if annex is not None:
            message.append(sha256(_prefixed(annex)))
        if hash_type & _OUTPUT_BITS == SIGHASH_SINGLE:
            message.append(sha256(_encode_output(self._transaction.outputs[input_index])))
        if leaf_hash is not None:
            message.append(leaf_hash + b"\0" + _u32(codeseparator))
        return tagged_hash("TapSighash", b"".join(message))

    def _check(self, input_index: int, hash_type: int, annex: bytes | None) -> None:
        if hash_type not in _HASH_TYPES:
            raise InvalidInput("taproot.bad_hash_type", "no such hash type", hash_type=hash_type)
        if not 0 <= input_index < len(self._transaction.inputs):
            raise InvalidInput("taproot.bad_input_index", "no such input", index=input_index)
        if annex is not None and annex[:1] != b"\x50":
            raise InvalidInput("taproot.bad_annex", "an annex begins with 0x50")
        if hash_type & _OUTPUT_BITS == SIGHASH_SINGLE and input_index >= len(self._transaction.outputs):
            raise InvalidInput("taproot.no_matching_output", "SINGLE needs an output beside the input")

    @cached_property
    def _all_inputs(self) -> bytes:
        inputs = self._transaction.inputs
        return b"".join(
            (
                sha256(b"".join([_encode_prevout(entry) for entry in inputs])),
                sha256(b"".join([_encode_value(output) for output in self._spent])),
                sha256(b"".join([_prefixed(output.script) for output in self._spent])),
                sha256(b"".join([_u32(entry.sequence) for entry in inputs])),
            )
        )

    @cached_property
    def _all_outputs(self) -> bytes:
        return sha256(b"".join([_encode_output(output) for output in self._transaction.outputs]))

    def _one_input(self, index: int) -> bytes:
        entry = self._transaction.inputs[index]
        return _encode_prevout(entry) + _encode_output(self._spent[index]) + _u32(entry.sequence)


def sighash_taproot(
    transaction: Transaction,
    input_index: int,
    spent: Sequence[TxOut],
    hash_type: int = SIGHASH_DEFAULT,
    *,
    leaf_hash: bytes | None = None,
    annex: bytes | None = None,
) -> Hash32:
    """Return one input's message; `TaprootSpend` is for transactions with many inputs to sign."""
    return TaprootSpend(transaction, spent).sighash(input_index, hash_type, leaf_hash=leaf_hash, annex=annex)


def sign_sighash(secret: bytes, sighash: bytes, hash_type: int = SIGHASH_DEFAULT) -> bytes:
    """Return the witness item: 64 bytes for the default hash type, else 65 with the type last."""
    signature = schnorr_sign(secret, sighash)
    return signature if hash_type == SIGHASH_DEFAULT else signature + bytes([hash_type])


def _walk(tree: TapTree, depth: int) -> tuple[Hash32, list[tuple[TapLeaf, tuple[Hash32, ...]]]]:
    """Return a node's hash and its leaves with their paths up to it."""
    if depth > MAX_DEPTH:
        raise InvalidInput("taproot.too_deep", "a script tree is at most 128 deep")
    if isinstance(tree, TapLeaf):
        return tree.hash, [(tree, ())]
    left, left_leaves = _walk(tree[0], depth + 1)
    right, right_leaves = _walk(tree[1], depth + 1)
    walked = [(leaf, (*path, right)) for leaf, path in left_leaves]
    walked += [(leaf, (*path, left)) for leaf, path in right_leaves]
    return tapbranch_hash(left, right), walked


def _tweak(internal_key: bytes, merkle_root: bytes | None) -> Hash32:
    return tagged_hash("TapTweak", internal_key + (merkle_root or b""))


def _encode_prevout(entry: TxIn) -> bytes:
    return entry.prevout.txid + _u32(entry.prevout.vout)


def _encode_value(output: TxOut) -> bytes:
    return output.value.to_bytes(8, "little")


def _encode_output(output: TxOut) -> bytes:
    return _encode_value(output) + _prefixed(output.script)


def _prefixed(data: bytes) -> bytes:
    return encode_compact_size(len(data)) + data


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _i32(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)
