//! What handlers share, and the router that leads to them.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use kube::runtime::reflector::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use trellis_crds::WorkerPool;
use trellis_storage::Storage;
use trellis_telemetry::Health;

use crate::auth::keys::Keys;
use crate::jobs::inputs::Inputs;
use crate::jobs::store::Jobs;
use crate::limits::quotas::Quotas;
use crate::middleware::{self, Requests, compression, cors};
use crate::problem::{Code, Problem};
use crate::request::Places;
use crate::settings::Settings;
use crate::settings::policy::Policy;
use crate::webhooks::Webhooks;
use crate::{limits, openapi, routes, ui};

/// What handlers share. It is cloned for each step of each request.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

impl App {
    /// From what there is to share.
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What is shared, of which there is one.
pub(crate) struct Shared {
    /// The settings.
    pub settings: Settings,
    /// The API keys as they are now.
    pub keys: watch::Receiver<Arc<Keys>>,
    /// The settings file as it is now.
    pub policy: watch::Receiver<Arc<Policy>>,
    /// The jobs that were let in of late.
    pub quotas: Quotas,
    /// The jobs.
    pub jobs: Jobs,
    /// The worker pools of every namespace.
    pub pools: Store<WorkerPool>,
    /// The places of requests whose bodies are in memory.
    pub places: Places,
    /// Where inputs go.
    pub inputs: Inputs,
    /// Where results come from.
    pub storage: Storage,
    /// Who is told what becomes of jobs.
    pub webhooks: Webhooks,
    /// Whether the stores are filled.
    pub health: Health,
    /// Cancelled when the service is to stop: what waits for changes ends then.
    pub stopping: CancellationToken,
}

/// The whole service.
pub(crate) fn router(app: App, requests: Requests) -> Router {
    let probes = trellis_telemetry::probes(app.health.clone());
    // From the outermost to the innermost. One stack: a router clones each layer that it is given by itself, and all below it, with each request.
    let layers = ServiceBuilder::new()
        .layer(from_fn_with_state(requests, middleware::observe))
        .layer(from_fn_with_state(app.clone(), middleware::secure))
        .layer(from_fn_with_state(app.clone(), cors::cors))
        .layer(from_fn(compression::weaken_tag))
        .layer(compression::layer())
        .layer(from_fn(middleware::deadline))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), limits::admit))
        .layer(from_fn_with_state(app.clone(), middleware::tell_age))
        .layer(DefaultBodyLimit::max(app.settings.max_body_bytes()));
    let (api, document) = routes::api().split_for_parts();
    api.merge(openapi::route(document))
        .merge(ui::routes())
        .with_state(app)
        .merge(probes)
        .fallback(async || {
            Problem::new(Code::NotFound, "There is nothing here. /openapi.json lists what there is.")
        })
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "The header Allow lists the methods that this path takes.")
        })
        .layer(layers)
}

