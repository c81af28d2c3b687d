# ruff: noqa: PYI021, A002 -- the core's documentation lives here; `input` is the field's word
"""The native core: everything that runs once per transaction or once per trie node.

Conventions. `bytes` for addresses (20), hashes (32) and calldata; `int` for quantities (256 bits where the
EVM has 256). Every function is deterministic: the same arguments and the same answers of the callbacks give
the same bytes on every machine. Work is done with the GIL released; callbacks take it. An exception raised
by a callback ends the running call and reaches the caller unchanged; nothing is kept of the call that it
ended. Classes here are immutable unless said otherwise, and all of them may be used from any thread.

Type aliases (`ReadCallback`, `ModelFacts`, `Answers` ...) exist for type checkers only: import them under
TYPE_CHECKING.

Errors: `CoreError` with a stable `code`; wrong Python types raise `TypeError`, wrong lengths `ValueError`.

    core.stale          the state moved under this executor: open a new one (Temporary)
    core.order          a method was called out of turn, for instance `run` after `seal` (our bug)
    core.corrupt_state  the store lacks a trie node or holds a value that does not decode (corrupt disk)
    core.supply         native coin appeared from nowhere in a block (our bug)
    core.bad_answer     the `infer` or `models` callback broke its contract (our bug)
    undo.malformed, header.malformed, receipts.malformed, tx.malformed   bytes that do not decode

Specification: docs/spec/block.md, docs/spec/infer.md. State keys: vm/schema.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Self, TypeAlias, final

# --- constants ------------------------------------------------------------------------------------

__version__: Final[str]
REVM_VERSION: Final[str]

EMPTY_ROOT: Final[bytes]
"""Root of a trie without leaves, keccak256(0x80)."""
EMPTY_CODE_HASH: Final[bytes]
"""keccak256 of nothing."""
INFER_ADDRESS: Final[bytes]
"""0x0000000000000000000000000000000000100000."""
INFER_SELECTOR: Final[bytes]
"""First four bytes of keccak256("infer(bytes32,bytes,bytes,uint32)")."""
SYSTEM_TRANSACTION_TYPE: Final[int]
"""0x7e."""
RECORDS_REQUEST_TYPE: Final[int]
"""0xba."""
BEACON_ROOTS_ADDRESS: Final[bytes]
BEACON_ROOTS_CODE: Final[bytes]
"""EIP-4788 contract; the genesis allocation must place it for the origin hash to be readable."""
HISTORY_ADDRESS: Final[bytes]
HISTORY_CODE: Final[bytes]
"""EIP-2935 contract; the genesis allocation must place it for old block hashes to be readable."""
TRANSACTION_GAS_CAP: Final[int]
"""16,777,216: the most gas one user transaction may declare (EIP-7825) unless the chain says otherwise."""

ReadCallback: TypeAlias = Callable[[list[bytes]], list[bytes | None]]
"""Values of state keys (vm/schema.py), in order; None where the store has no such key. Called in
batches."""

ModelFacts: TypeAlias = tuple[int, int, int | None, int, bool]
"""(tier: 0 on-chain or 1 neuron, MACs of one run, input length in bytes or None for any, output length in
bytes, callable now)."""
ModelsCallback: TypeAlias = Callable[[bytes], ModelFacts | None]
"""Facts of a model id as of the state at block start; None if unregistered. Asked once per model and
executor."""

InferCallback: TypeAlias = Callable[[bytes, bytes, bytes, int], tuple[int, bytes]]
"""(model id, input, params, max output) -> (status, output) of an on-chain model. Asked once per request
hash and executor. The output must not be longer than max output."""

ConsoleCallback: TypeAlias = Callable[[int | None, int, bytes], None]
AnswerCallback: TypeAlias = Callable[[int | None, InferenceRequest], Answer | None]
"""(position of the transaction in this `run`, 0 in `call`, None for a system transaction, which has no records;
the neuron-tier call) -> its answer, or None if there is none. Asked when the facts of the model accept the
call and the transaction's `answers` do not hold its request hash; what it answers counts as if it had been
among them. Python judges records here, where the model and the input are known: whether the record's
signature is for this model, and what the manifest says of the input (BAD_INPUT needs no neuron; the answer
then has neuron None and index -1, which is no record)."""

BlockHashCallback: TypeAlias = Callable[[int], bytes | None]
"""Hash of the L2 block with this number (one of the last 256), for BLOCKHASH; None reads as zero."""

Answer: TypeAlias = tuple[int, bytes, bytes | None, int]
"""(status, output, address of the neuron that answered or None, index of the record in the caller's own
list, negative if it is no record and so not among `used_records`)."""
Answers: TypeAlias = Mapping[bytes, Answer]
"""Answers one transaction may use, by request hash."""

Missing: TypeAlias = Literal["park", "skip", "unavailable"]
"""What a neuron call without an answer does to its transaction. "park": outcome "parked" with the request
(sequencer). "skip": outcome "skipped" with code "infer.no_record" (replay). "unavailable": the call answers
status 3 with empty output, charges the base gas only and the transaction runs on (forced transactions,
blocks made anew by a verdict). System transactions always behave as "unavailable"."""

@final
class CoreError(Exception):
    """`args == (code, message)`."""

    def __new__(cls, code: str, message: str) -> Self: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...

# --- transactions ---------------------------------------------------------------------------------

@final
class Authorization:
    """One entry of an EIP-7702 authorization list."""

    def __new__(cls, *, chain_id: int, address: bytes, nonce: int, y_parity: int, r: int, s: int) -> Self:
        """Make a signed entry; the signer is recovered."""

    chain_id: Final[int]
    address: Final[bytes]
    nonce: Final[int]
    y_parity: Final[int]
    r: Final[int]
    s: Final[int]
    authority: Final[bytes | None]
    """Recovered signer; None if the signature is invalid (the entry is then ignored by execution)."""

@final
class Transaction:
    """A signed user transaction (type 0, 1, 2 or 4) with its recovered sender.

    Equality and hash are those of `hash`.
    """

    hash: Final[bytes]
    sender: Final[bytes]
    raw: Final[bytes]
    """Canonical encoding: RLP list for type 0, type byte and RLP list otherwise."""
    type: Final[int]
    chain_id: Final[int]
    nonce: Final[int]
    to: Final[bytes | None]
    """None creates a contract."""
    value: Final[int]
    input: Final[bytes]
    gas_limit: Final[int]
    gas_price: Final[int | None]
    """Types 0 and 1; None otherwise."""
    max_fee_per_gas: Final[int]
    """Fee cap in wei per gas; equal to `gas_price` for types 0 and 1."""
    max_priority_fee_per_gas: Final[int]
    """Equal to `gas_price` for types 0 and 1."""
    access_list: Final[list[tuple[bytes, list[bytes]]]]
    authorization_list: Final[list[Authorization]]
    y_parity: Final[int]
    v: Final[int]
    """EIP-155 v for type 0, y parity otherwise."""
    r: Final[int]
    s: Final[int]
    intrinsic_gas: Final[int]
    """Gas charged before execution (EIP-2028, 2930, 3860, 7702)."""
    floor_gas: Final[int]
    """Least gas a transaction with this calldata pays (EIP-7623)."""

    data_size: Final[int]
    """Bytes it pays for on Bitcoin; docs/spec/fees.md."""

    def effective_gas_price(self, base_fee: int) -> int:
        """Wei per gas paid at `base_fee`; the fee cap if that is lower than the base fee."""

    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

def decode(
    raws: Sequence[bytes], chain_id: int, gas_cap: int | None = None, *, impersonated: bool = False
) -> list[Transaction | tuple[str, str]]:
    """Decode, recover and statically check transactions in parallel; `(code, message)` for a bad one.

    `gas_cap`: what one may declare; None for those that stand in a block.
    Only canonical encodings pass. Whatever this returns as `Transaction` is valid in some state of this
    chain. Codes: tx.malformed, tx.type_not_supported (blob, system and unknown types), tx.unprotected
    (legacy without EIP-155), tx.wrong_chain, tx.bad_signature (includes high s), tx.nonce_overflow
    (2**64-1), tx.intrinsic_gas, tx.floor_gas, tx.gas_cap, tx.init_code_size, tx.priority_above_fee_cap,
    tx.fee_overflow (gas limit x fee cap + value exceeds 256 bits), tx.authorization_list (empty list, or a
    type 4 that creates).

    `impersonated` admits also transactions with r = 0, y parity 0 and the sender's address as s: no signature, but
    what the owner of a development node sends in anybody's name. No other node takes them.
    """

@final
class SystemTransaction:
    """A derived transaction of type 0x7e: no signature, no fee, no nonce check; may mint.

    Raw: 0x7e || rlp([source_hash, sender, to, mint, value, gas, 0, input]), `to` empty for a creation.
    """

    def __new__(
        cls,
        *,
        source_hash: bytes,
        sender: bytes,
        to: bytes | None,
        mint: int = 0,
        value: int = 0,
        gas_limit: int,
        input: bytes = b"",
    ) -> Self: ...
    @staticmethod
    def decode(raw: bytes) -> SystemTransaction:
        """Raise CoreError tx.malformed unless `raw` is exactly one canonical system transaction."""

    hash: Final[bytes]
    raw: Final[bytes]
    source_hash: Final[bytes]
    sender: Final[bytes]
    to: Final[bytes | None]
    mint: Final[int]
    """Wei created for the sender, also when execution fails."""
    value: Final[int]
    gas_limit: Final[int]
    input: Final[bytes]

# --- rules and environment ------------------------------------------------------------------------

@final
class Rules:
    """What stays the same from block to block: the part of the chain's parameters that execution reads.

    The INFER prices may be changed once per epoch by the caller: make a new `Rules`.
    """

    def __new__(
        cls,
        *,
        chain_id: int,
        fee_vault: bytes,
        protocol_pool: bytes,
        infer_base_gas: int,
        infer_mac_gas: int,
        infer_byte_gas: int,
        infer_record_overhead: int = 128,
        on_chain_mac_limit: int = 50_000_000,
        neuron_mac_limit: int = ...,
        infer_opcode: int | None = None,
        transaction_gas_cap: int = 16_777_216,
        l1_info: bytes | None = None,
    ) -> Self:
        """`infer_mac_gas`: gas per 1,000 MACs; `infer_byte_gas`: gas per byte of a record (neuron tier).

        `infer_record_overhead`: bytes of a record besides its output. MAC limits are per block and lane.
        `infer_opcode`: byte that Osaka leaves unassigned (0xb0), or None to leave the opcode off.
        `transaction_gas_cap`: what estimates try at most.
        `l1_info`: the contract whose storage says what a byte on Bitcoin costs; None: bytes are free.
        """

    chain_id: Final[int]
    fee_vault: Final[bytes]
    protocol_pool: Final[bytes]
    infer_base_gas: Final[int]
    infer_mac_gas: Final[int]
    infer_byte_gas: Final[int]
    infer_record_overhead: Final[int]
    on_chain_mac_limit: Final[int]
    neuron_mac_limit: Final[int]
    infer_opcode: Final[int | None]
    transaction_gas_cap: Final[int]
    l1_info: Final[bytes | None]

    def infer_gas(self, tier: int, macs: int, max_output: int, argument_bytes: int = 0) -> int:
        """Full price in gas of one call: base gas + ceil(MACs x mac_gas / 1000) [+ record bytes x byte_gas].

        Base gas: base + 6 a word of the `argument_bytes` that input and params have together.
        """

@final
class BlockEnv:
    """What one block's transactions see of their block."""

    def __new__(
        cls,
        *,
        number: int,
        timestamp: int,
        coinbase: bytes,
        gas_limit: int,
        base_fee: int,
        prev_randao: bytes,
        parent_hash: bytes,
        origin_hash: bytes,
        extra_data: bytes,
    ) -> Self:
        """`timestamp`: seconds. `origin_hash`: parentBeaconBlockRoot. `extra_data`: at most 32 bytes."""

    number: Final[int]
    timestamp: Final[int]
    coinbase: Final[bytes]
    gas_limit: Final[int]
    base_fee: Final[int]
    prev_randao: Final[bytes]
    parent_hash: Final[bytes]
    origin_hash: Final[bytes]
    extra_data: Final[bytes]

