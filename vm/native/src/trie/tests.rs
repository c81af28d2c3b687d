//! The trie against Ethereum's vectors and against alloy-trie, which builds from sorted leaves every time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_primitives::{B256, Bytes, b256, hex, keccak256};
use alloy_trie::proof::verify_proof;
use alloy_trie::{HashBuilder, Nibbles};

use super::{Ahead, Change, Child, EMPTY_ROOT, NodeSource, Updated, Visit, prefetch, prove, prune, stored};
use crate::error::{Failure, Result};

/// A store of nodes by path.
#[derive(Clone, Default)]
struct Nodes {
    by_path: BTreeMap<Vec<u8>, Bytes>,
}

impl NodeSource for Nodes {
    fn node(&self, path: &Nibbles) -> Result<Bytes> {
        self.by_path
            .get(&path.to_vec())
            .cloned()
            .ok_or_else(|| Failure::corrupt(format!("no node at {path:?}")))
    }
}

impl Nodes {
    fn write(&mut self, updated: &Updated) {
        for node in &updated.nodes {
            let path = node.path.to_vec();
            let before = match &node.after {
                Some(rlp) => self.by_path.insert(path, rlp.clone()),
                None => self.by_path.remove(&path),
            };
            assert_eq!(before, node.before, "what a node replaces is what was stored at {:?}", node.path);
        }
    }

    fn undo(&mut self, updated: &Updated) {
        for node in &updated.nodes {
            let path = node.path.to_vec();
            match &node.before {
                Some(rlp) => self.by_path.insert(path, rlp.clone()),
                None => self.by_path.remove(&path),
            };
        }
    }
}

/// Small deterministic generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn batch(entries: impl IntoIterator<Item = (B256, Option<Bytes>)>) -> Vec<Change> {
    let sorted: BTreeMap<_, _> = entries.into_iter().collect();
    sorted.iter().map(|(key, value)| Change::new(key, value.clone())).collect()
}

fn expected_root(leaves: &BTreeMap<B256, Bytes>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in leaves {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

/// Applies a batch without reading ahead.
fn apply(nodes: &dyn NodeSource, root: &Child, changes: &[Change], epoch: u32) -> Result<Updated> {
    super::apply(nodes, root, changes, epoch, &Ahead::default())
}

/// Folder of published vectors, if this machine has it.
fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("BITAI_VECTORS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = named.unwrap_or(beside).join("ethereum/TrieTests");
    folder.is_dir().then_some(folder)
}

fn bytes_of(text: &str) -> Vec<u8> {
    match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).expect("hex in a vector"),
        None => text.as_bytes().to_vec(),
    }
}

