"""The numbers that a chain chooses at its start, with the refusals that keep them safe together.

Unless a suffix says otherwise the unit is L1 blocks. Spec: docs/spec/config.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Final

from primitives.errors import ConfigError

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Parameters:
    """What derivation, finality, disputes and the bridge scan read; the defaults are those of regtest.

    `l1_fee_floor` and `l1_fee_cap` bound the L1 fee rate, in sats per 1,000 weight units (1 sat/vB = 250).
    `gas_limit` is a block's, `transaction_gas` what one transaction may declare (EIP-7825's by default),
    `base_fee_wei` that of the first block.
    """

    deposit_depth: int = 1
    finality_depth: int = 8
    force_window: int = 6
    seq_window: int = 12
    channel_timeout: int = 6
    inference_window: int = 12
    clock: int = 12
    unbonding: int = 80
    heartbeat_window: int = 40
    possession_period: int = 40
    upgrade_delay: int = 20
    sweep_target: int = 3
    refund_timelock: int = 144
    max_drift_s: int = 30 * DAY_S
    block_time_s: int = 2
    force_gas: int = 30_000_000
    callback_gas: int = 10_000_000
    gas_limit: int = 60_000_000
    transaction_gas: int = 16_777_216
    base_fee_wei: int = 1_000_000
    l1_fee_floor: int = 25
    l1_fee_cap: int = 250_000

    def check(self) -> None:
        """Refuse numbers that break a promise of the protocol; raises ConfigError `config.<parameter>`."""
        for field in fields(self):
            if not 0 < getattr(self, field.name) < 2**63:
                raise _refusal(field.name, f"{field.name} must be positive and fit 63 bits")
        for name, holds, rule in self._rules():
            if not holds:
                raise _refusal(name, rule)

    def _rules(self) -> tuple[tuple[str, bool, str], ...]:
        """Return the parameter that each rule is about, whether it holds, and the rule in words.

        finality_depth: what a reorg may still take back must not be final before a deposit is minted.
        channel_timeout, force_window: both are settled before blocks without batch data take over.
        unbonding: a stake outlives every window in which its owner can still be convicted.
        heartbeat_window, possession_period: a censored neuron's forced proof gets in, with one more try.
        refund_timelock: operators can sweep a deposit, twice over, before its owner can take it back.
        """
        settled = self.seq_window + self.inference_window + 3 * self.clock + self.finality_depth
        included = 2 * (self.force_window + self.seq_window)
        swept = 2 * (self.deposit_depth + self.sweep_target)
        return (
            ("finality_depth", self.finality_depth >= self.deposit_depth, "finality_depth >= deposit_depth"),
            ("channel_timeout", self.channel_timeout < self.seq_window, "channel_timeout < seq_window"),
            ("force_window", self.force_window < self.seq_window, "force_window < seq_window"),
            (
                "unbonding",
                self.unbonding > settled,
                "unbonding > seq_window + inference_window + 3 x clock + finality_depth",
            ),
            (
                "heartbeat_window",
                self.heartbeat_window > included,
                "heartbeat_window > 2 x (force_window + seq_window)",
            ),
            (
                "possession_period",
                self.possession_period > included,
                "possession_period > 2 x (force_window + seq_window)",
            ),
            (
                "refund_timelock",
                self.refund_timelock > swept,
                "refund_timelock > 2 x (deposit_depth + sweep_target)",
            ),
            ("max_drift_s", self.max_drift_s >= self.block_time_s, "max_drift_s >= block_time_s"),
            ("transaction_gas", self.transaction_gas <= self.gas_limit, "transaction_gas <= gas_limit"),
            ("l1_fee_cap", self.l1_fee_cap >= self.l1_fee_floor, "l1_fee_cap >= l1_fee_floor"),
        )


REGTEST: Final = Parameters()
MAINNET: Final = Parameters(
    deposit_depth=6,
    finality_depth=12,
    force_window=36,
    seq_window=144,
    channel_timeout=36,
    inference_window=1_008,
    clock=144,
    unbonding=3_024,
    heartbeat_window=400,
    possession_period=400,
    upgrade_delay=2_016,
    sweep_target=36,
    refund_timelock=1_008,
    max_drift_s=6 * HOUR_S,
)
TESTNET4: Final = replace(MAINNET, finality_depth=100)
"""Anyone reorganises testnet4: its difficulty rule lets a desktop mine many blocks at once."""
BY_NETWORK: Final[Mapping[str, Parameters]] = MappingProxyType(
    {"regtest": REGTEST, "signet": MAINNET, "testnet4": TESTNET4, "mainnet": MAINNET}
)


def _refusal(name: str, rule: str) -> ConfigError:
    message = f"the configuration breaks a rule: {rule}"
    return ConfigError(f"config.{name}", message, fix="correct `parameters` in the rollup configuration")