@final
class Host:
    """The questions that execution asks Python."""

    def __new__(
        cls,
        *,
        models: ModelsCallback,
        infer: InferCallback,
        block_hash: BlockHashCallback,
        answer: AnswerCallback | None = None,
        console: ConsoleCallback | None = None,
    ) -> Self:
        """`console` gets what contracts print: (position, ordinal in the transaction, calldata)."""

def next_base_fee(parent_base_fee: int, parent_ordinary_gas: int, gas_limit: int) -> int:
    """Base fee of the next block (EIP-1559, elasticity 2, denominator 8), moved by ordinary gas alone.

    Ordinary gas above the limit counts as the limit, so a step is at most 1/8. A fee of 0 can rise again:
    the least increase is 1 wei.
    """

# --- state ----------------------------------------------------------------------------------------

@final
class Account:
    nonce: Final[int]
    balance: Final[int]
    code_hash: Final[bytes]
    storage_root: Final[bytes]

@final
class StorageProof:
    slot: Final[bytes]
    value: Final[int]
    proof: Final[list[bytes]]
    """Trie nodes from the storage root down; proves absence when the value is 0."""

@final
class AccountProof:
    """Answer of eth_getProof; an absent account has the facts of an empty one."""

    address: Final[bytes]
    nonce: Final[int]
    balance: Final[int]
    code_hash: Final[bytes]
    storage_root: Final[bytes]
    account_proof: Final[list[bytes]]
    storage_proofs: Final[list[StorageProof]]

