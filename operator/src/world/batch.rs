//! The actions of one round of planning.

use crate::action::Action;

/// Actions, no more than there is room for.
#[derive(Debug)]
pub(crate) struct Batch {
    actions: Vec<Action>,
    in_flight: usize,
    most: usize,
}

impl Batch {
    /// Beside `in_flight` requests that are under way, where there may be `most`.
    pub(crate) fn new(in_flight: usize, most: usize) -> Self {
        Self { actions: Vec::new(), in_flight, most }
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// How many more actions there is room for.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.in_flight + self.actions.len())
    }

    /// Whether what can wait should: half of the room is for what jobs wait for.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight + self.actions.len() >= self.most.div_ceil(2)
    }

    pub(crate) fn into_actions(self) -> Vec<Action> {
        self.actions
    }
}
