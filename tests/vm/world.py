"""The smallest honest chain for tests: a store in memory, signed transactions, models that compute a hash."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from eth_abi import decode as abi_decode
from eth_abi import encode as abi_encode

from primitives import rlp
from primitives.curve import address_of, ecdsa_sign
from primitives.hashes import keccak256
from primitives.ids import Address, Hash32, L1Hash, ModelId
from vm import _core
from vm.dev_accounts import DEV_ACCOUNTS, funded_dev_accounts
from vm.executor import Executor
from vm.genesis import GenesisNeuron, GenesisSpec, predeployed_accounts
from vm.inference.manifest import Profile, Tier
from vm.inference.wire import Request, sign_answer
from vm.inference.wire import Status as InferStatus
from vm.registry import ModelFacts
from vm.spec import ChainSpec
from vm.store import MemoryStore
from vm.system import L1Info, build_l1_info_transaction, build_registration
from vm.types import BlockData, InferenceRecord, L1Origin

ROOT = Path(__file__).resolve().parents[2]
CHAIN_ID = 726_945
IDENTITY = Hash32(bytes.fromhex("1d" * 32))
START_HEIGHT = 100
START_TIME = 1_700_000_000
GWEI = 10**9
FEE_RECIPIENT = Address(bytes.fromhex("fee0" * 10))
NEURON_SECRETS = tuple(hashlib.sha256(f"neuron {index}".encode()).digest() for index in range(5))
NEURONS = tuple(address_of(secret) for secret in NEURON_SECRETS)

ON_CHAIN_MODEL = ModelFacts(
    model_id=ModelId(b"\x01" * 32),
    active=True,
    tier=Tier.ON_CHAIN,
    profile=Profile.TENSOR,
    input_bytes=64,
    output_bytes=21,
    macs=100_000,
    l1_height=START_HEIGHT,
)
NEURON_MODEL = replace(ON_CHAIN_MODEL, model_id=ModelId(b"\x02" * 32), tier=Tier.NEURON, macs=2_000_000)


def origin_at(height: int, branch: int = 0) -> L1Origin:
    """A made-up L1 block; its time is half an hour after the start for each height."""
    return L1Origin(
        height,
        L1Hash(hashlib.sha256(f"l1 {branch} {height}".encode()).digest()),
        START_TIME + 1_800 * (height - START_HEIGHT),
    )


def artifact(name: str) -> dict:
    """An example contract's artifact."""
    return json.loads((ROOT / "contracts" / "artifacts" / f"{name}.json").read_text())


def selector(signature: str) -> bytes:
    """First four bytes of the hash of a method's signature."""
    return keccak256(signature.encode())[:4]


class HashModels:
    """An `InferenceLane`: the digit is the pixel sum mod 10; pixels above 16 are BAD_INPUT."""

    def __init__(self):
        self.ran = 0

    def run_on_chain(self, model_id, input_bytes, params, max_output):
        """Compute, and count."""
        self.ran += 1
        status = self.check(model_id, input_bytes, params, max_output)
        return (status, digit_output(input_bytes)) if status == InferStatus.OK else (status, b"")

    def check(self, model_id, input_bytes, params, max_output):
        """Refuse dark pixels."""
        del model_id, params, max_output
        return InferStatus.BAD_INPUT if max(input_bytes) > 16 else InferStatus.OK


def digit_output(image: bytes) -> bytes:
    """What the models here answer: 21 bytes in the form of the digit models."""
    digit = sum(image) % 10
    return bytes([digit]) + b"".join(
        (32_768 if each == digit else 0).to_bytes(2, "big") for each in range(10)
    )


@dataclass
class Account:
    """A key with the nonce it would use next."""

    secret: bytes
    nonce: int = 0

    @property
    def address(self) -> Address:
        """The account."""
        return address_of(self.secret)

    def sign(
        self, to=None, *, value=0, data=b"", gas=1_000_000, nonce=None, tip=GWEI, cap=100 * GWEI
    ) -> bytes:
        """A type 2 transaction; takes the next nonce unless told one."""
        if nonce is None:
            nonce, self.nonce = self.nonce, self.nonce + 1
        fields = [
            *(rlp.encode_int(each) for each in (CHAIN_ID, nonce, tip, cap, gas)),
            to or b"",
            rlp.encode_int(value),
            data,
            [],
        ]
        digest = keccak256(b"\x02" + rlp.encode(fields))
        signature = ecdsa_sign(self.secret, digest)
        parts = (
            signature[64],
            int.from_bytes(signature[:32], "big"),
            int.from_bytes(signature[32:64], "big"),
        )
        return b"\x02" + rlp.encode([*fields, *(rlp.encode_int(part) for part in parts)])


