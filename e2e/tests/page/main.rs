//! The web page in a real Chromium, in front of the real service, with simulated workers that make real files.
//!
//! What a person does is in `walk/*.test.mjs`, which Node.js plays by playwright-core. `TRELLIS_SCREENSHOTS=<folder>` has it leave pictures there.

#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect is to end there")]

mod cup;
mod maker;
#[expect(dead_code, reason = "tests of the API need more of it")]
#[path = "../api/service.rs"]
mod service;
mod site;
mod walk;

use site::Site;

#[tokio::test(flavor = "multi_thread")]
async fn people_make_follow_and_fetch_assets() {
    let site = Site::start("page").await;
    walk::run("assets", &site).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_can_use_the_page() {
    let site = Site::start("page-access").await;
    walk::run("access", &site).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_trouble_is_explained() {
    let site = Site::start("page-trouble").await;
    walk::run("trouble", &site).await;
    site.stop().await;
}
