"""Through any history the pool's books are right, and what it offers could be a block."""

from collections import defaultdict

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from primitives.errors import Rejected
from rollup.sequencer.pool import AccountFacts, Pool, PoolLimits
from tests.rollup.sequencer.pooled import Accounts, Fake, sender

LIMITS = PoolLimits(transactions=12, raw_bytes=1_500, per_sender=6, gapped=4, nonce_gap=4)
SENDERS = st.sampled_from([sender(number) for number in range(1, 5)])


class PoolHistory(RuleBasedStateMachine):
    """Admissions, blocks, rewinds, parking and answers in any order, beside books kept by hand."""

    def __init__(self):
        super().__init__()
        self.pool = Pool(LIMITS)
        self.accounts = Accounts()
        self.held = {}
        self.pool.watch(self.held.pop)

    @rule(
        who=SENDERS,
        ahead=st.integers(-1, 6),
        fee=st.integers(1, 40),
        tip=st.integers(0, 40),
        size=st.integers(50, 400),
        gas=st.integers(21_000, 60_000),
        balance=st.integers(0, 20_000_000),
    )
    def admit(self, *, who, ahead, fee, tip, size, gas, balance):
        """A transaction comes, good or not."""
        nonce = max(0, self.accounts.nonces.get(who, 0) + ahead)
        made = Fake(who, nonce, fee, min(tip, fee), gas, size=size)
        facts = AccountFacts(self.accounts.nonces.get(who, 0), balance)
        try:
            self.pool.add(made, facts, floor_fee_wei=2)
        except Rejected:
            return
        self.held[made.hash] = made
        spent = sum(
            each.gas_limit * each.max_fee_per_gas + each.value
            for each in self.held.values()
            if each.sender == who
        )
        assert spent <= balance
        assert fee >= 2

    @rule(base_fee=st.integers(0, 30), gas=st.integers(0, 200_000), take=st.integers(0, 12))
    def block(self, base_fee, gas, take):
        """A block takes the first so many of what is offered."""
        offered = self.pool.ready(base_fee, self.accounts, gas=gas)
        self._check_offer(offered, base_fee, gas)
        for each in offered[:take]:
            self.accounts.nonces[each.sender] = each.nonce + 1
        self.pool.included([each.hash for each in offered[:take]])

    def _check_offer(self, offered, base_fee, gas):
        assert sum(each.gas_limit for each in offered) <= gas
        nonces = defaultdict(list)
        for each in offered:
            assert each.hash not in self.pool.waiting()
            assert each.max_fee_per_gas >= base_fee
            nonces[each.sender].append(each.nonce)
        for who, run in nonces.items():
            first = self.accounts.nonces.get(who, 0)
            assert run == list(range(first, first + len(run)))

    @rule(who=SENDERS, step=st.integers(-2, 3))
    def state_moves(self, who, step):
        """A forced transaction spends a nonce, or a rewind gives some back."""
        self.accounts.nonces[who] = max(0, self.accounts.nonces.get(who, 0) + step)

    @rule(data=st.data(), question=st.integers(0, 2))
    def park(self, data, question):
        """One of those that wait asks a model."""
        if self.held:
            self.pool.wait_for(data.draw(st.sampled_from(sorted(self.held))), bytes([question]) * 32)

    @rule(question=st.integers(0, 2))
    def answer(self, question):
        """An answer releases exactly those that waited for it."""
        waited = {each for each, wanted in self.pool.waiting().items() if wanted == bytes([question]) * 32}
        assert set(self.pool.wake(bytes([question]) * 32)) == waited

    @rule(data=st.data())
    def drop(self, data):
        """One that can never run leaves."""
        if self.held:
            self.pool.remove([data.draw(st.sampled_from(sorted(self.held)))])

    @rule(who=SENDERS)
    def pending_nonce(self, who):
        """The pending nonce is the first that nothing waits with."""
        nonce = self.accounts.nonces.get(who, 0)
        nonces = {each.nonce for each in self.held.values() if each.sender == who}
        expected = nonce
        while expected in nonces:
            expected += 1
        assert self.pool.pending_nonce(who, nonce) == expected

    @invariant()
    def books_are_right(self):
        """Count, bytes, gaps and what is held agree with the books, and stay within bounds."""
        pool = self.pool
        assert len(pool) == len(self.held) <= LIMITS.transactions
        assert pool.raw_bytes == sum(each.size for each in self.held.values()) <= LIMITS.raw_bytes
        assert set(pool.waiting()) <= set(self.held)
        assert all(pool.get(each) is made for each, made in self.held.items())
        assert len({(each.sender, each.nonce) for each in self.held.values()}) == len(self.held)
        runnable, gapped = pool.content(1_000)
        assert {each.hash for each in (*runnable, *gapped)} == set(self.held)
        assert len(gapped) == pool.gapped
        for who in {each.sender for each in self.held.values()}:
            assert sum(each.sender == who for each in self.held.values()) <= LIMITS.per_sender


TestPoolHistory = PoolHistory.TestCase
