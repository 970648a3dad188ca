//! The answer of a token server (RFC 6749, 5.1): a token, and how long it is good for. Nothing of it is repeated in an error.

use std::time::Duration;

use serde::Deserialize;

/// A token, as requests show it.
pub struct Token {
    /// The value of `Authorization`, which may still have characters that a header cannot have.
    pub authorization: String,
    /// How long it is good for, if that is told.
    pub life: Option<Duration>,
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    token_type: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

/// Reads the body of an answer.
///
/// # Errors
/// If it has no token.
pub fn read(body: &[u8]) -> Result<Token, String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| "the token server's answer is not JSON of a token".to_owned())?;
    if answer.access_token.is_empty() {
        return Err("the token server's answer has no access_token".to_owned());
    }
    let kind = match answer.token_type.to_ascii_lowercase().as_str() {
        "" | "bearer" => "Bearer".to_owned(),
        "mac" => "MAC".to_owned(),
        "basic" => "Basic".to_owned(),
        _ => answer.token_type,
    };
    let seconds = match answer.expires_in {
        Some(serde_json::Value::Number(n)) => n.as_f64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let life = seconds.filter(|s| (1.0..1e9).contains(s)).map(Duration::from_secs_f64);
    Ok(Token { authorization: format!("{kind} {}", answer.access_token), life })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_token_servers() {
        for (body, authorization, seconds) in [
            (
                r#"{"access_token":"x","token_type":"bearer","expires_in":3600}"#,
                "Bearer x",
                Some(3600),
            ),
            (r#"{"access_token":"x","token_type":"Odd","expires_in":"60"}"#, "Odd x", Some(60)),
            (r#"{"access_token":"x","token_type":"MAC"}"#, "MAC x", None),
            (r#"{"access_token":"x","expires_in":null}"#, "Bearer x", None),
            (r#"{"access_token":"x","expires_in":-1}"#, "Bearer x", None),
            (r#"{"access_token":"x","expires_in":1e300}"#, "Bearer x", None),
        ] {
            let token = read(body.as_bytes()).unwrap();
            assert_eq!(token.authorization, authorization);
            assert_eq!(token.life, seconds.map(Duration::from_secs), "{body}");
        }
        for bad in ["{}", "<html>", "", r#"{"access_token":"secret","token_type":7}"#] {
            let error = read(bad.as_bytes()).err().unwrap();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
