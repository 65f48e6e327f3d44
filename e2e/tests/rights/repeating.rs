//! Clients behind a proxy that sends some requests twice: the answer to the second makes programs look what became of the first.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use tower::BoxError;

/// Kinds of requests: the method, a part of the path, and its end.
pub(crate) type Kinds = &'static [(Method, &'static str, &'static str)];

/// `client`, which sends the first request of each kind twice.
pub(crate) fn repeating(client: Client, kinds: Kinds) -> Client {
    let namespace = client.default_namespace().to_owned();
    let happened = Arc::<Mutex<HashSet<usize>>>::default();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, happened) = (client.clone(), happened.clone());
        async move {
            let kind = kinds.iter().position(|(method, part, end)| {
                let path = request.uri().path();
                request.method() == method && path.contains(part) && path.ends_with(end)
            });
            let is_first = |kind| happened.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
            if !kind.is_some_and(is_first) {
                return Ok::<_, BoxError>(client.send(request).await?);
            }
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            client.send(Request::from_parts(parts.clone(), Body::from(body.clone()))).await?;
            Ok(client.send(Request::from_parts(parts, Body::from(body))).await?)
        }
    });
    Client::new(service, namespace)
}
