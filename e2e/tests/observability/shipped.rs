//! The chart's rules and dashboard, as files.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;
use trellis_e2e::paths;

pub(crate) fn rules() -> Result<Value> {
    let file = paths::source().join("charts/trellis/rules/trellis.yaml");
    Ok(serde_yaml::from_str(&std::fs::read_to_string(file)?)?)
}

/// The queries of the dashboard, with an interval in place of Grafana's variable.
pub(crate) fn dashboard_queries() -> Result<Vec<String>> {
    let file = paths::source().join("charts/trellis/dashboards/trellis.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let panels = dashboard["panels"].as_array().context("the dashboard has no panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.filter_map(|target| target["expr"].as_str());
    Ok(queries.map(|query| query.replace("$__rate_interval", "5m")).collect())
}

/// The queries of the rules.
pub(crate) fn rule_queries() -> Result<Vec<String>> {
    let rules = rules()?;
    let groups = rules["groups"].as_array().context("the rules have no groups")?;
    let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
    Ok(rules.filter_map(|rule| rule["expr"].as_str()).map(str::to_owned).collect())
}

/// The series of the programs that the queries ask for: `trellis_operator_queue_seconds_bucket`.
pub(crate) fn series(queries: &[String]) -> BTreeSet<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    let words = queries.iter().flat_map(|query| query.split(|character| !is_part(character)));
    words.filter(|word| word.starts_with("trellis_")).collect()
}

#[test]
fn series_are_found_wherever_they_stand_in_a_query() {
    let queries = ["sum(rate(trellis_a_total{x=\"y\"}[5m])) / trellis:b:ratio > trellis_c_bucket".to_owned()];
    assert_eq!(series(&queries).into_iter().collect::<Vec<_>>(), ["trellis_a_total", "trellis_c_bucket"]);
}
