//! Signatures by which programs say who they are: JSON Web Tokens signed by an RSA key (RFC 7515).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

/// A token of a header, whose `alg` says how it is signed, and of claims. `Err` says what is wrong with the key, without it.
pub fn token(header: &Value, claims: &Value, pem: &str) -> Result<String, &'static str> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let algorithm = header["alg"].as_str().unwrap_or_default();
    let signature = rsa(algorithm, pem, text.as_bytes())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// A name that nothing else has, in the form of a UUID of version 4.
///
/// # Errors
/// If the system gives no random numbers.
pub fn unique() -> Result<String, &'static str> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "needs random numbers, and there are none")?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// The signature of `text` by RS256, RS384 or RS512. `Err` says what is wrong with the key, without it.
pub(crate) fn rsa(algorithm: &str, pem: &str, text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let encoding: &dyn RsaEncoding = match algorithm {
        "RS384" => &RSA_PKCS1_SHA384,
        "RS512" => &RSA_PKCS1_SHA512,
        _ => &RSA_PKCS1_SHA256,
    };
    let unusable = "is not an RSA key in PEM";
    let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable)? {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(unusable),
    };
    let key = key.map_err(|_| unusable)?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(encoding, &SystemRandom::new(), text, &mut signature).map_err(|_| "cannot sign")?;
    Ok(signature)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_differ() {
        let (a, b) = (unique().unwrap(), unique().unwrap());
        assert!(a != b && a.len() == 36 && a.as_bytes()[14] == b'4', "{a} {b}");
    }

    #[test]
    fn a_key_that_is_none_is_not_shown() {
        let (header, claims) = (json!({ "alg": "RS256" }), json!({}));
        assert_eq!(token(&header, &claims, "hunter2"), Err("is not an RSA key in PEM"));
    }
}