@final
class State:
    """The world at one block, read through `read` and cached; mutable.

    Accounts, slots, code and trie nodes stay cached up to about `cache_bytes`. The state moves only by
    `BlockExecutor.commit` and `reset`. Any number of executors and calls may read it at once; when it
    moves, executors opened before fail with core.stale, `call`, `estimate_gas`, `proof` and the readers
    start again by themselves. A view of an older block is a `State` of its own over an overlay of undo
    data.
    """

    def __new__(cls, read: ReadCallback, *, cache_bytes: int = ...) -> Self: ...
    def root(self) -> bytes:
        """State root; EMPTY_ROOT for a store without a trie."""

    def account(self, address: bytes) -> Account | None: ...
    def storage(self, address: bytes, slot: bytes) -> int: ...
    def code(self, address: bytes) -> bytes:
        """Code of the account; a delegated account shows its 23-byte designator (EIP-7702)."""

    def proof(self, address: bytes, slots: Sequence[bytes]) -> AccountProof: ...
    def reset(self, persist: Callable[[], None] | None = None) -> None:
        """Run `persist`, which may change the store at will (rewind), and forget everything cached.

        If `persist` raises, the cache is dropped all the same and the exception propagates.
        """

    def cache_size(self) -> int:
        """Bytes in the cache, estimated."""

