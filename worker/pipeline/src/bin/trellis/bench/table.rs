//! The figures, for people and as JSON.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Figures, and what they are of.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) setting: String,
    pub(super) rows: Vec<Row>,
}

/// A stage's figures. Times are in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) stage: String,
    median: f64,
    min: f64,
    max: f64,
    /// The most memory that libtorch held on the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_gib: Option<f64>,
    /// Whether two runs gave the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) same_bytes: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<Reference>,
}

/// What the reference implementation takes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Reference {
    milliseconds: f64,
    gib: f64,
}

impl Row {
    /// The figures of times, of which there is at least one.
    pub(super) fn new(stage: String, mut times: Vec<Duration>) -> Self {
        times.sort();
        let milliseconds = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1000.0);
        Self {
            stage,
            median: milliseconds(times.get(times.len() / 2)),
            min: milliseconds(times.first()),
            max: milliseconds(times.last()),
            peak_gib: None,
            same_bytes: None,
            reference: None,
        }
    }

    /// The figures of stages that follow one another.
    pub(super) fn sum(stage: String, rows: &[&Self]) -> Self {
        let sum = |of: fn(&Self) -> f64| rows.iter().map(|row| of(row)).sum();
        let references: Option<Vec<_>> = rows.iter().map(|row| row.reference).collect();
        let reference = references.map(|references| Reference {
            milliseconds: references.iter().map(|reference| reference.milliseconds).sum(),
            gib: references.iter().map(|reference| reference.gib).fold(0.0, f64::max),
        });
        Self {
            stage,
            median: sum(|row| row.median),
            min: sum(|row| row.min),
            max: sum(|row| row.max),
            peak_gib: rows.iter().filter_map(|row| row.peak_gib).reduce(f64::max),
            same_bytes: rows.iter().map(|row| row.same_bytes).reduce(|all, one| Some(all? && one?)).flatten(),
            reference,
        }
    }
}

type Cell = fn(&Row) -> Option<String>;

/// Columns after the stage's name; one that no row fills is left out.
const COLUMNS: [(&str, Cell); 8] = [
    ("median ms", |row| Some(format!("{:.2}", row.median))),
    ("min ms", |row| Some(format!("{:.2}", row.min))),
    ("max ms", |row| Some(format!("{:.2}", row.max))),
    ("peak GiB", |row| Some(format!("{:.2}", row.peak_gib?))),
    ("reference ms", |row| Some(format!("{:.1}", row.reference?.milliseconds))),
    ("reference GiB", |row| Some(format!("{:.2}", row.reference?.gib))),
    ("times faster", |row| Some(format!("{:.2}", row.reference?.milliseconds / row.median))),
    ("same bytes", |row| row.same_bytes.map(|same| if same { "yes" } else { "no" }.to_owned())),
];

impl fmt::Display for Report {
    /// A table in Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_filled = |cell: Cell| self.rows.iter().any(|row| cell(row).is_some());
        let columns: Vec<_> = COLUMNS.into_iter().filter(|&(_, cell)| is_filled(cell)).collect();
        let width = self.rows.iter().map(|row| row.stage.len()).max().unwrap_or_default().max(5);
        writeln!(f, "{}\n", self.setting)?;
        write!(f, "| {:<width$} |", "stage")?;
        columns.iter().try_for_each(|(name, _)| write!(f, " {name:>13} |"))?;
        write!(f, "\n|-{:-<width$}-|", "")?;
        columns.iter().try_for_each(|_| write!(f, "{:->15}|", ":"))?;
        writeln!(f)?;
        for row in &self.rows {
            write!(f, "| {:<width$} |", row.stage)?;
            columns.iter().try_for_each(|(_, cell)| write!(f, " {:>13} |", cell(row).unwrap_or_default()))?;
            writeln!(f)?;
        }
        Ok(())
    }
}
