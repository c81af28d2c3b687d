"""Write tests/vectors/envelope.json: `python -m tests.primitives.bitcoin.envelope_vectors` from the root.

The file is for other implementations and against silent changes; a test compares it with what this makes.
"""

import json
from pathlib import Path

from primitives.bitcoin.envelope import EnvelopeKind, ScanResult, build_header, scan_block
from primitives.bitcoin.envelope_codecs import EnvelopeCodec
from primitives.bitcoin.script import PAY_TO_ANCHOR, p2tr_script, p2wsh_script, witness_script
from primitives.bitcoin.transaction import Transaction, TxIn, TxOut
from primitives.hashes import sha256
from primitives.ids import display_hash
from tests.primitives.bitcoin.envelopes import (
    CONTROL,
    IDENTITY,
    PAYLOAD,
    SECRET,
    SIGNER,
    data_of,
    header_of,
    ignored_data,
    ignored_scripts,
    malformed_data,
    malformed_templates,
    script_of,
)
from tests.primitives.bitcoin.transactions import ANY_OUTPUT, COINBASE, block_of, revealing

FILE = Path(__file__).parents[2] / "vectors" / "envelope.json"
ABOUT = (
    "BitAI envelopes, docs/spec/envelope.md. Hex throughout; txids in display order. 'pattern' repeats up to "
    "'length'. Aux randomness of the signatures is 32 zero bytes. "
    "Written by tests/primitives/bitcoin/envelope_vectors.py."
)
PATTERN = bytes(range(251))
SIZES = {
    "empty payload": 0,
    "one byte": 1,
    "one push of 255": 133,
    "256: a second push of one byte in drop255": 134,
    "two pushes of 255": 388,
    "one push of 520": 398,
    "521: a second push of one byte in if520": 399,
}
LARGEST = 395_000
SIGNATURE = bytes(64)


def patterned(length: int) -> bytes:
    """Return the pattern repeated up to a length."""
    return (PATTERN * (length // len(PATTERN) + 1))[:length]


def document() -> dict[str, object]:
    """Return the content of the file."""
    return {
        "about": ABOUT,
        "secret": SECRET.hex(),
        "signer": SIGNER.hex(),
        "identity": IDENTITY.hex(),
        "pattern": PATTERN.hex(),
        "valid": [
            _valid(name, patterned(size), kind)
            for (name, size), kind in zip(SIZES.items(), _kinds(), strict=True)
        ],
        "valid_large": _valid_large(),
        "dropped": _dropped(),
        "ignored": [{"name": name, "script": script.hex()} for name, script in ignored_scripts()],
        "blocks": [_mixed_block(), _unseen_outputs_block()],
    }


def _kinds() -> list[EnvelopeKind]:
    return [*EnvelopeKind, EnvelopeKind.BATCH_FRAME]


def _valid(name: str, payload: bytes, kind: EnvelopeKind) -> dict[str, object]:
    header = build_header(SECRET, kind, payload, identity=IDENTITY, number=2**40 + kind, index=kind)
    data = header.encode() + payload
    return {
        "name": name,
        "kind": int(kind),
        "number": header.number,
        "index": header.index,
        "payload": payload.hex(),
        "signed_digest": header.digest(SIGNER, IDENTITY).hex(),
        "header": header.encode().hex(),
        "scripts": {codec.value: script_of(codec, data).hex() for codec in EnvelopeCodec},
    }


def _valid_large() -> dict[str, object]:
    payload = patterned(LARGEST)
    header = build_header(SECRET, EnvelopeKind.BATCH_FRAME, payload, identity=IDENTITY, number=1)
    data = header.encode() + payload
    return {
        "length": LARGEST,
        "kind": 1,
        "number": 1,
        "index": 0,
        "payload_sha256": sha256(payload).hex(),
        "header": header.encode().hex(),
        "script_sha256": {codec.value: sha256(script_of(codec, data)).hex() for codec in EnvelopeCodec},
    }


def _dropped() -> list[dict[str, str]]:
    cases = [(name, code, script_of(EnvelopeCodec.IF520, data)) for name, code, data in malformed_data()]
    cases += [(case.name, case.code, case.script) for case in malformed_templates()]
    return [{"name": name, "code": code, "script": script.hex()} for name, code, script in cases]


def _block(name: str, raw: bytes) -> dict[str, object]:
    result = scan_block(raw, IDENTITY)
    return {"name": name, "raw": raw.hex(), **_found(result)}


def _found(result: ScanResult) -> dict[str, object]:
    return {
        "envelopes": [
            {
                "tx_index": entry.tx_index,
                "position": entry.position,
                "txid": display_hash(entry.txid),
                "number": entry.header.number,
            }
            for entry in result.envelopes
        ],
        "dropped": [list(entry) for entry in result.dropped],
    }


def _stack(number: int, codec: EnvelopeCodec = EnvelopeCodec.IF520) -> list[bytes]:
    data = header_of(number=number).encode() + PAYLOAD
    return [SIGNATURE, script_of(codec, data), CONTROL]


def _mixed_block() -> dict[str, object]:
    """Inputs before outputs, an annex, a malformed neighbour, a foreign envelope."""
    note = TxOut(0, script_of(EnvelopeCodec.OPRETURN, header_of(number=3).encode() + PAYLOAD))
    cut = [SIGNATURE, script_of(EnvelopeCodec.IF520, data_of()[:-1]), CONTROL]
    foreign = [SIGNATURE, script_of(EnvelopeCodec.IF520, ignored_data()[0][1]), CONTROL]
    first = revealing(
        [*_stack(5, EnvelopeCodec.DROP255), b"\x50"], cut, _stack(4), outputs=[note, ANY_OUTPUT]
    )
    return _block(
        "inputs before outputs, malformed and foreign ones between", block_of(first, revealing(foreign))
    )


def _unseen_outputs_block() -> dict[str, object]:
    """One witness on four kinds of output."""
    scripts = [p2tr_script(SIGNER), witness_script(2, SIGNER), PAY_TO_ANCHOR, p2wsh_script(SIGNER)]
    funding = Transaction((TxIn(COINBASE.outpoint(0)),), tuple(TxOut(1_000, script) for script in scripts))
    spends = [
        Transaction((TxIn(funding.outpoint(index), witness=tuple(_stack(6))),), (ANY_OUTPUT,))
        for index in range(len(scripts))
    ]
    return _block("one witness on P2TR, witness v2, P2A and P2WSH outputs", block_of(funding, *spends))


def text() -> str:
    """Return the file as it is committed."""
    return json.dumps(document(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
