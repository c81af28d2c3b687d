"""A configuration names one chain: one form, one identity, and nothing that breaks a promise."""

import json
from dataclasses import fields, replace

import pytest

from primitives.errors import ConfigError
from primitives.hashes import sha256
from primitives.ids import display_hash
from rollup.config import Execution, Keys, L1Start, RollupConfig, regtest_config
from rollup.limits import Limits
from rollup.parameters import BY_NETWORK, MAINNET, REGTEST, TESTNET4, Parameters
from vm.dev_accounts import funded_dev_accounts
from vm.genesis import GenesisNeuron
from vm.spec import InferPrices

START = L1Start(120, sha256(b"start"), tuple(range(1_000, 1_011)))
KEYS = Keys(sha256(b"batcher"), sha256(b"sequencer"), sha256(b"governance"))
NEURON = GenesisNeuron(b"\1" * 20, b"\2" * 20)
CONFIG = regtest_config(START, KEYS, b"\3" * 20, accounts=funded_dev_accounts(), neurons=(NEURON,))


def code_of(call, *args):
    """The code of the ConfigError that a call raises."""
    with pytest.raises(ConfigError) as caught:
        call(*args)
    assert caught.value.fix
    return caught.value.code


def edited(change):
    """The file's text after a change of its JSON."""
    document = json.loads(CONFIG.to_json())
    change(document)
    return json.dumps(document)


def test_the_file_is_the_config():
    """A file read and written again is the same text, and the same chain."""
    text = CONFIG.to_json()
    assert RollupConfig.from_json(text) == CONFIG
    assert RollupConfig.from_json(text).to_json() == text
    assert " " not in text


def test_every_part_is_in_the_identity():
    """Change anything, and it is another chain."""
    others = [
        replace(CONFIG, chain_id=1),
        replace(CONFIG, l1_network="signet"),
        replace(CONFIG, l1_start=replace(START, height=121)),
        replace(CONFIG, l1_start=replace(START, times=tuple(range(1_001, 1_012)))),
        replace(CONFIG, keys=replace(KEYS, governance=bytes(32))),
        replace(CONFIG, execution=replace(CONFIG.execution, fee_recipient=bytes(20))),
        replace(CONFIG, genesis=replace(CONFIG.genesis, neurons=())),
    ]
    for part, name in ((REGTEST, "parameters"), (Limits(), "limits")):
        for field in fields(part):
            changed = replace(part, **{field.name: getattr(part, field.name) + 1})
            others.append(replace(CONFIG, **{name: changed}))
    identities = [each.identity for each in (CONFIG, *others)]
    assert len(set(identities)) == len(identities)


def test_the_identity_is_fixed():
    """The form of the JSON never changes: this chain keeps this name."""
    bare = regtest_config(START, KEYS, b"\3" * 20)
    execution = Execution(b"\3" * 20, 0, on_chain_macs=1, neuron_macs=2, prices=InferPrices(3, 4, 5))
    kept = replace(bare, genesis=replace(bare.genesis, accounts=()), execution=execution)
    assert kept.identity.hex() == "72b4746cdced96f5cf23214c8285db1095ed2b5d6b00006d85a633ac02bdeceb"