# --- execution ------------------------------------------------------------------------------------

@final
class InferenceRequest:
    """A neuron-tier INFER call."""

    ordinal: Final[int]
    """Index among the neuron-tier calls of its transaction, in call order."""
    model_id: Final[bytes]
    input: Final[bytes]
    params: Final[bytes]
    max_output: Final[int]
    seed: Final[bytes]
    request_hash: Final[bytes]
    macs: Final[int]
    gas: Final[int]
    """Gas charged for the call before it runs."""

@final
class Log:
    address: Final[bytes]
    topics: Final[list[bytes]]
    data: Final[bytes]

@final
class Receipt:
    """Receipt of an included transaction and the facts JSON-RPC shows beside it."""

    type: Final[int]
    transaction_hash: Final[bytes]
    sender: Final[bytes]
    to: Final[bytes | None]
    contract_address: Final[bytes | None]
    """Address created by a creation transaction that succeeded."""
    status: Final[int]
    """1 success, 0 failure."""
    gas_used: Final[int]
    infer_gas: Final[int]
    """Part of `gas_used` that INFER calls cost."""
    cumulative_gas_used: Final[int]
    effective_gas_price: Final[int]
    """Wei per gas; 0 for a system transaction."""
    data_size: Final[int]
    """Bytes it paid for on Bitcoin; 0 for a system transaction."""
    data_fee: Final[int]
    """What they cost in wei, beside gas."""
    data_rate: Final[int]
    """The fee rate it was charged by, sats per 1,000 bytes."""
    data_scalar: Final[int]
    """The scalar it was charged by, in millionths."""
    logs: Final[list[Log]]
    logs_bloom: Final[bytes]
    deposit_nonce: Final[int | None]
    """Nonce of the sender before a system transaction; None for the other types."""

    def encode(self) -> bytes:
        """Consensus encoding (EIP-2718); a system transaction's ends in deposit nonce and version 1."""

