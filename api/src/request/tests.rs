//! What of requests can be told without a server.

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use base64::Engine as _;

use super::*;
use crate::files::{Fault, FileError};

fn request(content_type: &str, body: impl Into<HttpBody>) -> Request {
    Request::post("/").header(CONTENT_TYPE, content_type).body(body.into()).unwrap()
}

async fn from_json<B: Body>(text: &str) -> Result<Generate, RequestError> {
    read::<B>(request("application/json", text.to_owned()), Limits::of(1000)).await
}

/// A form of fields, of which those with a name of a file are files.
async fn from_form<B: Body>(fields: &[(&str, Option<&str>, &str)]) -> Result<Generate, RequestError> {
    let parts = fields.iter().map(|(name, file, value)| {
        let file = file.map(|file| format!("; filename=\"{file}\"")).unwrap_or_default();
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n")
    });
    let form = parts.collect::<String>() + "--b--\r\n";
    read::<B>(request("multipart/form-data; boundary=b", form), Limits::of(1000)).await
}

fn fault(result: Result<Generate, RequestError>) -> (String, String) {
    match result {
        Err(RequestError::Field(field)) => (field.pointer, field.detail),
        other => panic!("not a fault of a field: {other:?}"),
    }
}

/// The input without where the request had its files.
fn input(generate: &Generate) -> Vec<FileSource> {
    generate.input.files().1.iter().map(|file| file.source.clone()).collect()
}

