//! Removes from the storage what nobody will ask for any more. Run from time to time, as the chart's CronJob does.
//!
//! [`layout`] says what an object is, [`plan`] which ones go; only [`run`] reads and deletes.

mod facts;
mod layout;
mod plan;
mod run;
mod survey;
#[cfg(test)]
mod tests;

pub use run::{CleanError, CleanSettings, clean_storage};