fn check_vector(file: &str) {
    let Some(folder) = vectors() else {
        eprintln!("skipped: no published vectors here");
        return;
    };
    let text = std::fs::read_to_string(folder.join(file)).expect("a vector file");
    let cases: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    for (name, case) in cases {
        let pairs: Vec<(String, Option<String>)> = match &case["in"] {
            serde_json::Value::Array(pairs) => pairs
                .iter()
                .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().map(str::to_owned)))
                .collect(),
            serde_json::Value::Object(map) => {
                map.iter().map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned))).collect()
            }
            other => panic!("{name}: {other}"),
        };
        let mut nodes = Nodes::default();
        let mut root = Child::Empty;
        for (key, value) in pairs {
            let key = keccak256(bytes_of(&key));
            let changes = batch([(key, value.map(|value| bytes_of(&value).into()))]);
            let updated = apply(&nodes, &root, &changes, 0).unwrap();
            nodes.write(&updated);
            // Read everything back from the store each time.
            root = stored(updated.hash);
        }
        assert_eq!(format!("{}", root.root_hash()), case["root"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn agrees_with_the_published_secure_tries() {
    check_vector("trietest_secureTrie.json");
    check_vector("trieanyorder_secureTrie.json");
    check_vector("hex_encoded_securetrie_test.json");
}

#[test]
fn the_empty_root_is_the_hash_of_an_empty_string() {
    assert_eq!(EMPTY_ROOT, keccak256([0x80]));
    assert_eq!(apply(&Nodes::default(), &Child::Empty, &[], 0).unwrap().hash, EMPTY_ROOT);
}

/// Random batches, the tree kept, pruned or dropped between them: same roots as from scratch, same store as the leaves
/// alone give, and undo leads back.
fn random_walk(seed: u64, key: impl Fn(&mut Random) -> B256, value: impl Fn(&mut Random) -> Bytes) {
    let mut random = Random(seed);
    let mut nodes = Nodes::default();
    let mut leaves = BTreeMap::new();
    let mut root = Child::Empty;
    for round in 0..60u32 {
        let size = 1 + random.below(if round % 10 == 9 { 600 } else { 30 });
        let changes = batch((0..size).map(|_| {
            let key = key(&mut random);
            let value = (random.below(3) != 0).then(|| value(&mut random));
            (key, value)
        }));
        for change in &changes {
            let key = B256::from_slice(&change.key.pack());
            match &change.value {
                Some(value) => leaves.insert(key, value.clone()),
                None => leaves.remove(&key),
            };
        }
        let before = nodes.clone();
        let updated = apply(&nodes, &root, &changes, round).unwrap();
        assert_eq!(updated.hash, expected_root(&leaves), "seed {seed} round {round}");
        let visit = [Visit { root: &root, changes: &changes }];
        let ahead =
            prefetch(&visit, round, |wanted| wanted.iter().map(|(_, path)| nodes.node(path)).collect());
        let again = super::apply(&nodes, &root, &changes, round, &ahead.unwrap()[0]).unwrap();
        assert_eq!(again.nodes, updated.nodes, "seed {seed} round {round}: reading ahead changes nothing");
        nodes.write(&updated);
        let mut undone = nodes.clone();
        undone.undo(&updated);
        assert_eq!(undone.by_path, before.by_path, "seed {seed} round {round}");
        let fresh =
            apply(&Nodes::default(), &Child::Empty, &batch(leaves.clone().into_iter().map(some)), 0).unwrap();
        let mut expected = Nodes::default();
        expected.write(&fresh);
        assert_eq!(nodes.by_path, expected.by_path, "seed {seed} round {round}: no node too many or too few");
        root = match random.below(3) {
            0 => stored(updated.hash),
            1 => prune(&updated.root, round.saturating_sub(2)).0,
            _ => updated.root,
        };
    }
}

fn some((key, value): (B256, Bytes)) -> (B256, Option<Bytes>) {
    (key, Some(value))
}

#[test]
fn random_tries_of_hashed_keys() {
    for seed in 0..6 {
        random_walk(
            seed,
            |random| keccak256(random.below(400).to_be_bytes()),
            |random| vec![1; 1 + random.below(80) as usize].into(),
        );
    }
}

#[test]
fn random_tries_of_crowded_keys_with_inline_nodes() {
    // Keys that share long prefixes and short values: extensions everywhere, nodes inside their parents.
    for seed in 100..106 {
        random_walk(
            seed,
            |random| {
                let mut key = [0u8; 32];
                let crowd = random.below(4) as u8;
                key[0] = crowd;
                key[29] = random.below(3) as u8;
                key[30] = (random.below(4) * 16) as u8;
                key[31] = random.below(256) as u8;
                key.into()
            },
            |random| vec![1 + random.below(100) as u8].into(),
        );
    }
}

#[test]
fn an_unchanged_value_writes_nothing() {
    let changes = batch((0..300u64).map(|i| (keccak256(i.to_be_bytes()), Some(vec![7; 40].into()))));
    let mut nodes = Nodes::default();
    let first = apply(&nodes, &Child::Empty, &changes, 0).unwrap();
    nodes.write(&first);
    let again = apply(&nodes, &first.root, &changes, 1).unwrap();
    assert_eq!(again.hash, first.hash);
    assert!(again.nodes.is_empty());
}

#[test]
fn proofs_verify_for_present_and_absent_keys() {
    let mut nodes = Nodes::default();
    let entries =
        (0..500u64).map(|i| (keccak256(i.to_be_bytes()), Some(Bytes::from(vec![(i % 200) as u8 + 1; 33]))));
    let updated = apply(&nodes, &Child::Empty, &batch(entries), 0).unwrap();
    nodes.write(&updated);
    for root in [updated.root.clone(), stored(updated.hash)] {
        for i in 0..600u64 {
            let key = keccak256(i.to_be_bytes());
            let proof = prove(&nodes, &root, &key).unwrap();
            let value = (i < 500).then(|| vec![(i % 200) as u8 + 1; 33]);
            verify_proof(updated.hash, Nibbles::unpack(key), value, &proof).unwrap();
        }
    }
    assert!(prove(&nodes, &Child::Empty, &B256::ZERO).unwrap().is_empty());
}

#[test]
fn a_wrong_or_missing_node_is_a_corrupt_store() {
    let mut nodes = Nodes::default();
    let entries = (0..64u64).map(|i| (keccak256(i.to_be_bytes()), Some(Bytes::from_static(&[1]))));
    let updated = apply(&nodes, &Child::Empty, &batch(entries), 0).unwrap();
    nodes.write(&updated);
    let change = batch([(b256!("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"), None)]);
    let mut broken = nodes.clone();
    let root = broken.by_path.get_mut(&Vec::new()).unwrap();
    let mut rlp = root.to_vec();
    rlp[40] ^= 1;
    *root = rlp.into();
    for store in [broken, Nodes::default()] {
        let error = apply(&store, &stored(updated.hash), &change, 0).err().expect("a failure");
        assert!(error.to_string().starts_with("core.corrupt_state"));
    }
}

#[test]
fn only_the_changed_path_is_read() {
    struct Counting<'a>(&'a Nodes, AtomicUsize);
    impl NodeSource for Counting<'_> {
        fn node(&self, path: &Nibbles) -> Result<Bytes> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.node(path)
        }
    }
    let mut nodes = Nodes::default();
    let entries = (0..4_096u64).map(|i| (keccak256(i.to_be_bytes()), Some(Bytes::from_static(&[1; 40]))));
    let updated = apply(&nodes, &Child::Empty, &batch(entries), 0).unwrap();
    nodes.write(&updated);
    let counting = Counting(&nodes, AtomicUsize::new(0));
    let change = batch([(keccak256(9u64.to_be_bytes()), Some(Bytes::from_static(&[2; 40])))]);
    let root = stored(updated.hash);
    let visit = [Visit { root: &root, changes: &change }];
    let ahead =
        prefetch(&visit, 1, |wanted| wanted.iter().map(|(_, path)| counting.node(path)).collect()).unwrap();
    super::apply(&counting, &root, &change, 1, &ahead[0]).unwrap();
    // Sixteen to the third are as many as there are leaves; no node is read twice.
    assert!(counting.1.into_inner() <= 6);
}
