"""What inscriptions may pay, from the settings to the policy."""

from bitai.config import NodeConfig
from bitai.sequencer_role import fee_policy
from l1.fees import FeePolicy


def test_settings_bound_what_is_paid():
    """Floor, cap and target are the settings'; without an estimate the usual rate is bent into them."""
    assert fee_policy(NodeConfig()) == FeePolicy()
    policy = fee_policy(NodeConfig(fee_floor=3_000, fee_cap=9_000, fee_target_blocks=6))
    assert (policy.floor, policy.fallback, policy.cap, policy.target_blocks) == (3_000, 3_000, 9_000, 6)
    assert fee_policy(NodeConfig(fee_floor=500, fee_cap=1_500)).fallback == 1_500
