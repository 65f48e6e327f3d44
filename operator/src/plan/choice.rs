//! Which pool a job belongs to.

use std::collections::BTreeMap;

use trellis_crds::InputKind;

use crate::key::Key;
use crate::validate::{Job, Pool};

/// Why a job has no pool, for people.
pub(crate) type NoPool = String;

/// The pool that `spec.pool` names; else the first by name that serves the job's input and model. Pools of the job's own namespace come
/// before those of `shared`, the operator's namespace.
pub(crate) fn choose<'a>(
    job: &Job,
    pools: &'a BTreeMap<Key, Pool>,
    shared: &str,
) -> Result<&'a Pool, NoPool> {
    let own = job.identity.key.namespace.as_str();
    match &job.spec().pool {
        Some(name) => named(job, pools, [own, shared], name),
        None => [own, shared]
            .into_iter()
            .find_map(|namespace| of_namespace(pools, namespace).find(|pool| misfit(job, pool).is_none()))
            .ok_or_else(|| none_fits(job, shared)),
    }
}

fn named<'a>(
    job: &Job,
    pools: &'a BTreeMap<Key, Pool>,
    namespaces: [&str; 2],
    name: &str,
) -> Result<&'a Pool, NoPool> {
    let [own, shared] = namespaces;
    let pool = namespaces.into_iter().find_map(|namespace| pools.get(&Key::new(namespace, name)));
    let pool = pool.ok_or_else(|| {
        format!("There is no WorkerPool {name} in namespace {own} or {shared}: create it, or leave spec.pool out of a new job.")
    })?;
    misfit(job, pool).map_or(Ok(pool), Err)
}

fn of_namespace<'a>(pools: &'a BTreeMap<Key, Pool>, namespace: &str) -> impl Iterator<Item = &'a Pool> {
    let first = Key::new(namespace, "");
    pools
        .range(first..)
        .map(|(_, pool)| pool)
        .take_while(move |pool| pool.identity.key.namespace == namespace)
}

/// Why the pool cannot run the job.
fn misfit(job: &Job, pool: &Pool) -> Option<String> {
    let key = &pool.identity.key;
    if !pool.spec().inputs.contains(&job.input) {
        let input = input_name(job.input);
        return Some(format!(
            "WorkerPool {key} takes no {input} input (spec.inputs): name another in spec.pool."
        ));
    }
    let model = job.spec().model.as_ref().filter(|model| **model != pool.spec().model)?;
    Some(format!("WorkerPool {key} runs the model {}, not {model} (spec.model).", pool.spec().model))
}

fn none_fits(job: &Job, shared: &str) -> String {
    let own = &job.identity.key.namespace;
    let input = input_name(job.input);
    let model = job.spec().model.as_ref().map(|model| format!(" with the model {model}")).unwrap_or_default();
    format!(
        "No WorkerPool in namespace {own} or {shared} takes {input} input{model}: create one with {input} in spec.inputs."
    )
}

fn input_name(input: InputKind) -> &'static str {
    match input {
        InputKind::Image => "image",
        InputKind::Text => "text",
        InputKind::Variant => "variant",
    }
}
