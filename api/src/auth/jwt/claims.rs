//! From what a token says to who its sender is here.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::TokenError;
use crate::auth::keys::{is_dns_label, is_label_value};
use crate::auth::scopes::{Scope, Scopes};

/// A token's claims.
pub(super) type Claims = Map<String, Value>;

/// How users begin whose names are no label values.
const HASHED: &str = "u-";

/// How many hex digits of the hash follow: 160 bits.
const DIGITS: usize = 40;

/// The text of the claim `name`.
pub(super) fn text<'a>(claims: &'a Claims, name: &str) -> Result<&'a str, TokenError> {
    let text = claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or_else(|| TokenError::Claim(name.to_owned()))
}

/// The user of this name. Jobs carry it in a label, which has room for short and simple names alone: others become a hash, always the same. A name
/// that looks like such a hash becomes another, or somebody could choose that of another user.
pub(super) fn user(name: &str) -> String {
    let looks_hashed = name
        .strip_prefix(HASHED)
        .is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_label_value(name) && !looks_hashed {
        return name.to_owned();
    }
    let mut hash = hex::encode(Sha256::digest(name));
    hash.truncate(DIGITS);
    format!("{HASHED}{hash}")
}

/// The namespace that the claim `name` has.
pub(super) fn namespace(claims: &Claims, name: &str) -> Result<String, TokenError> {
    let namespace = text(claims, name)?;
    is_dns_label(namespace).then(|| namespace.to_owned()).ok_or_else(|| TokenError::Claim(name.to_owned()))
}

/// The scopes in the claim `name`, of which ours begin with `prefix`: a list, or words with spaces between them (RFC 8693). Without the claim there
/// are none.
pub(super) fn scopes(claims: &Claims, name: &str, prefix: &str) -> Scopes {
    let ours = |word: &str| word.strip_prefix(prefix).and_then(Scope::parse);
    match claims.get(name) {
        Some(Value::String(words)) => words.split(' ').filter_map(ours).collect(),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).filter_map(ours).collect(),
        _ => Scopes::none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(claims: Value) -> Claims {
        serde_json::from_value(claims).unwrap()
    }

    #[test]
    fn a_user_has_a_label_value_that_stays_and_that_no_other_can_take() {
        for kept in ["alice", "alice.smith_2", "7", "u-1"] {
            assert_eq!(user(kept), kept);
        }
        let hashed = user("auth0|5f7c8ec7c33c6c004bbafe82");
        assert_eq!(hashed, user("auth0|5f7c8ec7c33c6c004bbafe82"));
        assert!(is_label_value(&hashed) && hashed.starts_with("u-"), "{hashed}");
        let long = "a".repeat(64);
        for other in ["alice@example.com", "alice smith", &long, "-alice", "ä", &hashed] {
            let mapped = user(other);
            assert!(is_label_value(&mapped) && mapped != other && mapped != hashed, "{other}: {mapped}");
        }
    }

    #[test]
    fn a_namespace_is_one() {
        let of = |value: Value| namespace(&claims(json!({"team": value})), "team");
        assert_eq!(of(json!("team-a")), Ok("team-a".to_owned()));
        for wrong in [json!("Team"), json!("a/b"), json!(""), json!(7), json!(["team-a"]), Value::Null] {
            assert_eq!(of(wrong.clone()), Err(TokenError::Claim("team".into())), "{wrong}");
        }
    }

    #[test]
    fn scopes_are_words_or_a_list_and_those_of_others_are_not_ours() {
        let of = |value: Value, prefix| scopes(&claims(json!({"scope": value})), "scope", prefix);
        let read_admin: Scopes = [Scope::Read, Scope::Admin].into_iter().collect();
        assert_eq!(of(json!("openid read admin"), ""), read_admin);
        assert_eq!(of(json!(["read", 7, "admin", "other"]), ""), read_admin);
        assert_eq!(of(json!("trellis:read write trellis:admin"), "trellis:"), read_admin);
        for nothing in [json!("openid"), json!(""), json!(7), Value::Null] {
            assert!(of(nothing.clone(), "").is_empty(), "{nothing}");
        }
    }
}
