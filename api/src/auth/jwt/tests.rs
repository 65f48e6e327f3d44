//! What tokens are taken, and every confusion that we know of.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::auth::scopes::{Scope, Scopes};

const ISSUER: &str = "https://login.example.com/";
const AUDIENCE: &str = "https://trellis.example.com";

/// A key of an issuer.
struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    /// What the issuer publishes.
    jwk: Value,
}

impl Signer {
    fn new(id: &str, algorithm: Algorithm) -> Self {
        let (pair, key) = match algorithm {
            Algorithm::RS256 => {
                let size = rcgen::RsaKeySize::_2048;
                let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
                let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
                (pair, key)
            }
            Algorithm::ES256 => {
                let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
                let key = EncodingKey::from_ec_der(&pair.serialize_der());
                (pair, key)
            }
            _ => {
                let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
                let key = EncodingKey::from_ed_der(&pair.serialize_der());
                (pair, key)
            }
        };
        let mut jwk = match algorithm {
            Algorithm::EdDSA => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(pair.public_key_raw()), "alg": "EdDSA"})
            }
            _ => serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap(),
        };
        jwk["kid"] = json!(id);
        Self { algorithm, key, jwk }
    }

    fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// A token with this header, signed as it should be.
    fn sign_raw(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }
}

fn encode(json: &Value) -> String {
    BASE64.encode(json.to_string())
}

fn issuers(more: Value, keys: &[&Signer]) -> Issuers {
    let keys: Vec<_> = keys.iter().map(|signer| &signer.jwk).collect();
    let mut settings = json!({"issuer": ISSUER, "audience": AUDIENCE, "namespace": "team", "keys": keys});
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let settings: IssuerSettings = serde_json::from_value(settings).unwrap();
    Issuers::new(&[settings], &Fetcher::new().unwrap()).unwrap()
}

fn now() -> i64 {
    k8s_openapi::jiff::Timestamp::now().as_second()
}

