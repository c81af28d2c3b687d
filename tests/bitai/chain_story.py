"""One story of a chain, told step by step: models, transfers, questions, lost mempools, a reorg, finality.

A step is the world's doing; afterwards everybody works until all is quiet.
"""

from eth_abi import encode as abi_encode

from bitai.sequencer_role import shipped_model
from primitives import rlp
from primitives.hashes import keccak256
from tests.bitai.chain_nodes import NEURON_MODEL
from tests.vm.world import GWEI, Account, artifact, selector
from vm.dev_accounts import DEV_ACCOUNTS
from vm.inference.artifact import parse_artifact

ON_CHAIN_MODEL = parse_artifact(shipped_model("digits-onchain.bitai"))
STEP_MS = 60_000


class Users:
    """Three accounts and what they sign; the same bytes at every telling.

    Each tips differently: what came in together is then ordered by tip, also when a restart forgot who came first.
    """

    def __init__(self):
        self.alice, self.bob, self.carol = (Account(account.secret) for account in DEV_ACCOUNTS[:3])
        self.tips = {id(each): GWEI + n for n, each in enumerate((self.alice, self.bob, self.carol))}
        self.reader = keccak256(rlp.encode([self.alice.address, b""]))[12:]

    def sign(self, user, to=None, **fields):
        """A user's next transaction."""
        return user.sign(to, tip=self.tips[id(user)], **fields)

    def transfers(self, count):
        """Each account sends `count` times, nonces in a row."""
        to, everybody = b"\x77" * 20, (self.alice, self.bob, self.carol)
        return [self.sign(each, to, value=7, gas=50_000) for each in everybody for _ in range(count)]

    def deploy(self):
        """The contract that asks models."""
        code = bytes.fromhex(artifact("DigitReader")["bytecode"][2:])
        return [self.sign(self.alice, data=code, gas=3_000_000)]

    def ask(self, user, model, pixel):
        """One question to a model."""
        image = bytes([pixel]) * 64
        data = selector("read(bytes32,bytes)") + abi_encode(["bytes32", "bytes"], [model.model_id, image])
        return self.sign(user, self.reader, data=data, gas=3_000_000)

    def questions(self, pixel):
        """One to each tier, by two users."""
        return [self.ask(self.bob, ON_CHAIN_MODEL, pixel), self.ask(self.carol, NEURON_MODEL, pixel)]


def steps():
    """Return the story: a name and what the world does."""
    users = Users()
    deploy, first = users.deploy(), users.transfers(1)
    batches = [[*users.transfers(2), *users.questions(pixel)] for pixel in range(1, 6)]
    # These leave their blocks again. No neuron: its answer a process remembers, and a new one asks for again.
    last, late = [[*users.transfers(2), users.ask(users.bob, ON_CHAIN_MODEL, pixel)] for pixel in (7, 8)]

    def send(raws):
        return lambda world: world.sent.extend(raws)

    def mine(count=1):
        return lambda world: world.bitcoin.mine(count)

    def ignore(count):
        return lambda world: [world.bitcoin.mine(only=()) for _ in range(count)]

    def mine_some(world):
        world.bitcoin.mine(only=world.bitcoin.parentless())

    def reorg(depth, **how):
        return lambda world: world.bitcoin.reorg(depth, **how)

    return [
        ("start", lambda _world: None),
        ("models inscribed", mine()),
        ("models registered", mine()),
        ("reorg, models forgotten", reorg(2, keep_transactions=False, include=False)),
        ("models inscribed again", mine()),
        ("models registered again", mine(2)),
        ("deploy", send([*deploy, *first])),
        ("questions", send(batches[0])),
        ("batch inscribed", mine()),
        ("more", send(batches[1])),
        ("mempool lost", lambda world: world.bitcoin.lose_mempool()),
        ("commit alone", mine_some),
        ("its reveal", mine()),
        ("even more", send(batches[2])),
        ("mined", mine()),
        ("again", send(batches[3])),
        ("mined again", mine()),
        ("reorg, all forgotten", reorg(3, keep_transactions=False, include=False)),
        ("after it", send(batches[4])),
        ("mined after it", mine(2)),
        ("reorg, all comes back", reorg(2)),
        ("last", send(last)),
        ("mined at last", mine()),
        ("more to come", send(late)),
        ("nobody mines it", ignore(14)),
        ("it comes too late", mine(2)),
        ("it comes again", mine(2)),
        ("some final", mine(6)),
        ("more final", mine(8)),
        ("all final", mine(8)),
    ]


def act(world, step):
    """Have the world do one step; a minute passes."""
    _, what = step
    world.clock.ms += STEP_MS
    what(world)