@final
class Outcome:
    """What became of one user transaction at its turn."""

    kind: Final[Literal["included", "skipped", "parked"]]
    code: Final[str | None]
    """Why it was skipped. At its turn: tx.nonce_too_low, tx.nonce_too_high, tx.insufficient_funds,
    tx.fee_cap_below_base_fee, tx.sender_is_contract; no room in this block, try the next: tx.block_gas,
    infer.block_mac_limit; never: infer.transaction_mac_limit, infer.no_record, and the codes of
    `decode`."""
    message: Final[str | None]
    receipt: Final[Receipt | None]
    """Of an included transaction."""
    output: Final[bytes | None]
    """Return or revert data of an included transaction."""
    index: Final[int | None]
    """Position in the block of an included transaction."""
    used_records: Final[list[int]]
    """Record indexes of the answers used, in call order, each once."""
    request: Final[InferenceRequest | None]
    """The first unanswered call of a parked transaction."""

@final
class BlockExecutor:
    """Builds one block on top of a state; mutable, for one thread at a time.

    The constructor makes the pre-block system calls (EIP-4788 with the origin hash, EIP-2935 with the
    parent hash). Then: `system` any times, `run` any times, `seal` once, and `commit` or `abandon`. A
    transaction that is skipped or parked leaves no trace. An exception from `system` or `run` (a
    callback's, core.stale) leaves the transactions before the failing one in place and the executor usable
    only for `abandon`.
    """

    def __new__(cls, state: State, rules: Rules, env: BlockEnv, host: Host) -> Self: ...
    def system(self, transactions: Sequence[SystemTransaction]) -> list[Receipt]:
        """Run derived transactions; a failing one mints, bumps the nonce and leaves a receipt of status 0.

        Must come before `run`. Never refused for the block gas limit; what they use is gone for `run`.
        """

    def run(
        self,
        transactions: Sequence[Transaction],
        answers: Sequence[Answers | None] | None = None,
        missing: Missing = "skip",
    ) -> list[Outcome]:
        """Run user transactions in order; one outcome each. `answers`: one entry a transaction."""

    def system_call(self, contract: bytes, data: bytes) -> tuple[bool, bool, bytes]:
        """Call a contract as the system with 30,000,000 gas: whether it has code, whether it succeeded, output.

        Only under `plain_rules`; core.order otherwise. Without code nothing happens.
        """

    def run_traced(self, transaction: Transaction, write: Callable[[bytes], object]) -> Outcome:
        """Run one transaction and hand `write` a line of JSON for each step (EIP-3155). Only under `plain_rules`."""

    def credit(self, amounts: Sequence[tuple[bytes, int]]) -> None:
        """Add wei to accounts, each touched even by nothing: withdrawals, rewards. Only under `plain_rules`."""

    @property
    def gas_left(self) -> int:
        """Gas that transactions may still declare in this block.

        Used gas is gone, and so is what transactions declared that replay ran and left out.
        """

    @property
    def ordinary_gas_used(self) -> int: ...
    @property
    def transaction_count(self) -> int: ...
    @property
    def on_chain_macs_left(self) -> int: ...
    @property
    def neuron_macs_left(self) -> int: ...
    def seal(self, records: Sequence[bytes] = (), withdrawals_root: bytes | None = None) -> SealedBlock:
        """Finish the block; the header commits to the root of `records`.

        `records`: the encoded records used, in call order. `withdrawals_root` None means EMPTY_ROOT. Nothing
        of the state changes yet.
        """

    def commit(self, persist: Callable[[], None] | None = None) -> None:
        """Move the state to the sealed block: run `persist`, the caller's one atomic write, then promote.

        Readers wait meanwhile, so none sees half a block; `persist` must not read this State. If it raises,
        the state stays where it was and the exception propagates. core.stale if the state has moved since
        opening.
        """

    def abandon(self) -> None:
        """Drop the block; idempotent."""