def chain_spec(neurons: tuple[GenesisNeuron, ...] | None = None, **changes) -> ChainSpec:
    """The chain of these tests."""
    listed = neurons if neurons is not None else tuple(GenesisNeuron(each, each) for each in NEURONS[:3])
    spec = ChainSpec(
        chain_id=CHAIN_ID,
        identity=IDENTITY,
        origin=origin_at(START_HEIGHT),
        genesis=GenesisSpec(START_TIME, (*predeployed_accounts(), *funded_dev_accounts()), listed),
        fee_recipient=FEE_RECIPIENT,
        gas_limit=60_000_000,
        base_fee_wei=GWEI,
        infer_opcode=0xB0,
    )
    return replace(spec, **changes)


class World:
    """An executor, accounts, and block data that follows the head."""

    def __init__(self, store=None, spec=None, branch=0):
        self.store = MemoryStore() if store is None else store
        self.spec = spec or chain_spec()
        self.models = HashModels()
        self.branch = branch
        self.fee_rate = 1_000
        self.accounts = [Account(account.secret) for account in DEV_ACCOUNTS]
        self.executor = Executor(self.spec, self.store, self.models)

    @property
    def alice(self) -> Account:
        """The first funded account."""
        return self.accounts[0]

    def data(self, *transactions, records=(), system=(), epochs=0) -> BlockData:
        """Block data on the head; with `epochs` = 1 the first of an epoch, L1 information included."""
        head = self.executor.head
        origin = head.origin
        if epochs:
            origin = origin_at(head.origin.height + 1, self.branch)
            info = L1Info(origin, fee_rate=self.fee_rate, finalized_number=0)
            system = (build_l1_info_transaction(info), *system)
        return BlockData(
            number=head.number + 1,
            timestamp=head.timestamp + 2,
            origin=origin,
            system_transactions=tuple(system),
            transactions=tuple(transactions),
            records=tuple(records),
        )

    def run(self, *transactions, **parts):
        """Execute and commit a block of data; returns it."""
        executed = self.executor.execute(self.data(*transactions, **parts))
        self.executor.commit(executed)
        return executed

    def register(self, *models: ModelFacts):
        """Begin an epoch that registers models."""
        l1_hash = origin_at(self.executor.head.origin.height + 1, self.branch).hash
        return self.run(
            epochs=1, system=[build_registration(facts, l1_hash, index) for index, facts in enumerate(models)]
        )

    def deploy(self, name: str, *arguments) -> Address:
        """Put an example contract on the chain; returns its address."""
        found = artifact(name)
        constructor = next((each for each in found["abi"] if each["type"] == "constructor"), {"inputs": []})
        code = bytes.fromhex(found["bytecode"][2:]) + abi_encode(
            [each["type"] for each in constructor["inputs"]], arguments
        )
        executed = self.run(self.alice.sign(data=code, gas=3_000_000))
        (receipt,) = executed.sealed.receipts
        assert receipt.status == 1
        return Address(receipt.contract_address)

    def read(self, to: Address, signature: str, *arguments, returns=()):
        """Call a view method on the head's state."""
        types = signature[signature.index("(") + 1 : -1]
        data = selector(signature) + abi_encode(types.split(",") if types else [], arguments)
        view = self.executor.view(self.executor.head.number)
        result = self.executor.simulator.call(view, _core.Message(to=to, input=data))
        assert result.kind == "success", (result.kind, result.code, result.output.hex())
        values = abi_decode(returns, result.output)
        return values[0] if len(values) == 1 else values

    def record(
        self, image: bytes, *, secret=None, tx_index=0, ask_height=None, model=NEURON_MODEL, **changes
    ) -> InferenceRecord:
        """A neuron's good answer to a DigitReader call, unless told otherwise."""
        request = Request(model.model_id, image, b"", model.output_bytes)
        height = self.executor.head.origin.height if ask_height is None else ask_height
        if secret is None:
            assigned = self.executor.assigned(model.model_id, request.hash, height)
            secret = NEURON_SECRETS[NEURONS.index(assigned[0])]
        answer = sign_answer(
            secret, self.spec.identity, request, (InferStatus.OK, changes.pop("signed", digit_output(image)))
        )
        record = InferenceRecord(
            tx_index=tx_index,
            request_hash=answer.request_hash,
            status=InferStatus.OK,
            output=answer.output,
            neuron=address_of(secret),
            signature=answer.signature,
            ask_height=height,
        )
        return replace(record, **changes)


def ask(model: ModelFacts, image: bytes, method="read") -> bytes:
    """Calldata of DigitReader.read or tryRead."""
    return selector(f"{method}(bytes32,bytes)") + abi_encode(["bytes32", "bytes"], [model.model_id, image])