fn base64(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

const OPTIONS: &str = r#""output_formats": ["glb", "usdz", "stl"], "preview": false, "quality": "high", "seed": 7, "samples": 2,
    "sampling": {"sparse_structure": {"steps": 3, "cfg_strength": 7.5}}, "mesh": {"texture_size": 512}, "model": "7", "pool": "123",
    "priority": -3, "backoff_limit": 0, "deadlines": {"queue_seconds": 60}, "ttl_seconds_after_finished": 5,
    "ttl_seconds_after_failed": 6, "webhook": {"url": "https://example.com"}, "when_failing": "queue""#;

const OPTIONS_IN_A_FORM: [(&str, Option<&str>, &str); 17] = [
    ("output_formats", None, "glb, usdz"),
    ("output_formats", None, "stl"),
    ("preview", None, "false"),
    ("quality", None, "high"),
    ("seed", None, "7"),
    ("samples", None, "2"),
    ("sampling", None, r#"{"sparse_structure": {"steps": 3, "cfg_strength": 7.5}}"#),
    ("mesh", None, r#"{"texture_size": 512}"#),
    ("model", None, "7"),
    ("pool", None, "123"),
    ("priority", None, "-3"),
    ("backoff_limit", None, "0"),
    ("deadlines", None, r#"{"queue_seconds": 60}"#),
    ("ttl_seconds_after_finished", None, "5"),
    ("ttl_seconds_after_failed", None, "6"),
    ("webhook", None, r#"{"url": "https://example.com"}"#),
    ("when_failing", None, "queue"),
];

fn with_options<'a>(own: &[(&'a str, Option<&'a str>, &'a str)]) -> Vec<(&'a str, Option<&'a str>, &'a str)> {
    own.iter().copied().chain(OPTIONS_IN_A_FORM).collect()
}

#[tokio::test]
async fn a_form_and_json_say_the_same() {
    let (front, back) = (base64("front"), base64("back"));
    let json = format!(
        r#"{{"images_base64": ["{front}", "{back}"], "multi_image_mode": "multidiffusion", {OPTIONS}}}"#
    );
    let json = from_json::<ImageTo3d>(&json).await.unwrap();
    let mode = ("multi_image_mode", None, "multidiffusion");
    let files = with_options(&[("image", Some("a.png"), "front"), mode, ("image", None, "back")]);
    let texts = with_options(&[("images_base64", None, &front), mode, ("images_base64", None, &back)]);
    for form in [files, texts] {
        let form = from_form::<ImageTo3d>(&form).await.unwrap();
        assert_eq!(input(&form), input(&json));
        assert_eq!(form.options, json.options);
        assert!(matches!(form.input, Input::Images(_, MultiImageMode::Multidiffusion)));
    }

    let json = format!(r#"{{"prompt": "rust", "mesh_base64": "{front}", {OPTIONS}}}"#);
    let json = from_json::<Variant>(&json).await.unwrap();
    let form = with_options(&[("prompt", None, "rust"), ("mesh", Some("cup.glb"), "front")]);
    let form = from_form::<Variant>(&form).await.unwrap();
    assert_eq!(input(&form), input(&json));
    assert_eq!(form.options, json.options);

    let json = from_json::<TextTo3d>(&format!(r#"{{"prompt": "a chest", {OPTIONS}}}"#)).await.unwrap();
    assert_eq!(json, Generate { input: Input::Text("a chest".into()), options: form.options });
}

#[tokio::test]
async fn a_wrong_field_is_named_by_pointer() {
    let (pointer, detail) = fault(from_json::<ImageTo3d>(r#"{"image_url": "u", "qualty": "high"}"#).await);
    assert_eq!(pointer, "/qualty");
    assert!(detail.starts_with("unknown field `qualty`"), "{detail}");
    let in_form = fault(from_form::<ImageTo3d>(&[("image", None, "png"), ("qualty", None, "high")]).await);
    assert_eq!(in_form, (pointer, detail));
    let (pointer, detail) = fault(from_json::<ImageTo3d>(r#"{"image_url": "u", "seed": "x"}"#).await);
    assert_eq!((pointer.as_str(), detail.as_str()), ("/seed", "invalid type: string \"x\", expected i64"));
    let in_form = fault(from_form::<ImageTo3d>(&[("image", None, "png"), ("seed", None, "x")]).await);
    assert_eq!(in_form, (pointer, detail));
    for (fields, pointer) in [
        (r#""sampling": {"structured_latent": {"steps": 1.5}}"#, "/sampling/structured_latent/steps"),
        (r#""output_formats": ["glb", "fbx"]"#, "/output_formats/1"),
        (r#""webhook": {"uri": "https://example.com"}"#, "/webhook/uri"),
        (r#""deadlines": {"run_seconds": "1"}"#, "/deadlines/run_seconds"),
        (r#""mesh": [0.9, 1024, true]"#, "/mesh"),
        (r#""sampling": [null, null]"#, "/sampling"),
        (r#""sampling": {"sparse_structure": [5, 7.5]}"#, "/sampling/sparse_structure"),
        (r#""webhook": ["https://example.com", null]"#, "/webhook"),
        (r#""deadlines": [1, 30, 1]"#, "/deadlines"),
    ] {
        let json = format!(r#"{{"image_url": "u", {fields}}}"#);
        assert_eq!(fault(from_json::<ImageTo3d>(&json).await).0, pointer);
    }
    let list = r#"["a cup",null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null]"#;
    let (pointer, detail) = fault(from_json::<TextTo3d>(list).await);
    assert_eq!((pointer.as_str(), detail.as_str()), ("", "invalid type: sequence, expected an object"));
    let twice = [("prompt", None, "a"), ("prompt", None, "b")];
    assert_eq!(fault(from_form::<Variant>(&twice).await).0, "/prompt");
}

#[tokio::test]
async fn images_come_in_exactly_one_way() {
    let two = r#"{"image_url": "u", "image_base64": "cG5n"}"#;
    for none_or_two in ["{}", two, r#"{"image_urls": ["u"], "images_base64": ["cG5n"]}"#] {
        let (pointer, detail) = fault(from_json::<ImageTo3d>(none_or_two).await);
        assert!(pointer.is_empty() && detail.contains("exactly one way"), "{detail}");
    }
    let form = [("image", Some("a.png"), "a"), ("image_url", None, "u")];
    assert!(fault(from_form::<ImageTo3d>(&form).await).1.contains("exactly one way"));

    for none_or_two in [r#"{"prompt": "p"}"#, r#"{"prompt": "p", "mesh_url": "u", "mesh_base64": "cG5n"}"#] {
        assert!(fault(from_json::<Variant>(none_or_two).await).1.contains("exactly one mesh"));
    }
    let two = [("prompt", None, "p"), ("mesh", Some("a.glb"), "a"), ("mesh", Some("b.glb"), "b")];
    assert_eq!(fault(from_form::<Variant>(&two).await).0, "/mesh");
}

#[tokio::test]
async fn one_to_eight_images_are_taken() {
    let urls = |count| format!(r#"{{"image_urls": {}}}"#, serde_json::json!(vec!["https://a"; count]));
    for count in [1, 8] {
        let taken = from_json::<ImageTo3d>(&urls(count)).await.unwrap();
        let pointers: Vec<_> = taken.input.files().1.iter().map(|file| file.pointer.clone()).collect();
        assert_eq!(
            (pointers.len(), pointers[count - 1].as_str()),
            (count, &*format!("/image_urls/{}", count - 1))
        );
    }
    for count in [0, 9] {
        assert_eq!(fault(from_json::<ImageTo3d>(&urls(count)).await).0, "/image_urls");
    }
    assert_eq!(fault(from_form::<ImageTo3d>(&[("image", None, "a"); 9]).await).0, "/image");
    let long = serde_json::json!({"image_url": format!("https://a/{}", "b".repeat(2040))});
    assert_eq!(fault(from_json::<ImageTo3d>(&long.to_string()).await).0, "/image_url");
}

#[tokio::test]
async fn all_images_of_a_request_count_against_one_limit() {
    let files = |sizes: [usize; 2]| {
        serde_json::json!({"images_base64": sizes.map(|size| base64(&"a".repeat(size)))}).to_string()
    };
    assert!(from_json::<ImageTo3d>(&files([500, 500])).await.is_ok());
    for sizes in [[500, 501], [1, 5000], [5000, 1]] {
        let refused = from_json::<ImageTo3d>(&files(sizes)).await;
        let Err(RequestError::File(FileError { fault: Fault::TooLarge { limit: 1000 }, .. })) = refused
        else {
            panic!("{sizes:?}: {refused:?}");
        };
    }
    let half = "a".repeat(501);
    let form = from_form::<ImageTo3d>(&[("image", None, &half), ("image", None, &half)]).await;
    assert!(matches!(form, Err(RequestError::File(FileError { .. }))), "{form:?}");
}

#[tokio::test]
async fn what_is_no_json_or_no_form_is_malformed() {
    for text in ["", "{", "{\"seed\"", "{} {}"] {
        let result = from_json::<ImageTo3d>(text).await;
        assert!(matches!(result, Err(RequestError::Malformed(_))), "{text}: {result:?}");
    }
    let cut = request(
        "multipart/form-data; boundary=b",
        "--b\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\npn",
    );
    let result = read::<ImageTo3d>(cut, Limits::of(1000)).await;
    assert!(matches!(result, Err(RequestError::Malformed(_))), "{result:?}");
    let form = request("multipart/form-data; boundary=b", "--b--\r\n");
    let result = read::<TextTo3d>(form, Limits::of(1000)).await;
    assert!(matches!(result, Err(RequestError::MediaType("application/json"))), "{result:?}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_before_the_request_is() {
    let limits = Limits { file_bytes: 1000, time: Duration::ZERO };
    for content_type in ["application/json", "multipart/form-data; boundary=b"] {
        let pending = futures::stream::pending::<Result<&str, std::io::Error>>();
        let endless = request(content_type, HttpBody::from_stream(pending));
        let result = read::<ImageTo3d>(endless, limits).await;
        assert!(matches!(result, Err(RequestError::TooSlow(_))), "{result:?}");
    }
}

/// Every example of a body that the description has for a path.
fn examples(path: &str) -> Vec<serde_json::Value> {
    let document: serde_json::Value = serde_json::from_str(&crate::openapi::document()).unwrap();
    let json = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"];
    let examples = json["examples"].as_object().unwrap();
    examples.values().map(|example| example["value"].clone()).collect()
}

#[tokio::test]
async fn every_example_is_a_request_that_breaks_no_rule() {
    async fn check<B: Body>(path: &str) {
        for example in examples(path) {
            let request = from_json::<B>(&example.to_string()).await.unwrap();
            assert_eq!(crate::rules::check(&crate::jobs::build::draft(&request)), [], "{example}");
            let (kind, files) = request.input.files();
            for file in files {
                if let FileSource::Bytes(bytes) = &file.source {
                    crate::files::check(kind, bytes.clone()).unwrap();
                }
            }
        }
    }
    check::<ImageTo3d>("/api/v1/generate/image-to-3d").await;
    check::<TextTo3d>("/api/v1/generate/text-to-3d").await;
    check::<Variant>("/api/v1/generate/variant").await;
}