@final
class SealedBlock:
    """A finished block and what it changes."""

    header: Final[Header]
    header_rlp: Final[bytes]
    hash: Final[bytes]
    number: Final[int]
    state_root: Final[bytes]
    gas_used: Final[int]
    ordinary_gas_used: Final[int]
    """Gas used less INFER gas; input of `next_base_fee`."""
    minted_wei: Final[int]
    destroyed_wei: Final[int]
    """Native coin that SELFDESTRUCT destroyed."""
    transactions: Final[list[bytes]]
    """Raw transactions, system ones first."""
    receipts: Final[list[Receipt]]
    receipts_blob: Final[bytes]
    """The same for storage; see `decode_receipts`."""
    records_root: Final[bytes | None]
    """None without records."""
    writes: Final[list[tuple[bytes, bytes | None]]]
    """State keys to write (None: delete), sorted by key, each once. Lists are made anew at each access."""
    wiped: Final[list[bytes]]
    """Accounts whose old slots and trie nodes `writes` leaves behind; none since Cancun."""
    undo: Final[bytes]
    """See `decode_undo`."""

def build_genesis(
    env: BlockEnv,
    accounts: Sequence[tuple[bytes, int, int, bytes, Mapping[bytes, int]]],
    withdrawals_root: bytes | None = None,
    allow_empty: bool = False,
) -> SealedBlock:
    """Make the first block from (address, nonce, balance, code, {slot32: value}) entries; no calls are run.

    ValueError for a repeated address and, unless `allow_empty`, for an account without nonce, balance and code.
    """

@final
class StateEdit:
    """A change of the state that no transaction makes; see `edit_state`."""

    root: Final[bytes]
    """State root after it."""
    writes: Final[list[tuple[bytes, bytes | None]]]
    undo: Final[bytes]

def edit_state(state: State, overrides: Sequence[AccountOverride]) -> StateEdit:
    """Compute what replacing parts of accounts writes; nothing is changed.

    An account that holds slots and nothing else gets nonce 1: the EVM would remove it as empty. ValueError for an
    account named twice or `storage` replaced as a whole; CoreError edit.leaves_storage for emptying an account that
    has slots, core.supply for a balance of 2**255 or more.
    """

def merge_undo(earlier: bytes, later: bytes) -> bytes:
    """Return undo data that goes back over both changes."""

def decode_undo(blob: bytes) -> list[tuple[bytes, bytes | None]]:
    """Writes that take the state back to before the block, sorted by key; None deletes."""

