//! What the chart grants, and what was used of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::Value;
use trellis_e2e::AuditEvent;

/// `verb resource` of one account: `update generationjobs.trellis3d.dev/status`.
pub(crate) type Rights = BTreeSet<String>;

/// What the chart's roles grant to the service account `account`, wherever they are bound.
pub(crate) fn granted(chart: &str, account: &str) -> Result<Rights> {
    let documents = serde_yaml::Deserializer::from_str(chart).map(Value::deserialize);
    let documents = documents.collect::<Result<Vec<_>, _>>().context("the chart is no YAML")?;
    let kind = |object: &Value| object["kind"].as_str().unwrap_or_default().to_owned();
    let bindings = documents.iter().filter(|object| kind(object).ends_with("RoleBinding"));
    let roles: BTreeSet<&str> = bindings
        .filter(|binding| list(&binding["subjects"]).iter().any(|subject| subject["name"] == account))
        .filter_map(|binding| binding["roleRef"]["name"].as_str())
        .collect();
    let is_bound = |object: &&Value| {
        kind(object).ends_with("Role")
            && object["metadata"]["name"].as_str().is_some_and(|name| roles.contains(name))
    };
    let rules = documents.iter().filter(is_bound).flat_map(|role| list(&role["rules"]));
    Ok(rules.flat_map(rights_of).collect())
}

fn rights_of(rule: &Value) -> Vec<String> {
    let mut rights = Vec::new();
    for group in texts(&rule["apiGroups"]) {
        for resource in texts(&rule["resources"]) {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            rights.extend(texts(&rule["verbs"]).map(|verb| right(verb, group, resource, subresource)));
        }
    }
    rights
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    list(value).iter().filter_map(Value::as_str)
}

fn right(verb: &str, group: &str, resource: &str, subresource: &str) -> String {
    let resource =
        [resource, group].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
    let path =
        [resource.as_str(), subresource].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    format!("{verb} {}", path.join("/"))
}

/// What the user asked for and was `refused` (403), or was not.
pub(crate) fn asked(events: &[AuditEvent], user: &str, refused: bool) -> Rights {
    let of_user = events.iter().filter(|event| event.user.username == user);
    let answered = of_user
        .filter(|event| event.response_status.as_ref().is_some_and(|status| (status.code == 403) == refused));
    let rights = answered.filter_map(|event| {
        let object = event.object_ref.as_ref()?;
        Some(right(&event.verb, &object.api_group, &object.resource, &object.subresource))
    });
    rights.collect()
}

#[test]
fn rules_are_read_one_right_at_a_time() -> Result<()> {
    let chart = r#"
kind: ClusterRole
metadata: {name: reader}
rules:
  - {apiGroups: [""], resources: [pods], verbs: [get, list]}
  - {apiGroups: [trellis3d.dev], resources: [generationjobs/status], verbs: [update]}
---
kind: Role
metadata: {name: other}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
---
kind: ClusterRoleBinding
roleRef: {name: reader}
subjects: [{kind: ServiceAccount, name: me}]
"#;
    let expected = ["get pods", "list pods", "update generationjobs.trellis3d.dev/status"];
    assert_eq!(granted(chart, "me")?.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(granted(chart, "nobody")?, Rights::new());
    Ok(())
}
