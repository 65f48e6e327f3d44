//! The routes, as the service's own OpenAPI document has them: a route that comes is tested from then on.

use reqwest::Method;
use serde_json::Value;

use crate::fixture::Fixture;

/// What can be asked for.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    /// With `{id}` in it.
    pub(crate) template: String,
    /// Whether no key is needed.
    pub(crate) open: bool,
    /// Names of the parameters in the query.
    pub(crate) query: Vec<String>,
    /// Names of the headers that it looks at.
    pub(crate) headers: Vec<String>,
}

impl Operation {
    /// The path for a job.
    pub(crate) fn path(&self, id: &str) -> String {
        self.template.replace("{id}", id)
    }

    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// Every operation of the document.
pub(crate) async fn operations(fixture: &Fixture) -> Vec<Operation> {
    let document = fixture.request(&Method::GET, "/openapi.json").send().await.unwrap();
    let document: Value = document.json().await.unwrap();
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if !operation.is_object() {
                continue;
            }
            let documented = Operation {
                method,
                template: template.clone(),
                open: is_open(&operation["security"]),
                query: parameters(operation, "query"),
                headers: parameters(operation, "header"),
            };
            // HEAD goes where GET does, without a word in the document.
            if documented.method == Method::GET {
                operations.push(Operation { method: Method::HEAD, ..documented.clone() });
            }
            operations.push(documented);
        }
    }
    assert!(operations.len() >= 8, "{operations:?}");
    operations
}

/// Without requirements, or where one of them asks for nothing.
fn is_open(security: &Value) -> bool {
    let requirements = security.as_array().map(Vec::as_slice).unwrap_or_default();
    requirements.is_empty()
        || requirements.iter().any(|one| one.as_object().is_some_and(|one| one.is_empty()))
}

fn parameters(operation: &Value, place: &str) -> Vec<String> {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let here = parameters.iter().filter(|parameter| parameter["in"] == place);
    here.filter_map(|parameter| parameter["name"].as_str()).map(str::to_owned).collect()
}