def history_rows(undo: bytes, number: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """Undo data of block `number` as rows of the history (docs/spec/state.md), and the sum of their CRC-32.

    A row is (`h` | length 1 | state key | number 8, former value or empty); code, named by its hash, has none.
    """

def decode_receipts(blob: bytes) -> list[Receipt]:
    """Read back `SealedBlock.receipts_blob`."""

@final
class Header:
    """A block header; field meanings in docs/spec/block.md."""

    @staticmethod
    def decode(rlp: bytes) -> Header:
        """Raise CoreError header.malformed unless `rlp` is exactly one header of this chain's shape."""

    hash: Final[bytes]
    parent_hash: Final[bytes]
    ommers_hash: Final[bytes]
    coinbase: Final[bytes]
    state_root: Final[bytes]
    transactions_root: Final[bytes]
    receipts_root: Final[bytes]
    logs_bloom: Final[bytes]
    number: Final[int]
    gas_limit: Final[int]
    gas_used: Final[int]
    timestamp: Final[int]
    extra_data: Final[bytes]
    prev_randao: Final[bytes]
    """Shown as mixHash."""
    base_fee: Final[int]
    withdrawals_root: Final[bytes]
    parent_beacon_block_root: Final[bytes]
    requests_hash: Final[bytes]

    def encode(self) -> bytes: ...

# --- calls ----------------------------------------------------------------------------------------

@final
class Message:
    """A call that is not a transaction: eth_call, eth_estimateGas, pre-execution."""

    def __new__(
        cls,
        *,
        sender: bytes = ...,
        to: bytes | None = None,
        value: int = 0,
        input: bytes = b"",
        gas_limit: int | None = None,
        gas_price: int = 0,
        priority_fee: int | None = None,
        nonce: int = 0,
        access_list: Sequence[tuple[bytes, Sequence[bytes]]] = (),
        authorizations: Sequence[Authorization] = (),
    ) -> Self:
        """`sender` defaults to the zero address, `gas_limit` to the block's. `to` None creates.

        With `priority_fee`, `gas_price` is the fee cap of a type 2 transaction. `nonce` counts in `SimulatedChain`.
        """

@final
class AccountOverride:
    """Replaces parts of one account for the time of a call; None leaves a part as it is."""

    def __new__(
        cls,
        address: bytes,
        *,
        balance: int | None = None,
        nonce: int | None = None,
        code: bytes | None = None,
        storage: Mapping[bytes, int] | None = None,
        storage_diff: Mapping[bytes, int] | None = None,
    ) -> Self:
        """`storage` replaces all slots, `storage_diff` only the named ones."""

@final
class CallResult:
    """What a call would do.

    `kind`: "success", "revert", "halt" (out of gas, invalid opcode ...), "parked" (needs a neuron's answer),
    "invalid" (could not start).
    """

    kind: Final[Literal["success", "revert", "halt", "parked", "invalid"]]
    code: Final[str | None]
    """For "halt", "parked" and "invalid": a stable code, for instance halt.out_of_gas,
    infer.block_mac_limit."""
    output: Final[bytes]
    """Return or revert data; for a creation the deployed code."""
    gas_used: Final[int]
    gas_refunded: Final[int]
    infer_gas: Final[int]
    logs: Final[list[Log]]
    request: Final[InferenceRequest | None]
    """Of a parked call."""
    requests: Final[list[InferenceRequest]]
    """All neuron-tier calls made so far, in call order."""
    created: Final[bytes | None]

def call(
    state: State,
    rules: Rules,
    env: BlockEnv,
    host: Host,
    message: Message,
    *,
    answers: Answers | None = None,
    missing: Missing = "park",
    overrides: Sequence[AccountOverride] = (),
    check_balance: bool = False,
) -> CallResult:
    """Run `message` on `state` in block `env` and keep nothing.

    Nonce and sender code are not checked and no fee is taken; with `check_balance` the sender must hold
    gas limit x gas price + value. `value` must be there in any case ("invalid", tx.insufficient_funds).
    """

def estimate_gas(
    state: State,
    rules: Rules,
    env: BlockEnv,
    host: Host,
    message: Message,
    *,
    answers: Answers | None = None,
    missing: Missing = "park",
    overrides: Sequence[AccountOverride] = (),
    tolerance_gas: int = 0,
) -> tuple[int | None, CallResult]:
    """Least gas limit with which `message` succeeds, and the result with it.

    The first element is None if it fails with the most gas allowed (the message's, the block's, the cap,
    what the sender can pay): then the result is that of this failing run.
    """

@final
class SimulatedChain:
    """Blocks upon blocks that nobody keeps, over one state; mutable, for one thread at a time.

    `open` a block, `run` messages as its transactions, `seal` it, and open the next. Fees are taken and paid as in a
    block. With `validate`, nonce, base fee and the sender's code are checked too. With `trace_transfers`, results
    show each transfer of native coin as a log of 0xeeee...ee; receipts and blooms do not hold these. core.stale if
    the state moves meanwhile; an exception leaves the object unusable.
    """

    def __new__(
        cls, state: State, rules: Rules, host: Host, *, validate: bool = False, trace_transfers: bool = False
    ) -> Self: ...
    def open(
        self,
        env: BlockEnv,
        overrides: Sequence[AccountOverride] = (),
        moves: Sequence[tuple[bytes, bytes]] = (),
        removed: Sequence[bytes] = (),
    ) -> None:
        """Open the next block on replaced accounts, which last.

        For this block alone: `moves`, precompiles by old and new address; `removed`, those that answer as accounts.
        """

    def nonce(self, address: bytes) -> int:
        """Return the nonce of an account as it is now."""

    def run(self, message: Message, answers: Answers | None = None, missing: Missing = "park") -> CallResult:
        """Run a message as the next transaction; one that is "invalid" or "parked" leaves no trace."""

    def seal(self, transactions: Sequence[bytes]) -> Header:
        """Finish the block, of which these are the transactions' bytes."""

# --- plain Ethereum, for test doors ---------------------------------------------------------------

def plain_rules(fork: str, chain_id: int, max_blobs: int | None = None) -> Rules:
    """Rules of an Ethereum fork (Frontier to Osaka) in the place of this chain's.

    A block under them makes no calls when it opens, knows no INFER, burns the base fee and pays the coinbase.
    `max_blobs`: most blobs of one transaction.
    """

def plain_block_env(
    *,
    number: int,
    timestamp: int,
    coinbase: bytes,
    gas_limit: int,
    base_fee: int,
    difficulty: int,
    prev_randao: bytes,
    excess_blob_gas: int,
    blob_base_fee: int,
) -> BlockEnv:
    """Block of plain Ethereum; what a fork does not know is ignored."""

def plain_transaction(
    *,
    type: int,
    sender: bytes,
    nonce: int,
    gas_limit: int,
    max_fee: int,
    to: bytes | None = None,
    value: int = 0,
    input: bytes = b"",
    chain_id: int | None = None,
    priority_fee: int | None = None,
    access_list: Sequence[tuple[bytes, Sequence[bytes]]] = (),
    blob_hashes: Sequence[bytes] = (),
    max_blob_fee: int = 0,
    authorizations: Sequence[Authorization] = (),
    raw: bytes = b"",
) -> Transaction:
    """Make a transaction of any type 0 to 4 from its fields; nothing is checked before it runs.

    `max_fee`: also the gas price. `raw`: what the transactions root commits to.
    """

# --- traces ---------------------------------------------------------------------------------------

def trace_block(
    state: State,
    rules: Rules,
    env: BlockEnv,
    host: Host,
    transactions: Sequence[Transaction | SystemTransaction],
    request: bytes,
    *,
    block_hash: bytes,
    gas_used: Sequence[int],
    only: int | None = None,
    limit_bytes: int,
    limit_ms: int,
) -> bytes:
    """Run a block's transactions again on the state before it; the JSON of what they did.

    `request` is JSON: {"debug": geth's options}, {"parity": ["trace", "vmTrace", "stateDiff"]}, "localized"
    (a flat list) or "operations" (Otterscan's). All transactions make an array, `only` one its trace alone.
    `gas_used`: of the receipts. CoreError trace.diverged if a transaction does not run as it ran,
    trace.too_large, trace.timeout, trace.options, trace.no_such_tracer.
    """

def trace_call(
    state: State,
    rules: Rules,
    env: BlockEnv,
    host: Host,
    message: Message,
    request: bytes,
    *,
    answers: Answers | None = None,
    missing: Missing = "park",
    overrides: Sequence[AccountOverride] = (),
    amidst: tuple[BlockEnv, Sequence[Transaction | SystemTransaction]] | None = None,
    limit_bytes: int,
    limit_ms: int,
) -> tuple[bytes | None, CallResult]:
    """Run `message` as `call` does; the JSON of what it did, None if it is "parked" or "invalid".

    `amidst`: a block that `state` is before, and its transactions that run first.
    """

def create_access_list(
    state: State,
    rules: Rules,
    env: BlockEnv,
    host: Host,
    message: Message,
    *,
    answers: Answers | None = None,
    missing: Missing = "park",
    overrides: Sequence[AccountOverride] = (),
) -> tuple[list[tuple[bytes, list[bytes]]], CallResult]:
    """(address, slots) that `message` touches, and what it does with this list (EIP-2930)."""

# --- fees -----------------------------------------------------------------------------------------

def data_sizes(raws: Sequence[bytes]) -> list[int]:
    """Return the bytes that each raw transaction pays for on Bitcoin; docs/spec/fees.md."""

# --- hashing and tries ----------------------------------------------------------------------------

def keccak256(data: bytes) -> bytes: ...
def keccak256_many(items: Sequence[bytes]) -> list[bytes]: ...
def ordered_root(items: Sequence[bytes]) -> bytes:
    """Root of the trie rlp(index) -> item, as transactions and receipts roots are made."""

def logs_bloom(logs: Sequence[tuple[bytes, Sequence[bytes]]]) -> bytes:
    """256-byte bloom of (address, topics) pairs."""

def records_root(records: Sequence[bytes]) -> bytes:
    """Root over encoded records: RFC 6962 shape, sha256, leaf prefix 0x00, node prefix 0x01."""

def requests_hash(root: bytes | None) -> bytes:
    """EIP-7685 hash of the one request 0xba || records root, or of no request."""

def request_hash(
    model_id: bytes, input: bytes, params: bytes, max_output: int, seed: bytes | None = None
) -> bytes:
    """keccak256("BitAI/request" || model || keccak(input) || keccak(params) || u32be max_output || seed).

    `seed` None means 32 zero bytes.
    """
