//! The actions of one round of planning.

use crate::action::Action;

/// How many requests may be under way at once.
pub(crate) const MOST_IN_FLIGHT: usize = 64;

/// Actions, no more than there is room for.
#[derive(Debug)]
pub(crate) struct Batch {
    actions: Vec<Action>,
    in_flight: usize,
}

impl Batch {
    /// Beside `in_flight` requests that are under way.
    pub(crate) fn new(in_flight: usize) -> Self {
        Self { actions: Vec::new(), in_flight }
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn is_full(&self) -> bool {
        self.in_flight + self.actions.len() >= MOST_IN_FLIGHT
    }

    /// Whether what can wait should: half of the room is for what jobs wait for.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight + self.actions.len() >= MOST_IN_FLIGHT / 2
    }

    pub(crate) fn into_actions(self) -> Vec<Action> {
        self.actions
    }
}
