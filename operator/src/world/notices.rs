//! Events that wait to be published: few at a time, so that jobs need not wait for them, and a limited number.

use std::collections::VecDeque;

use crate::action::Notice;

/// How many are published at a time.
const MOST_IN_FLIGHT: usize = 8;
/// How many may wait: where more come than the API server takes, the oldest are left out.
const MOST_WAITING: usize = 1000;

/// Events that wait to be published.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: VecDeque<Notice>,
    in_flight: usize,
}

impl Notices {
    pub(super) fn push(&mut self, notice: Notice) {
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(notice);
    }

    /// The next one to publish, where not too many are under way.
    pub(super) fn next(&mut self) -> Option<Notice> {
        if self.in_flight == MOST_IN_FLIGHT {
            return None;
        }
        let notice = self.waiting.pop_front()?;
        self.in_flight += 1;
        Some(notice)
    }

    /// One was published, or could not be.
    pub(super) fn published(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(super) fn take_all(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.waiting).into()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::events::EventType;

    use super::*;

    fn notice(n: usize) -> Notice {
        let about = Default::default();
        Notice { about, type_: EventType::Normal, reason: "Completed", note: n.to_string() }
    }

    #[test]
    fn a_flood_of_events_takes_little_room_and_keeps_the_last() {
        let mut notices = Notices::default();
        (0..5000).for_each(|n| notices.push(notice(n)));
        let first = std::iter::from_fn(|| notices.next()).collect::<Vec<_>>();
        assert_eq!((first.len(), first[0].note.as_str()), (MOST_IN_FLIGHT, "4000"));
        notices.published();
        assert!(notices.next().is_some());
        assert_eq!(notices.take_all().last().unwrap().note, "4999");
    }
}
