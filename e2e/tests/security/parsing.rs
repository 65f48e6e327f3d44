//! Requests at random: whatever comes, it is refused with a reason or taken, and the service goes on.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::fixture::{Fixture, IMAGE, TEXT, VARIANT, problem};

/// Requests in `make test`, and in `make security`.
const FEW: u32 = 300;
const MANY: u32 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn any_request_is_taken_or_refused_for_a_reason() {
    play(FEW).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make security"]
async fn any_of_many_requests_is_taken_or_refused_for_a_reason() {
    play(MANY).await;
}

async fn play(cases: u32) {
    let fixture = Fixture::start("fuzz").await;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let seed = seed();
    eprintln!("TRELLIS_FUZZ_SEED={seed} plays the same again");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let runtime = tokio::runtime::Handle::current();
    let requests = (prop_oneof![Just(IMAGE), Just(TEXT), Just(VARIANT)], media_type(), body());
    let played = tokio::task::block_in_place(|| {
        runner.run(&requests, |(path, media_type, body)| {
            runtime.block_on(send(&fixture, path, &media_type, body));
            Ok(())
        })
    });
    played.unwrap();
    fixture.submit().await;
    fixture.stop().await;
}

/// What the requests are drawn by: another one each time, unless it is said.
fn seed() -> u64 {
    let said = std::env::var("TRELLIS_FUZZ_SEED").ok();
    said.map_or_else(rand::random, |seed| seed.parse().expect("TRELLIS_FUZZ_SEED is a number"))
}

async fn send(fixture: &Fixture, path: &str, media_type: &str, body: Vec<u8>) {
    let what = format!("{path} {media_type} {}", String::from_utf8_lossy(&body));
    let request =
        fixture.with_key("alice", &Method::POST, path).header("content-type", media_type).body(body);
    let answer = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let status = answer.status();
    assert!(!status.is_server_error(), "{what}: {status}");
    if status != StatusCode::ACCEPTED {
        problem(answer, &what).await;
    }
}

fn media_type() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just("application/json".to_owned()),
        3 => Just("multipart/form-data; boundary=b".to_owned()),
        1 => "[a-z]{1,8}/[a-z+.-]{1,12}(; ?[a-z]{1,8}=\"?[!-~]{0,8})?",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => proptest::collection::vec(any::<u8>(), 0..400),
        4 => object().prop_map(|object| object.to_string().into_bytes()),
        2 => object().prop_flat_map(|object| {
            // A document that is nearly one.
            let text = object.to_string().into_bytes();
            (Just(text.clone()), 0..=text.len(), any::<u8>()).prop_map(|(mut text, at, byte)| {
                text.insert(at, byte);
                text
            })
        }),
        3 => form(),
    ]
}

/// An object of fields that there are, and of others, with values of every kind.
fn object() -> impl Strategy<Value = Value> {
    let fields = prop_oneof![
        8 => prop::sample::select(vec![
            "prompt", "image_base64", "output_formats", "quality", "seed", "pool", "sampling", "mesh", "preview",
            "samples", "model", "priority", "backoff_limit", "deadlines", "ttl_seconds_after_finished", "webhook",
            "multi_image_mode", "images_base64", "when_failing", "mesh_base64", "ttl_seconds_after_failed",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ];
    proptest::collection::vec((fields, value()), 0..6)
        .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,40}".prop_map(Value::from),
        prop::sample::select(vec![
            "glb",
            "fast",
            "high",
            "default",
            "https://192.0.2.1/a.png",
            "1e5",
            "stochastic"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let names = prop_oneof![
            prop::sample::select(vec![
                "sparse_structure",
                "structured_latent",
                "steps",
                "cfg_strength",
                "simplify",
                "texture_size",
                "fill_holes",
                "url",
                "events",
                "queue_seconds",
                "run_seconds",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,8}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((names, inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn form() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![
        "image",
        "seed",
        "quality",
        "sampling",
        "mesh",
        "output_formats",
        "nothing",
    ]);
    let file = prop_oneof![Just(""), Just("; filename=\"a.png\""), Just("; filename*=UTF-8''%ff")];
    let part =
        (name, file, proptest::collection::vec(any::<u8>(), 0..100)).prop_map(|(name, file, content)| {
            let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            [head.as_bytes(), &content, b"\r\n"].concat()
        });
    (proptest::collection::vec(part, 0..5), any::<bool>()).prop_map(|(parts, whole)| {
        let end: &[u8] = if whole { b"--b--\r\n" } else { b"--b" };
        [parts.concat().as_slice(), end].concat()
    })
}