/// Good claims, of which some are changed, or left out where they are null.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now() + 600});
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn a_token_of_each_algorithm_says_who_sends_it() {
    let signers = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
        .map(|algorithm| Signer::new(&format!("{algorithm:?}"), algorithm));
    let issuers = issuers(json!({}), &signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        let id = format!("{:?}", signer.algorithm);
        let audiences = json!({"aud": ["another", AUDIENCE]});
        for token in [
            signer.sign(Some(&id), &claims(json!({}))),
            // One key of this type alone can be meant.
            signer.sign(None, &claims(json!({}))),
            signer.sign(Some(&id), &claims(audiences)),
        ] {
            assert!(issuers.concerns(&token));
            let caller = issuers.caller(&token).await.unwrap();
            assert_eq!((&*caller.user, &*caller.namespace), ("alice", "team"));
            assert_eq!((&*caller.key, caller.scopes), ("jwt:team/alice", Scopes::default()));
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_meant_for_us_is_refused() {
    let signer = Signer::new("1", Algorithm::ES256);
    let issuers = issuers(json!({}), &[&signer]);
    let claim = |name: &str| TokenError::Claim(name.to_owned());
    for (changes, expected) in [
        (json!({"exp": null}), claim("exp")),
        (json!({"exp": "never"}), claim("exp")),
        (json!({"exp": now() - 61}), TokenError::Expired),
        (json!({"exp": 0}), TokenError::Expired),
        (json!({"nbf": now() + 600}), TokenError::Early),
        (json!({"nbf": "soon"}), claim("nbf")),
        (json!({"iss": "https://evil.example.com/"}), TokenError::Issuer),
        (json!({"iss": "https://login.example.com"}), TokenError::Issuer),
        (json!({"iss": null}), TokenError::Issuer),
        (json!({"iss": [ISSUER]}), TokenError::Issuer),
        (json!({"aud": "https://other.example.com"}), TokenError::Audience),
        (json!({"aud": []}), TokenError::Audience),
        (json!({"aud": null}), claim("aud")),
        (json!({"sub": null}), claim("sub")),
        (json!({"sub": ""}), claim("sub")),
        (json!({"sub": 7}), claim("sub")),
        (json!({"sub": ["alice"]}), TokenError::Malformed),
    ] {
        let refusal = issuers.caller(&signer.sign(Some("1"), &claims(changes.clone()))).await.unwrap_err();
        assert_eq!(refusal, expected, "{changes}");
    }
    for clocks_differ in [json!({"exp": now() - 30}), json!({"nbf": now() + 30})] {
        issuers.caller(&signer.sign(Some("1"), &claims(clocks_differ))).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_chooses_neither_algorithm_nor_key() {
    let rsa = Signer::new("rsa", Algorithm::RS256);
    let ec = Signer::new("ec", Algorithm::ES256);
    let stranger = Signer::new("ec", Algorithm::ES256);
    let issuers = issuers(json!({}), &[&rsa, &ec]);
    let good = claims(json!({}));
    let unsigned = |header: Value| format!("{}.{}.", encode(&header), encode(&good));
    // HS256 with what everybody can read of the key as its secret.
    let modulus = rsa.jwk["n"].as_str().unwrap();
    let by_public_key = |secret: &[u8]| {
        let header = Header { kid: Some("rsa".into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &good, &EncodingKey::from_secret(secret)).unwrap()
    };
    let token = ec.sign(Some("ec"), &good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let promoted = encode(&claims(json!({"sub": "root"})));
    let embedded = json!({"alg": "ES256", "kid": "ec", "jwk": stranger.jwk});
    let elsewhere = json!({"alg": "ES256", "kid": "ec", "jku": "https://evil.example.com/keys"});
    let zeros = BASE64.encode([0; 64]);
    for (what, token, expected) in [
        ("no algorithm", unsigned(json!({"alg": "none"})), TokenError::Malformed),
        ("no algorithm, in capitals", unsigned(json!({"alg": "NONE"})), TokenError::Malformed),
        ("an empty signature", unsigned(json!({"alg": "ES256", "kid": "ec"})), TokenError::Signature),
        ("no algorithm at all", unsigned(json!({"kid": "ec"})), TokenError::Malformed),
        ("zeros for a signature", format!("{message}.{zeros}"), TokenError::Signature),
        ("a secret for a key: the modulus", by_public_key(modulus.as_bytes()), TokenError::Algorithm),
        ("a secret for a key: the JWK", by_public_key(rsa.jwk.to_string().as_bytes()), TokenError::Algorithm),
        ("a secret for a key: nothing", by_public_key(b""), TokenError::Algorithm),
        ("the key of another type", ec.sign(Some("rsa"), &good), TokenError::Algorithm),
        ("a key of nobody", ec.sign(Some("other"), &good), TokenError::Key),
        ("an empty key id", ec.sign(Some(""), &good), TokenError::Key),
        ("a path for a key id", ec.sign(Some("../../dev/null"), &good), TokenError::Key),
        ("a stranger's signature", stranger.sign(Some("ec"), &good), TokenError::Signature),
        ("a key of its own", stranger.sign_raw(&embedded, &good), TokenError::Signature),
        ("an address of its own", stranger.sign_raw(&elsewhere, &good), TokenError::Signature),
        ("other claims", format!("{header}.{promoted}.{signature}"), TokenError::Signature),
        (
            "something critical that we do not know",
            ec.sign_raw(&json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false}), &good),
            TokenError::Malformed,
        ),
        (
            "a number for a key id",
            ec.sign_raw(&json!({"alg": "ES256", "kid": 1}), &good),
            TokenError::Malformed,
        ),
        ("no JSON", format!("{}.{}.{signature}", BASE64.encode("{"), encode(&good)), TokenError::Malformed),
        ("padding", format!("{header}==.{}.{signature}", encode(&good)), TokenError::Malformed),
        ("nothing", "..".to_owned(), TokenError::Malformed),
    ] {
        assert!(issuers.concerns(&token), "{what}");
        assert_eq!(issuers.caller(&token).await.unwrap_err(), expected, "{what}: {token}");
    }
}

#[tokio::test]
async fn a_key_is_for_what_it_says_and_a_token_names_one() {
    let signer = Signer::new("1", Algorithm::ES256);
    let token = signer.sign(Some("1"), &claims(json!({})));
    let with = |name: &str, value: Value| {
        let mut changed = Signer { jwk: signer.jwk.clone(), key: signer.key.clone(), ..signer };
        changed.jwk[name] = value;
        changed
    };
    let other = Signer::new("2", Algorithm::ES256);
    for (name, value) in [
        ("use", json!("enc")),
        ("alg", json!("ES384")),
        ("key_ops", json!(["sign"])),
        ("crv", json!("P-384")),
    ] {
        let issuers = issuers(json!({}), &[&with(name, value), &other]);
        assert_eq!(issuers.caller(&token).await.unwrap_err(), TokenError::Key, "{name}");
    }
    let same_id = with("kid", json!("2"));
    let unnamed = signer.sign(None, &claims(json!({})));
    for (token, keys) in
        [(&unnamed, [&signer, &other]), (&signer.sign(Some("2"), &claims(json!({}))), [&same_id, &other])]
    {
        let refusal = issuers(json!({}), &keys).caller(token).await.unwrap_err();
        assert_eq!(refusal, TokenError::Key, "two keys may be meant");
    }
    let elliptic_alone = issuers(json!({"algorithms": ["RS256", "EdDSA"]}), &[&signer]);
    assert_eq!(elliptic_alone.caller(&token).await.unwrap_err(), TokenError::Algorithm);
}

#[tokio::test]
async fn claims_say_user_namespace_and_scopes_where_the_settings_ask_them() {
    let signer = Signer::new("1", Algorithm::EdDSA);
    let issuers = issuers(
        json!({
            "namespace": null, "namespace_claim": "team", "user_claim": "email", "user_prefix": "corp-",
            "scope_claim": "scope", "scope_prefix": "trellis:",
        }),
        &[&signer],
    );
    let caller = async |changes| issuers.caller(&signer.sign(Some("1"), &claims(changes))).await;
    let all = json!({"team": "studio", "email": "alice", "scope": "openid trellis:read trellis:admin"});
    let alice = caller(all).await.unwrap();
    assert_eq!((&*alice.user, &*alice.namespace), ("corp-alice", "studio"));
    assert_eq!(alice.scopes, [Scope::Read, Scope::Admin].into_iter().collect());
    let address = caller(json!({"team": "studio", "email": "alice@example.com"})).await.unwrap();
    assert!(address.user.starts_with("u-") && address.scopes.is_empty(), "{address:?}");
    assert_eq!(caller(json!({"email": "alice"})).await, Err(TokenError::Claim("team".into())));
    assert_eq!(
        caller(json!({"team": "kube system", "email": "a"})).await,
        Err(TokenError::Claim("team".into()))
    );
}

#[tokio::test]
async fn without_issuers_nothing_is_a_token() {
    assert!(!Issuers::default().concerns("a.b.c"));
    let signer = Signer::new("1", Algorithm::EdDSA);
    let issuers = issuers(json!({}), &[&signer]);
    for key in ["trellis_abc", "a.b", "a.b.c.d", ""] {
        assert!(!issuers.concerns(key), "{key}");
    }
}
