//! What no user and no address may exceed. All of it is counted by each replica for itself: the service keeps no state that replicas share.

pub(crate) mod address;
pub(crate) mod quotas;
pub(crate) mod rates;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::auth::{self, Identity};
use crate::middleware::is_routine;
use crate::problem::{Code, Problem};

/// Finds out who sends a request, and lets it in where its sender may send another: with a valid key or token it counts for that, without one for
/// the address that it comes from. So nobody is refused for what others do from the same address.
pub(crate) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if is_routine(&request) {
        return next.run(request).await;
    }
    let policy = app.policy.borrow().clone();
    let identity = auth::identify(&app, &policy, request.headers()).await;
    let standing = match &identity {
        Ok(caller) => policy.rates.count_key(&caller.key),
        Err(_) => policy.rates.count_address(policy.proxies.client(peer(&request), request.headers())),
    };
    request.extensions_mut().insert(Identity(identity));
    let mut response = match standing.as_ref().and_then(rates::Standing::wait) {
        None => next.run(request).await,
        Some(seconds) => too_many(seconds).into_response(),
    };
    if let Some(standing) = standing {
        standing.write(response.headers_mut());
    }
    response
}

fn too_many(seconds: u64) -> Problem {
    let detail = format!("You have sent too many requests. Send the next in {seconds} s or later.");
    Problem::new(Code::RateLimited, detail).retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// The other end of the connection.
fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.ip())
}
