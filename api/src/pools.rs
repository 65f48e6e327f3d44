//! Whether a worker pool would take a job: asked before anything is stored, so that a client hears at once what would
//! otherwise wait for ever.

use std::sync::Arc;

use kube::ResourceExt as _;
use trellis_crds::{InputKind, WorkerPool, conditions};

use crate::request::{Generate, WhenFailing};

/// Why no pool takes a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolError {
    /// There is none for this kind of input.
    #[error(
        "No worker pool of this installation takes {0} input. An administrator can add one: a WorkerPool whose spec.inputs lists `{0}`."
    )]
    None(&'static str),
    /// The pool that the request names is not there.
    #[error("There is no worker pool `{0}`.")]
    Unknown(String),
    /// The pool that the request names takes other input.
    #[error("The worker pool `{pool}` takes no {input} input.")]
    WrongInput {
        /// The pool.
        pool: String,
        /// The kind of input.
        input: &'static str,
    },
    /// No pool that would take it runs the model that the request names.
    #[error("No worker pool that takes {input} input runs the model `{model}`.")]
    UnknownModel {
        /// The model.
        model: String,
        /// The kind of input.
        input: &'static str,
    },
    /// The pools that would take it hold their jobs back after one failure upon another.
    #[error(
        "The workers for {0} input failed one after another, so that new jobs are not taken for now. With `\"when_failing\": \"queue\"` this one is taken, and waits."
    )]
    CircuitOpen(&'static str),
}

/// What a request wants of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// That it takes this kind of input.
    pub input: InputKind,
    /// That it is this one.
    pub pool: Option<&'a str>,
    /// That it runs this model.
    pub model: Option<&'a str>,
    /// Whether it has to work now.
    pub when_failing: WhenFailing,
}

impl<'a> Wanted<'a> {
    /// Any that takes `input` and works.
    #[must_use]
    pub(crate) fn any(input: InputKind) -> Self {
        Self { input, pool: None, model: None, when_failing: WhenFailing::Refuse }
    }

    /// What `request` says.
    #[must_use]
    pub(crate) fn by(request: &'a Generate) -> Self {
        let options = &request.options;
        Self {
            input: request.input.kind(),
            pool: options.pool.as_deref(),
            model: options.model.as_deref(),
            when_failing: options.when_failing.unwrap_or_default(),
        }
    }
}

/// Finds out whether one of `pools` takes a job that wants this, from `namespace`. Pools of the job's own namespace hide those of
/// `shared`, the operator's.
pub(crate) fn check(
    pools: &[Arc<WorkerPool>],
    namespace: &str,
    shared: &str,
    wanted: Wanted<'_>,
) -> Result<(), PoolError> {
    let (input, kind) = (wanted.input, kind_name(wanted.input));
    let reachable = [namespace, shared]
        .into_iter()
        .flat_map(|place| pools.iter().filter(move |pool| pool.namespace().as_deref() == Some(place)));
    let mut fitting: Vec<_> = match wanted.pool {
        None => reachable.filter(|pool| pool.spec.inputs.contains(&input)).collect(),
        Some(name) => {
            let mut called = reachable.filter(|pool| pool.name_any() == name);
            let pool = called.next().ok_or_else(|| PoolError::Unknown(name.to_owned()))?;
            if !pool.spec.inputs.contains(&input) {
                return Err(PoolError::WrongInput { pool: name.to_owned(), input: kind });
            }
            vec![pool]
        }
    };
    if fitting.is_empty() {
        return Err(PoolError::None(kind));
    }
    if let Some(model) = wanted.model {
        fitting.retain(|pool| pool.spec.model == model);
        if fitting.is_empty() {
            return Err(PoolError::UnknownModel { model: model.to_owned(), input: kind });
        }
    }
    match wanted.when_failing {
        WhenFailing::Refuse if fitting.iter().all(|pool| is_open(pool)) => Err(PoolError::CircuitOpen(kind)),
        _ => Ok(()),
    }
}

