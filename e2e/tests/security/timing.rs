//! How long a wrong key takes to be refused does not tell how wrong it is.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};

use crate::fixture::Fixture;

const ROUNDS: usize = 3000;

/// Compares medians, which lie within a few hundredths of each other on a quiet machine; a comparison that stops at the first difference of keys, or of their
/// hex digests, differs by less than the noise, too. What this would show is a search among keys that ends with the first, or a slow hash.
#[tokio::test]
#[ignore = "needs a quiet machine: make security"]
async fn every_wrong_key_takes_as_long() {
    let fixture = Fixture::start("timing").await;
    let key = fixture.rest.key("alice").to_owned();
    let nearly = format!("{}A", &key[..key.len() - 1]);
    let wrong = [
        "trellis_wrong".to_owned(),
        nearly,
        "x".repeat(key.len()),
        fixture.rest.key("alice-expired").to_owned(),
    ];
    let mut times: Vec<Vec<Duration>> = vec![Vec::with_capacity(ROUNDS); wrong.len()];
    for _ in 0..ROUNDS {
        // In turn, so that what else the machine does meets all of them.
        for (key, times) in wrong.iter().zip(&mut times) {
            let request = fixture.request(&Method::GET, "/api/v1/jobs").bearer_auth(key);
            let start = Instant::now();
            let answer = request.send().await.unwrap();
            times.push(start.elapsed());
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        }
    }
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[ROUNDS / 2].as_secs_f64() * 1e6
        })
        .collect();
    println!("medians in µs: {medians:.1?}");
    let (least, most) =
        medians.iter().fold((f64::MAX, 0.0_f64), |(least, most), &one| (least.min(one), most.max(one)));
    assert!(most < 1.5 * least, "{medians:.1?}");
    fixture.stop().await;
}
