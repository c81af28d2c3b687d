"""Every limit of this Bitcoin, with the reason or the place in Bitcoin Core it comes from (v31 defaults)."""

from typing import Final

# Consensus.
MAX_MONEY_SATS: Final = 21_000_000 * 100_000_000
MAX_BLOCK_WEIGHT: Final = 4_000_000
MAX_BLOCK_SIGOPS_COST: Final = 80_000
WITNESS_SCALE: Final = 4
"""Weight units of one byte outside the witness."""
COINBASE_MATURITY: Final = 100
"""A coinbase of height h is spendable in block h + 100."""
HALVING_BLOCKS: Final = 150
"""Regtest's: the subsidy is 50 BTC up to height 149 and nothing from 4,950 on."""
INITIAL_SUBSIDY_SATS: Final = 50 * 100_000_000
MAX_SCRIPT_BYTES: Final = 10_000
LOCKTIME_THRESHOLD: Final = 500_000_000
"""Lock times below are heights, from here on Unix seconds."""
MAX_FUTURE_SECONDS: Final = 2 * 60 * 60
"""A block further ahead of the machine's clock is refused; the kernel has no other clock."""
REGTEST_BITS: Final = 0x207FFFFF

# Standard transactions (policy/policy.h).
MAX_STANDARD_WEIGHT: Final = 400_000
MIN_STANDARD_NONWITNESS_BYTES: Final = 65
"""A transaction of 64 bytes can pass for an inner node of the Merkle tree."""
STANDARD_VERSIONS: Final = range(1, 4)
MAX_STANDARD_SCRIPTSIG_BYTES: Final = 1_650
MAX_STANDARD_SIGOPS_COST: Final = MAX_BLOCK_SIGOPS_COST // 5
MAX_LEGACY_SIGOPS: Final = 2_500
MAX_P2SH_SIGOPS: Final = 15
BYTES_PER_SIGOP: Final = 20
MAX_DATACARRIER_BYTES: Final = MAX_STANDARD_WEIGHT // WITNESS_SCALE
MAX_BARE_MULTISIG_KEYS: Final = 3
MAX_P2WSH_STACK_ITEMS: Final = 100
MAX_P2WSH_ITEM_BYTES: Final = 80
MAX_P2WSH_SCRIPT_BYTES: Final = 3_600
MAX_TAPSCRIPT_ITEM_BYTES: Final = 80
MAX_DUST_OUTPUTS: Final = 1
"""Ephemeral dust: one output may be dust when the transaction pays no fee and a child spends it at once."""

# Fee rates, in sats per 1,000 virtual bytes.
DUST_FEERATE: Final = 3_000
MIN_RELAY_FEERATE: Final = 100
INCREMENTAL_FEERATE: Final = 100
MIN_BLOCK_FEERATE: Final = 1
FALLBACK_FEERATE: Final = 1_000
"""What the faucet pays, and the least that `estimatesmartfee` says: not every node relays below 1 sat/vB."""
DEFAULT_MAX_FEERATE: Final = 10_000_000
"""`sendrawtransaction` refuses more than 0.10 BTC/kvB unless told otherwise: it is a typing mistake."""

# The mempool's shape.
MAX_CLUSTER_TRANSACTIONS: Final = 64
MAX_CLUSTER_WEIGHT: Final = 101_000 * WITNESS_SCALE
MAX_REPLACED_CLUSTERS: Final = 100
MAX_MEMPOOL_BYTES: Final = 300_000_000
MAX_PACKAGE_TRANSACTIONS: Final = 25
MAX_PACKAGE_WEIGHT: Final = 404_000
TRUC_VERSION: Final = 3
TRUC_MAX_VBYTES: Final = 10_000
TRUC_CHILD_MAX_VBYTES: Final = 1_000
TRUC_CLUSTER_TRANSACTIONS: Final = 2

# Block templates (policy/policy.h, node/miner.cpp).
RESERVED_WEIGHT: Final = 8_000
"""Header, transaction count and coinbase."""
RESERVED_SIGOPS_COST: Final = 400

# The server.
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
WORK_QUEUE_DEPTH: Final = 64
MAX_BATCH_CALLS: Final = 10_000
"""Core has no such limit; here one batch occupies the only kernel thread."""
MAX_BATCH_REPLY_BYTES: Final = 64 * 1024 * 1024
"""Further calls of an array are not done; eight blocks of 4 MB in hex fit."""
READ_BODY_SECONDS: Final = 30.0
"""Core's `-rpcservertimeout`: a client that stops in the middle of a request gives its place up."""
MAX_CONNECTIONS: Final = 256
"""Each is a file descriptor, of which a process often has 1,024, and the databases need some."""
FIRST_REQUEST_SECONDS: Final = 30.0
"""How long a new connection may say nothing whole."""
IDLE_SECONDS: Final = 75.0
"""How long a connection is kept between two requests."""
MIN_FREE_BYTES: Final = 80 * 1024 * 1024
"""The kernel does not open with less than 50 MiB free, and grows its files by 17 MiB at a time."""
MAX_PAYOUT_WEIGHT: Final = 6_000
"""Of the reserved weight, what the output script of a coinbase may take."""
MAX_BLOCKS_PER_CALL: Final = 100_000
