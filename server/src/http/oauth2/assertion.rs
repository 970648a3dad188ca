//! A JSON Web Token signed with an RSA key, by which a client asks for tokens (RFC 7523).

use serde_json::{Map, Value, json};
use tidemark_ingest::discovery::sign;

use super::ASSERTION_LIFE_SECONDS;
use crate::config::http_client::OAuth2;
use crate::http::identity::Source;

/// What an assertion says, and the key that signs it.
#[derive(Clone, Debug)]
pub(super) struct Assertion {
    key: Source,
    key_id: String,
    algorithm: String,
    /// Who asks, unless `iss` says another.
    client_id: String,
    issuer: String,
    audience: String,
    scopes: Vec<String>,
    claims: Map<String, Value>,
}

impl Assertion {
    pub(super) fn of(config: &OAuth2) -> Self {
        let file = &config.client_certificate_key_file;
        Assertion {
            key: Source::of(config.client_certificate_key.reveal(), file),
            key_id: config.client_certificate_key_id.clone(),
            algorithm: match config.signature_algorithm.as_str() {
                "" => "RS256".to_owned(),
                named => named.to_owned(),
            },
            client_id: config.client_id.clone(),
            issuer: config.iss.clone(),
            audience: config.audience.clone(),
            scopes: config.scopes.clone(),
            claims: config.claims.iter().map(|(n, v)| (n.clone(), v.clone())).collect(),
        }
    }

    /// The token as of second `now_s`; blocks where the key is in a file.
    pub(super) fn sign(&self, token_url: &str, now_s: i64) -> Result<String, String> {
        let mut header = json!({ "alg": self.algorithm, "typ": "JWT" });
        if !self.key_id.is_empty() {
            header["kid"] = json!(self.key_id);
        }
        let claims = Value::Object(self.payload(token_url, now_s));
        let signed = sign::token(&header, &claims, &self.key.get()?);
        signed.map_err(|e| format!("client_certificate_key {e}"))
    }

    fn payload(&self, token_url: &str, now_s: i64) -> Map<String, Value> {
        let or = |own: &str, other: &str| json!(if own.is_empty() { other } else { own });
        let mut payload = self.claims.clone();
        let mut set = |name: &str, value: Value| {
            payload.insert(name.to_owned(), value);
        };
        set("iss", or(&self.issuer, &self.client_id));
        set("sub", json!(self.client_id));
        set("aud", or(&self.audience, token_url));
        set("iat", json!(now_s));
        set("exp", json!(now_s + ASSERTION_LIFE_SECONDS));
        if !self.scopes.is_empty() {
            set("scope", json!(self.scopes.join(" ")));
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use futures_rustls::rustls::pki_types::PrivateKeyDer;
    use futures_rustls::rustls::pki_types::pem::PemObject;
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};

    use super::*;

    const KEY: &str = include_str!("../../../testdata/oauth2/assertion.key");

    fn assertion(key: &str) -> Assertion {
        let yaml = "{client_id: me, token_url: 'http://t', audience: aud, scopes: [a, b], \
                    client_certificate_key_id: k1, claims: {team: x}, \
                    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer'}";
        let config: OAuth2 = serde_saphyr::from_str(yaml).unwrap();
        Assertion { key: Source::Text(key.to_owned()), ..Assertion::of(&config) }
    }

    #[test]
    fn an_assertion_is_signed_by_the_key() {
        let token = assertion(KEY).sign("http://t", 1000).unwrap();
        let (text, signature) = token.rsplit_once('.').unwrap();
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let parts: Vec<Value> =
            text.split('.').map(|p| serde_json::from_slice(&decoded(p)).unwrap()).collect();
        assert_eq!(parts[0], json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        let claims = json!({
            "iss": "me", "sub": "me", "aud": "aud", "iat": 1000, "exp": 4600, "scope": "a b", "team": "x"
        });
        assert_eq!(parts[1], claims);
        let der = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
        let key = RsaKeyPair::from_der(der.secret_der()).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref());
        public.verify(text.as_bytes(), &decoded(signature)).unwrap();
    }

    #[test]
    fn a_key_that_is_none_is_not_shown() {
        let error = assertion("hunter2").sign("http://t", 1000).unwrap_err();
        assert_eq!(error, "client_certificate_key is not an RSA key in PEM");
    }
}
