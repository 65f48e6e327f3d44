//! The rules, as Prometheus itself understands them.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::{Value, json};
use trellis_e2e::chart::render;
use trellis_e2e::{paths, pipe, tools};

use crate::shipped::{dashboard_queries, rules};

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() -> Result<()> {
    let cases = paths::source().join("e2e/tests/observability/rules.yaml");
    pipe(Command::new(tools::path("promtool")?).args(["test", "rules"]).arg(cases), "").map(drop)
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() -> Result<()> {
    let queries = dashboard_queries()?;
    let record = |(n, query): (usize, &String)| json!({"record": format!("panel:{n}"), "expr": query});
    let group =
        json!({"name": "dashboard", "rules": queries.iter().enumerate().map(record).collect::<Vec<_>>()});
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, &json!({"groups": [group]}))?;
    let said = pipe(Command::new(tools::path("promtool")?).args(["check", "rules"]).arg(file.path()), "")?;
    assert!(said.contains(&format!("{} rules found", queries.len())), "{said}");
    Ok(())
}

#[test]
fn the_chart_brings_rules_and_dashboard_to_those_who_ask() -> Result<()> {
    assert_eq!(monitoring(&[])?, Vec::<Value>::new());
    let asked = ["scrape", "rules", "dashboard"].map(|part| format!("monitoring.{part}.enabled=true"));
    let objects =
        monitoring(&["--set", &asked.join(","), "--set", "monitoring.rules.labels.release=prometheus"])?;
    // The API's metrics are at another port than the others'.
    let [dashboard, _others, _api, alerts] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!(alerts["spec"], rules()?);
    assert_eq!(alerts["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let shown: Value =
        serde_json::from_str(dashboard["data"]["trellis.json"].as_str().context("no dashboard")?)?;
    assert_eq!(shown["uid"], "trellis3d");
    Ok(())
}

/// The objects for monitoring that the chart renders with the arguments `more`, ordered by kind.
fn monitoring(more: &[&str]) -> Result<Vec<Value>> {
    let chart = render("trellis", more)?;
    let objects = serde_yaml::Deserializer::from_str(&chart).map(Value::deserialize);
    let mut objects = objects.collect::<Result<Vec<_>, _>>()?;
    let kind = |object: &Value| object["kind"].as_str().unwrap_or_default().to_owned();
    objects.retain(|object| ["ConfigMap", "PodMonitor", "PrometheusRule"].contains(&&*kind(object)));
    objects.sort_by_key(kind);
    Ok(objects)
}