/// The panic itself was logged by the panic hook.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::new(Code::Internal, "The service met a fault of its own.").into_response()
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Waker};

    use super::*;
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use futures::{FutureExt as _, StreamExt as _};
    use kube::Client;
    use prometheus::Registry;
    use tower::ServiceExt as _;
    use trellis_storage::HttpsReader;

    use crate::auth::keys::Key;
    use crate::jobs::archive::Archive;
    use crate::request::PLACES;
    use crate::webhooks::WebhookSettings;

    /// A service that has read nothing yet, and the keys of five users for it. Kubernetes answers nothing.
    fn starting() -> (Router, Vec<String>) {
        let silent = tower::service_fn(|_: Request<kube::client::Body>| async {
            std::future::pending::<Result<axum::http::Response<Body>, std::io::Error>>().await
        });
        let users = ["alice", "bob", "carol", "dan", "erin"];
        let (sent, entries): (Vec<_>, Vec<_>) = users
            .map(|user| Key::generate(user.into(), user.into(), "team".into()).unwrap())
            .into_iter()
            .unzip();
        let (_, keys) = watch::channel(Arc::new(Keys { keys: entries }));
        let storage = Storage::new(trellis_storage::Settings::default());
        let archive = Archive::new(storage.clone(), None);
        let client = Client::new(silent, "default");
        let webhooks = Webhooks::new(client.clone(), WebhookSettings::default(), &Registry::new()).unwrap();
        let (pools, _) = kube::runtime::reflector::store();
        let (jobs, _) = Jobs::watch(client, archive, pools.clone(), "trellis".into());
        let settings = Settings::new("keys.yaml".into(), "gs://bucket/inputs".into(), "trellis".into());
        let base = settings.input_uri.parse().unwrap();
        let inputs =
            Inputs::new(storage.clone(), HttpsReader::new().unwrap(), base, settings.max_image_bytes);
        let (_, policy) = watch::channel(Arc::default());
        let app = Shared {
            settings,
            keys,
            policy,
            quotas: Quotas::default(),
            jobs,
            pools,
            places: Places::default(),
            inputs,
            storage,
            webhooks,
            health: Health::default(),
            stopping: CancellationToken::new(),
        };
        let requests = Requests::register(&Registry::new()).unwrap();
        (router(App::new(app), requests), sent)
    }

    #[tokio::test]
    async fn before_the_first_reading_nobody_hears_that_they_have_no_jobs() {
        let (service, keys) = starting();
        let request = Request::get("/api/v1/jobs").header("x-api-key", &keys[0]).body(Body::empty()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    /// Each upload says in `begun` that its body is read, and never ends.
    fn upload(key: &str, begun: &Arc<AtomicUsize>) -> Request<Body> {
        let begun = begun.clone();
        let begin = futures::stream::once(async move {
            begun.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>("{")
        });
        let body = Body::from_stream(begin.chain(futures::stream::pending()));
        Request::post("/api/v1/generate/image-to-3d")
            .header("content-type", "application/json")
            .header("x-api-key", key)
            .body(body)
            .unwrap()
    }

    /// Sends `count` uploads of each of `keys`, and says how many bodies are read.
    fn upload_all<'a>(
        service: &'a Router,
        keys: &'a [String],
        count: usize,
        begun: &'a Arc<AtomicUsize>,
    ) -> Vec<Pin<Box<dyn Future<Output = Response> + 'a>>> {
        let uploads = keys.iter().flat_map(|key| (0..count).map(move |_| upload(key, begun)));
        uploads
            .map(|request| {
                let answer = service
                    .clone()
                    .oneshot(request)
                    .map(|answer| answer.unwrap_or_else(|never| match never {}));
                Box::pin(answer) as Pin<Box<dyn Future<Output = Response>>>
            })
            .collect()
    }

    fn poll_all(uploads: &mut [Pin<Box<dyn Future<Output = Response> + '_>>]) {
        let mut context = Context::from_waker(Waker::noop());
        for upload in uploads {
            assert!(upload.as_mut().poll(&mut context).is_pending());
        }
    }

    #[tokio::test]
    async fn only_so_many_bodies_are_in_memory_at_a_time() {
        let (service, keys) = starting();
        let begun = Arc::new(AtomicUsize::new(0));
        let stranger = service.clone().oneshot(upload("wrong", &begun)).await.unwrap();
        assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
        // Five users, each with as many as one may have.
        let mut uploads = upload_all(&service, &keys, PLACES / 4, &begun);
        poll_all(&mut uploads);
        assert_eq!(begun.load(Ordering::SeqCst), PLACES);
        drop(uploads.remove(0));
        poll_all(&mut uploads);
        assert_eq!(begun.load(Ordering::SeqCst), PLACES + 1, "a client that went away keeps its place");
    }

    #[tokio::test]
    async fn one_user_does_not_keep_the_others_waiting() {
        let (service, keys) = starting();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut slow = upload_all(&service, &keys[..1], 2 * PLACES, &begun);
        poll_all(&mut slow);
        assert_eq!(begun.load(Ordering::SeqCst), PLACES / 4);
        let mut others = upload_all(&service, &keys[1..2], 1, &begun);
        poll_all(&mut others);
        assert_eq!(begun.load(Ordering::SeqCst), PLACES / 4 + 1);
        // First come, first served.
        drop(slow.remove(0));
        poll_all(&mut slow);
        assert_eq!(begun.load(Ordering::SeqCst), PLACES / 4 + 2);
    }
}
