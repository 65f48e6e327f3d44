//! Tokens that are nearly good.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use k8s_openapi::jiff::Timestamp;
use rcgen::KeyPair;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{Fixture, problem};

const KEY: &str = "first";

/// A key of an issuer, and what the issuer publishes of it.
struct Signer {
    key: EncodingKey,
    public: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let key = EncodingKey::from_ed_der(&pair.serialize_der());
        Self { key, public: pair.public_key_raw().to_vec() }
    }

    fn jwk(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(&self.public), "kid": KEY, "use": "sig"})
    }

    /// A token with this header.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, Algorithm::EdDSA).unwrap();
        format!("{message}.{signature}")
    }
}

fn encode(json: &Value) -> String {
    BASE64.encode(json.to_string())
}

/// Good claims, with others in place of some.
fn claims(changes: Value) -> Value {
    let mut claims =
        json!({"iss": "tests", "aud": "trellis", "sub": "alice", "exp": Timestamp::now().as_second() + 600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn only_a_token_that_is_good_in_every_way_is_taken() {
    let signer = Signer::new();
    let fixture = Fixture::with_config("tokens", |namespace| {
        json!({"jwt": [{"issuer": "tests", "audience": "trellis", "namespace": namespace, "keys": [signer.jwk()]}]})
    })
    .await;
    let ask = async |token: &str| {
        fixture.request(&Method::GET, "/api/v1/jobs").bearer_auth(token).send().await.unwrap()
    };
    let header = json!({"alg": "EdDSA", "kid": KEY, "typ": "JWT"});
    let good = signer.sign(&header, &claims(json!({})));
    assert_eq!(ask(&good).await.status(), StatusCode::OK);

    let (message, signature) = good.rsplit_once('.').unwrap();
    let secret = |secret: &[u8]| {
        let header = Header { kid: Some(KEY.into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(json!({})), &EncodingKey::from_secret(secret)).unwrap()
    };
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let past = Timestamp::now().as_second() - 3600;
    let stranger = Signer::new();
    let bad = [
        ("no algorithm", format!("{}.{}.", encode(&json!({"alg": "none"})), encode(&claims(json!({}))))),
        (
            "no algorithm in capitals",
            format!("{}.{}.", encode(&json!({"alg": "nOnE"})), encode(&claims(json!({})))),
        ),
        ("no signature", format!("{message}.")),
        ("a signature of zeros", format!("{message}.{}", BASE64.encode([0; 64]))),
        ("half a signature", format!("{message}.{}", &signature[..40])),
        ("two signatures", format!("{good}.{signature}")),
        ("the public key as a secret", secret(&signer.public)),
        ("the published key as a secret", secret(signer.jwk().to_string().as_bytes())),
        ("an empty secret", secret(b"")),
        ("a stranger's signature", stranger.sign(&header, &claims(json!({})))),
        ("a key of its own", stranger.sign(&with("jwk", stranger.jwk()), &claims(json!({})))),
        (
            "an address of its own",
            stranger.sign(&with("jku", json!("https://127.0.0.1/keys")), &claims(json!({}))),
        ),
        ("another algorithm's name", signer.sign(&with("alg", json!("ES256")), &claims(json!({})))),
        ("a key that is not there", signer.sign(&with("kid", json!("../../dev/null")), &claims(json!({})))),
        ("a key by injection", signer.sign(&with("kid", json!("x' UNION SELECT 'a")), &claims(json!({})))),
        ("something critical", signer.sign(&with("crit", json!(["exp"])), &claims(json!({})))),
        ("over", signer.sign(&header, &claims(json!({"exp": past})))),
        ("without an end", signer.sign(&header, &claims(json!({"exp": null})))),
        ("an end in words", signer.sign(&header, &claims(json!({"exp": "never"})))),
        ("not yet", signer.sign(&header, &claims(json!({"nbf": past + 7200})))),
        ("another issuer", signer.sign(&header, &claims(json!({"iss": "tests2"})))),
        ("no issuer", signer.sign(&header, &claims(json!({"iss": null})))),
        ("for another service", signer.sign(&header, &claims(json!({"aud": "trellis2"})))),
        ("for nobody", signer.sign(&header, &claims(json!({"aud": []})))),
        ("of nobody", signer.sign(&header, &claims(json!({"sub": null})))),
        ("not JSON", format!("{}.{}.{signature}", BASE64.encode("{"), BASE64.encode("}"))),
        ("only dots", "..".into()),
        ("a long one", format!("{}.{}.{signature}", encode(&header), "A".repeat(6000))),
    ];
    for (what, token) in bad {
        let refused = ask(&token).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{what}: {token}");
        assert_eq!(problem(refused, what).await["code"], "unauthenticated", "{what}");
    }
    fixture.stop().await;
}