def test_the_presets_hold():
    """Every network's numbers obey every rule."""
    for parameters in BY_NETWORK.values():
        parameters.check()
    Limits().check()
    assert TESTNET4.finality_depth == 100
    assert (MAINNET.deposit_depth, MAINNET.seq_window, MAINNET.max_drift_s) == (6, 144, 21_600)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"finality_depth": 1, "deposit_depth": 2}, "config.finality_depth"),
        ({"channel_timeout": 12}, "config.channel_timeout"),
        ({"force_window": 12}, "config.force_window"),
        ({"unbonding": 68}, "config.unbonding"),
        ({"heartbeat_window": 36}, "config.heartbeat_window"),
        ({"possession_period": 36}, "config.possession_period"),
        ({"refund_timelock": 8}, "config.refund_timelock"),
        ({"max_drift_s": 1}, "config.max_drift_s"),
        ({"l1_fee_cap": 24}, "config.l1_fee_cap"),
        ({"block_time_s": 0}, "config.block_time_s"),
        ({"gas_limit": 2**63}, "config.gas_limit"),
        ({"transaction_gas": 60_000_001}, "config.transaction_gas"),
    ],
)
def test_numbers_that_break_a_promise(change, code):
    """Each rule of the protocol refuses at its edge."""
    assert code_of(replace(REGTEST, **change).check) == code
    if code in ("config.unbonding", "config.heartbeat_window", "config.possession_period"):
        ((name, value),) = change.items()
        replace(REGTEST, **{name: value + 1}).check()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"chain_id": 0}, "config.chain_id"),
        ({"l1_network": "testnet3"}, "config.l1_network"),
        ({"keys": replace(KEYS, batcher=b"short")}, "config.keys"),
        ({"l1_start": replace(START, hash=b"")}, "config.l1_start"),
        ({"l1_start": replace(START, times=(1,))}, "config.l1_times"),
        ({"genesis": replace(CONFIG.genesis, timestamp=1)}, "config.genesis_time"),
        ({"execution": replace(CONFIG.execution, fee_recipient=b"")}, "config.fee_recipient"),
        ({"execution": replace(CONFIG.execution, infer_opcode=256)}, "config.infer_opcode"),
        ({"execution": replace(CONFIG.execution, neuron_macs=0)}, "config.execution"),
        ({"execution": replace(CONFIG.execution, neuron_macs=5_560_000_000)}, "config.prices"),
        ({"execution": replace(CONFIG.execution, prices=InferPrices(mac_gas=5))}, "config.prices"),
        ({"parameters": replace(CONFIG.parameters, transaction_gas=12_000_000)}, "config.prices"),
        ({"l1_network": "mainnet", "parameters": MAINNET}, "config.genesis_coin"),
        ({"limits": Limits(open_channels=0)}, "limits.open_channels"),
        ({"limits": Limits(channel_frames=65_536)}, "limits.count"),
        ({"limits": Limits(buffered_bytes=1)}, "limits.buffer"),
        ({"limits": Limits(epoch_blocks=16_383)}, "limits.epoch"),
        ({"limits": Limits(epoch_transactions=1)}, "limits.epoch"),
        ({"parameters": Parameters(unbonding=1)}, "config.unbonding"),
    ],
)
def test_what_no_chain_can_be_run_by(change, code):
    """A wrong part is named."""
    assert code_of(replace(CONFIG, **change).check) == code


def test_no_neuron_counts_as_staked_outside_regtest():
    """Bootstrapping is for regtest alone."""
    genesis = replace(CONFIG.genesis, accounts=())
    mainnet = replace(CONFIG, l1_network="mainnet", parameters=MAINNET, genesis=genesis)
    assert code_of(mainnet.check) == "config.genesis_neurons"
    replace(mainnet, genesis=replace(genesis, neurons=())).check()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda it: it.update(identity="0x" + "00" * 32), "config.identity"),
        (lambda it: it["genesis_part"].update(chain_id=5), "config.identity"),
        (lambda it: it.pop("identity"), "config.malformed"),
        (lambda it: it["genesis_part"].update(extra=1), "config.malformed"),
        (lambda it: it["genesis_part"].update(version=2, another_key=[]), "config.version"),
        (lambda it: it["genesis_part"].update(version="0"), "config.malformed"),
        (lambda it: it["genesis_part"].pop("version"), "config.malformed"),
        (lambda it: it["genesis_part"].update(chain_id=1.5), "config.malformed"),
        (lambda it: it["genesis_part"].update(chain_id=True), "config.malformed"),
        (lambda it: it["genesis_part"].update(chain_id=-1), "config.malformed"),
        (lambda it: it["genesis_part"]["keys"].update(batcher="0x00"), "config.malformed"),
        (lambda it: it["genesis_part"]["keys"].update(batcher="0x" + "GG" * 32), "config.malformed"),
        (lambda it: it["genesis_part"]["keys"].update(batcher="0x" + "AA" * 32), "config.malformed"),
        (lambda it: it["genesis_part"]["l1_start"].update(hash="00"), "config.malformed"),
        (
            lambda it: it["genesis_part"]["l1_start"].update(hash=display_hash(START.hash).upper()),
            "config.malformed",
        ),
        (lambda it: it["genesis_part"]["l1_start"].update(times=5), "config.malformed"),
        (lambda it: it["genesis_part"]["parameters"].pop("unbonding"), "config.malformed"),
        (lambda it: it["genesis_part"]["genesis"].update(timestamp="now"), "genesis.malformed"),
    ],
)
def test_a_file_that_is_not_quite_right(change, code):
    """A typing mistake never becomes another chain in silence."""
    assert code_of(RollupConfig.from_json, edited(change)) == code


@pytest.mark.parametrize("text", ["", "[]", "null", '{"identity": NaN}', "\x00", '{"a":1e3}', "[" * 200_000])
def test_what_is_no_configuration(text):
    """Anything else is malformed, whatever it is."""
    assert code_of(RollupConfig.from_json, text) == "config.malformed"


def test_execution_gets_its_part():
    """The chain spec is the configuration's own numbers, and 0 switches the instruction off."""
    spec = CONFIG.chain_spec()
    assert (spec.chain_id, spec.identity, spec.origin.mtp) == (726_945, CONFIG.identity, 1_005)
    assert (spec.gas_limit, spec.infer_opcode) == (60_000_000, 0xB0)
    off = replace(CONFIG, execution=replace(CONFIG.execution, infer_opcode=0))
    assert off.chain_spec().infer_opcode is None