fn is_open(pool: &WorkerPool) -> bool {
    let conditions = pool.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|condition| condition.reason == conditions::reason::CIRCUIT_OPEN)
}

fn kind_name(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Image => "image",
        InputKind::Text => "text",
        InputKind::Variant => "variant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use trellis_crds::{WorkerPoolSpec, WorkerPoolStatus};

    fn pool(namespace: &str, name: &str, input: InputKind) -> WorkerPool {
        let mut pool = WorkerPool::new(name, WorkerPoolSpec { inputs: vec![input], ..Default::default() });
        pool.metadata.namespace = Some(namespace.into());
        pool
    }

    fn ask(pools: &[WorkerPool], input: InputKind, named: Option<&str>) -> Result<(), PoolError> {
        ask_for(pools, Wanted { pool: named, ..Wanted::any(input) })
    }

    fn ask_for(pools: &[WorkerPool], wanted: Wanted<'_>) -> Result<(), PoolError> {
        let pools: Vec<_> = pools.iter().cloned().map(Arc::new).collect();
        check(&pools, "team", "trellis", wanted)
    }

    #[test]
    fn pools_of_the_own_and_the_shared_namespace_count_and_no_others() {
        assert_eq!(ask(&[pool("team", "a", InputKind::Image)], InputKind::Image, None), Ok(()));
        assert_eq!(ask(&[pool("trellis", "a", InputKind::Image)], InputKind::Image, None), Ok(()));
        let elsewhere = [pool("other", "a", InputKind::Image)];
        assert_eq!(ask(&elsewhere, InputKind::Image, None), Err(PoolError::None("image")));
        assert_eq!(ask(&elsewhere, InputKind::Image, Some("a")), Err(PoolError::Unknown("a".into())));
    }

    #[test]
    fn a_pool_must_take_the_kind_of_input() {
        let pools = [pool("trellis", "photos", InputKind::Image)];
        assert_eq!(ask(&pools, InputKind::Text, None), Err(PoolError::None("text")));
        let wrong = PoolError::WrongInput { pool: "photos".into(), input: "text" };
        assert_eq!(ask(&pools, InputKind::Text, Some("photos")), Err(wrong));
    }

    #[test]
    fn a_pool_must_run_the_model_that_is_named() {
        let mut large = pool("trellis", "a", InputKind::Image);
        large.spec.model = "large".into();
        let wanted = |model| Wanted { model: Some(model), ..Wanted::any(InputKind::Image) };
        assert_eq!(ask_for(std::slice::from_ref(&large), wanted("large")), Ok(()));
        let unknown = PoolError::UnknownModel { model: "small".into(), input: "image" };
        assert_eq!(ask_for(&[large], wanted("small")), Err(unknown));
    }

    #[test]
    fn a_pool_of_the_own_namespace_hides_the_shared_one_of_the_same_name() {
        let pools = [pool("trellis", "a", InputKind::Image), pool("team", "a", InputKind::Text)];
        assert_eq!(ask(&pools, InputKind::Text, Some("a")), Ok(()));
        assert!(matches!(ask(&pools, InputKind::Image, Some("a")), Err(PoolError::WrongInput { .. })));
    }

    #[test]
    fn an_open_circuit_refuses_unless_another_pool_works_or_the_job_may_wait() {
        let mut failing = pool("team", "a", InputKind::Image);
        let condition = Condition {
            type_: conditions::READY.into(),
            status: "False".into(),
            reason: conditions::reason::CIRCUIT_OPEN.into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        };
        failing.status = Some(WorkerPoolStatus { conditions: vec![condition], ..Default::default() });
        assert_eq!(
            ask(std::slice::from_ref(&failing), InputKind::Image, None),
            Err(PoolError::CircuitOpen("image"))
        );
        let waits = Wanted { when_failing: WhenFailing::Queue, ..Wanted::any(InputKind::Image) };
        assert_eq!(ask_for(std::slice::from_ref(&failing), waits), Ok(()));
        assert_eq!(ask(&[failing, pool("trellis", "b", InputKind::Image)], InputKind::Image, None), Ok(()));
    }
}
