"""Merkle roots are the published ones, and a proof proves one leaf at one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives import merkle
from primitives.errors import InvalidInput
from primitives.hashes import sha256, sha256d
from primitives.ids import parse_display_hash

LEAVES = st.lists(st.binary(max_size=40), min_size=1, max_size=40)
# Certificate transparency's reference leaves and roots of their prefixes.
REFERENCE_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
REFERENCE_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def recursive_root(leaves):
    """The definition in RFC 9162, as an oracle."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + recursive_root(leaves[:split]) + recursive_root(leaves[split:]))


@pytest.mark.parametrize(("count", "root"), REFERENCE_ROOTS.items())
def test_reference_roots(count, root):
    """The tree is certificate transparency's."""
    leaves = [bytes.fromhex(leaf) for leaf in REFERENCE_LEAVES[:count]]
    assert merkle.merkle_root(leaves).hex() == root


@given(LEAVES)
def test_root_is_the_recursive_definition(leaves):
    """Level by level or split by split, the root is the same."""
    assert merkle.merkle_root(leaves) == recursive_root(leaves)


@given(LEAVES, st.data())
def test_a_proof_proves_its_leaf_only(leaves, data):
    """The proof of a leaf holds at its index, and for no other leaf, index or length of proof."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = merkle.merkle_root(leaves), merkle.merkle_proof(leaves, index)

    def holds(leaf=leaves[index], proof=proof, index=index):
        return merkle.verify_merkle_proof(root, leaf, proof, index=index, count=len(leaves))

    assert holds()
    assert not holds(leaf=leaves[index] + b"x")
    assert not holds(proof=(*proof, bytes(32)))
    assert not holds(index=len(leaves))
    assert not holds(index=-1)
    if proof:
        assert not holds(proof=proof[:-1])
        assert not holds(proof=(*proof[:-1], proof[-1][:-1]))
        assert not holds(proof=(*proof[:-1], bytes(32)))


def test_a_node_is_no_leaf():
    """Leaves and nodes are hashed apart, so the two halves of a node cannot pass for a leaf."""
    left, right = merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")
    assert merkle.merkle_root([b"a", b"b"]) != merkle.merkle_root([left + right])


def test_no_leaf_there():
    """A proof of a leaf that is not there cannot be asked for."""
    with pytest.raises(InvalidInput, match=r"merkle\.bad_index"):
        merkle.merkle_proof([b"a"], 1)


def test_bitcoin_root_of_a_known_block():
    """Block 100,000 of the main chain: four transactions."""
    shown = [
        "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
        "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
        "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
        "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
    ]
    root = merkle.bitcoin_merkle_root([parse_display_hash(txid) for txid in shown])
    assert root == parse_display_hash("f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766")


def test_bitcoin_root_pairs_an_odd_hash_with_itself():
    """Three hashes hash as four with the last one twice, and one is its own root."""
    a, b, c = (bytes([value]) * 32 for value in (1, 2, 3))
    root = sha256d(sha256d(a + b) + sha256d(c + c))
    assert merkle.bitcoin_merkle_root([a, b, c]) == root
    assert merkle.bitcoin_merkle_root([a]) == a


def test_a_doubled_list_is_refused():
    """[a, b, c] and [a, b, c, c] have one root; the second is nobody's block (CVE-2012-2459)."""
    a, b, c = (bytes([value]) * 32 for value in (1, 2, 3))
    with pytest.raises(InvalidInput, match=r"merkle\.mutated"):
        merkle.bitcoin_merkle_root([a, b, c, c])
    with pytest.raises(InvalidInput, match=r"merkle\.empty"):
        merkle.bitcoin_merkle_root([])
