"""What a node's refusal of a transaction means, from its code and words, alike for Core, btcd and ours.

The words are not part of any interface, but there is nothing else: -26 covers everything from dust to a full
cluster. An unknown refusal is POLICY, which is the careful reading: wait, and show the words to a person.
"""

from typing import Final

from l1.ports import SendOutcome, Verdict
from primitives.errors import Rejected

_IN_CHAIN: Final = -27
_WORDS: Final = 500
"""Characters kept of a refusal, for a person; a node may say more than anyone should store."""

_PHRASES: Final[tuple[tuple[str, Verdict], ...]] = (
    ("txn-already-in-mempool", Verdict.KNOWN),
    ("txn-same-nonwitness-data-in-mempool", Verdict.KNOWN),
    ("already have transaction", Verdict.KNOWN),  # btcd
    ("txn-already-known", Verdict.IN_CHAIN),
    ("already in utxo set", Verdict.IN_CHAIN),
    ("already in block chain", Verdict.IN_CHAIN),
    ("transaction already exists", Verdict.IN_CHAIN),  # btcd
    ("missingorspent", Verdict.MISSING_INPUTS),
    ("missing-inputs", Verdict.MISSING_INPUTS),
    ("missing inputs", Verdict.MISSING_INPUTS),
    ("orphan transaction", Verdict.MISSING_INPUTS),  # btcd
    ("unknown or fully-spent", Verdict.MISSING_INPUTS),  # btcd
    ("min relay fee not met", Verdict.FEE_TOO_LOW),
    ("mempool min fee not met", Verdict.FEE_TOO_LOW),
    ("insufficient fee", Verdict.FEE_TOO_LOW),
    ("insufficient feerate", Verdict.FEE_TOO_LOW),
    ("replacement-failed", Verdict.FEE_TOO_LOW),
    ("mempool full", Verdict.FEE_TOO_LOW),
    ("under the required amount", Verdict.FEE_TOO_LOW),  # btcd
    ("insufficient priority", Verdict.FEE_TOO_LOW),  # btcd
    ("insufficient absolute fee", Verdict.FEE_TOO_LOW),  # btcd, a replacement
    ("insufficient fee rate", Verdict.FEE_TOO_LOW),  # btcd, a replacement
    ("too-large-cluster", Verdict.CLUSTER_FULL),
    ("too-long-mempool-chain", Verdict.CLUSTER_FULL),
    ("too many unconfirmed", Verdict.CLUSTER_FULL),
    ("txn-mempool-conflict", Verdict.CONFLICT),
    ("bad-txns-spends-conflicting-tx", Verdict.CONFLICT),
    ("too many potential replacements", Verdict.CONFLICT),
    ("already spent by transaction", Verdict.CONFLICT),  # btcd
)


def verdict_of_text(text: str, rpc_code: object = None) -> SendOutcome:
    """Return what a refusal says."""
    text = text[:_WORDS]
    lowered = text.lower()
    for phrase, verdict in _PHRASES:
        if phrase in lowered:
            return SendOutcome(verdict, text)
    if rpc_code == _IN_CHAIN:
        return SendOutcome(Verdict.IN_CHAIN, text)
    return SendOutcome(Verdict.POLICY, text)


def verdict_of_error(error: Rejected) -> SendOutcome:
    """Return what a refused call says about its transaction."""
    if error.code == "l1.unsupported":
        return SendOutcome(Verdict.UNSUPPORTED, error.message)
    return verdict_of_text(str(error.details.get("text", error.message)), error.details.get("rpc_code"))
