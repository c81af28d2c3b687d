//! A bounded map that forgets what was not read for long.

use std::collections::HashMap;
use std::hash::Hash;

use revm::primitives::map::DefaultHashBuilder;

/// Two generations: an entry read from the older one moves to the newer; when the newer is full it becomes the older
/// and the older is dropped. So what is kept was read since the last turn, at the price of one move a turn.
pub(crate) struct Cache<K, V> {
    young: HashMap<K, V, DefaultHashBuilder>,
    old: HashMap<K, V, DefaultHashBuilder>,
    entries_per_generation: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Cache<K, V> {
    pub(crate) fn new(max_entries: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            entries_per_generation: max_entries.div_ceil(2),
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(*key, value.clone());
        Some(value)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.young.contains_key(key) || self.old.contains_key(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.entries_per_generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;

    #[test]
    fn keeps_what_is_read_and_stays_bounded() {
        let mut cache = Cache::new(100);
        cache.insert(0, 0);
        for key in 1..1_000 {
            cache.insert(key, key);
            assert_eq!(cache.get(&0), Some(0));
            assert!(cache.len() <= 101);
        }
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn the_last_write_wins() {
        let mut cache = Cache::new(4);
        for round in 0..10 {
            for key in 0..3 {
                cache.insert(key, round);
                assert_eq!(cache.get(&key), Some(round));
            }
        }
    }
}
