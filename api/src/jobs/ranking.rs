//! A sorted set that knows the place of each of its items.

/// The longest run of items that lie together; a longer one is cut in two.
const RUN: usize = 512;

/// A sorted set that tells how many items come before one, without counting them one by one.
#[derive(Debug)]
pub(crate) struct Ranking<T> {
    /// Sorted runs of sorted items; none is empty.
    runs: Vec<Vec<T>>,
}

impl<T> Default for Ranking<T> {
    fn default() -> Self {
        Self { runs: Vec::new() }
    }
}

impl<T: Ord> Ranking<T> {
    /// Adds an item, unless it is there.
    pub(crate) fn insert(&mut self, item: T) {
        let last = self.runs.len().saturating_sub(1);
        let index = self.run_of(&item).min(last);
        let Some(run) = self.runs.get_mut(index) else {
            self.runs.push(vec![item]);
            return;
        };
        if let Err(place) = run.binary_search(&item) {
            run.insert(place, item);
        }
        if run.len() > RUN {
            let rest = run.split_off(RUN / 2);
            self.runs.insert(index + 1, rest);
        }
    }

    /// Removes an item, where it is there.
    pub(crate) fn remove(&mut self, item: &T) {
        let index = self.run_of(item);
        let Some(run) = self.runs.get_mut(index) else { return };
        if let Ok(place) = run.binary_search(item) {
            run.remove(place);
        }
        if run.is_empty() {
            self.runs.remove(index);
        }
    }

    /// How many items come before this one.
    #[must_use]
    pub(crate) fn before(&self, item: &T) -> usize {
        let index = self.run_of(item);
        let earlier: usize = self.runs[..index].iter().map(Vec::len).sum();
        let run = self.runs.get(index).map(Vec::as_slice).unwrap_or_default();
        earlier + run.partition_point(|other| other < item)
    }

    /// The first run that does not end before the item.
    fn run_of(&self, item: &T) -> usize {
        self.runs.partition_point(|run| run.last().is_some_and(|last| last < item))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_counts_as_a_sorted_set_does(changes in prop::collection::vec((any::<bool>(), 0..3000_u32), 0..4000)) {
            let (mut ranking, mut set) = (Ranking::default(), BTreeSet::new());
            for (comes, item) in changes {
                if comes {
                    ranking.insert(item);
                    set.insert(item);
                } else {
                    ranking.remove(&item);
                    set.remove(&item);
                }
            }
            prop_assert_eq!(ranking.runs.iter().flatten().copied().collect::<Vec<_>>(), Vec::from_iter(set.clone()));
            prop_assert!(ranking.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN));
            for item in (0..3000).step_by(97) {
                prop_assert_eq!(ranking.before(&item), set.range(..item).count());
            }
        }
    }
}
