//! The last of what happened.

use std::collections::VecDeque;

use serde::Serialize;

/// The last `N` of many, the newest first, each with its number from 1.
#[derive(Debug)]
pub(super) struct Recent<T, const N: usize> {
    last: u64,
    kept: VecDeque<Numbered<T>>,
}

/// One of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Numbered<T> {
    pub(super) number: u64,
    #[serde(flatten)]
    pub(super) it: T,
}

impl<T, const N: usize> Recent<T, N> {
    pub(super) fn push(&mut self, it: T) {
        self.last += 1;
        self.kept.truncate(N - 1);
        self.kept.push_front(Numbered { number: self.last, it });
    }

    /// How many there have been.
    pub(super) const fn count(&self) -> u64 {
        self.last
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Numbered<T>> {
        self.kept.iter()
    }

    /// The one of that number, if it is still kept.
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let index = usize::try_from(self.last.checked_sub(number)?).ok()?;
        self.kept.get(index).map(|numbered| &numbered.it)
    }
}

impl<T, const N: usize> Default for Recent<T, N> {
    fn default() -> Self {
        Self { last: 0, kept: VecDeque::with_capacity(N) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_under_their_numbers_the_newest_first() {
        let mut recent = Recent::<_, 3>::default();
        (1..=5).for_each(|it| recent.push(it * 10));
        let kept: Vec<_> = recent.iter().map(|it| (it.number, it.it)).collect();
        assert_eq!(kept, [(5, 50), (4, 40), (3, 30)]);
        assert_eq!(
            [0, 2, 3, 5, 6].map(|number| recent.get(number).copied()),
            [None, None, Some(30), Some(50), None]
        );
        assert_eq!(recent.count(), 5);
    }
}
