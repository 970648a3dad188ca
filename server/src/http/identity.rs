//! Who a client says it is: the `Authorization` header and the custom headers of a configuration.
//!
//! What stands in files is read for every request, as Prometheus does, so that a rotated secret needs no reload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tidemark_core::runtime::unblock;

use crate::config::http_client::HttpClientConfig;

/// A text given here or kept in a file.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The text.
    Text(String),
    /// Name of the file.
    File(String),
}

impl Source {
    /// The file wins if one is named.
    pub(crate) fn of(text: &str, file: &str) -> Self {
        if file.is_empty() { Source::Text(text.to_owned()) } else { Source::File(file.to_owned()) }
    }

    /// The text; blocks where it is in a file. `Err` names the file.
    pub(crate) fn get(&self) -> Result<String, String> {
        match self {
            Source::Text(text) => Ok(text.clone()),
            Source::File(path) => {
                let read = std::fs::read_to_string(path);
                read.map(|text| text.trim().to_owned()).map_err(|e| format!("{path}: {e}"))
            }
        }
    }

    fn is_file(&self) -> bool {
        matches!(self, Source::File(_))
    }
}

/// The `Authorization` header.
#[derive(Clone, Debug)]
enum Authorization {
    None,
    Basic { user: Source, password: Source },
    Token { kind: String, credentials: Source },
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    authorization: Authorization,
    headers: Vec<(HeaderName, Source)>,
}

impl Identity {
    /// As configured; `Err` names a header that is none.
    pub(crate) fn of(config: &HttpClientConfig) -> Result<Self, String> {
        let authorization = if let Some(basic) = &config.basic_auth {
            Authorization::Basic {
                user: Source::of(&basic.username, &basic.username_file),
                password: Source::of(basic.password.reveal(), &basic.password_file),
            }
        } else if let Some(token) = &config.authorization {
            Authorization::Token {
                kind: token.r#type.clone(),
                credentials: Source::of(token.credentials.reveal(), &token.credentials_file),
            }
        } else {
            Authorization::None
        };
        let mut headers = Vec::new();
        for (name, header) in &config.http_headers {
            let bad = |e| format!("http_headers: {name:?}: {e}");
            let key = HeaderName::try_from(name.as_str()).map_err(|e| bad(e.to_string()))?;
            let values = header.values.iter().map(|v| Source::Text(v.clone()));
            let secrets = header.secrets.iter().map(|s| Source::Text(s.reveal().to_owned()));
            let files = header.files.iter().map(|f| Source::File(f.clone()));
            headers.extend(values.chain(secrets).chain(files).map(|source| (key.clone(), source)));
        }
        Ok(Identity { authorization, headers })
    }

    /// Sets the headers; `Err` says which secret cannot be read or sent.
    pub(crate) async fn apply(&self, headers: &mut HeaderMap) -> Result<(), String> {
        let read = if self.reads_files() {
            let identity = self.clone();
            unblock(move || identity.headers()).await?
        } else {
            self.headers()?
        };
        headers.extend(read);
        Ok(())
    }

    /// The headers; blocks where a secret is kept in a file.
    pub(crate) fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        let text = match &self.authorization {
            Authorization::None => None,
            Authorization::Basic { user, password } => {
                let pair = format!("{}:{}", user.get()?, password.get()?);
                Some(format!("Basic {}", STANDARD.encode(pair)))
            }
            Authorization::Token { kind, credentials } => {
                Some(format!("{kind} {}", credentials.get()?))
            }
        };
        if let Some(text) = text {
            headers.insert(AUTHORIZATION, sensitive(&text, "authorization")?);
        }
        for (name, source) in &self.headers {
            headers.append(name.clone(), sensitive(&source.get()?, name.as_str())?);
        }
        Ok(headers)
    }

    fn reads_files(&self) -> bool {
        let of_authorization = match &self.authorization {
            Authorization::None => false,
            Authorization::Basic { user, password } => user.is_file() || password.is_file(),
            Authorization::Token { credentials, .. } => credentials.is_file(),
        };
        of_authorization || self.headers.iter().any(|(_, source)| source.is_file())
    }
}

/// A header value that is not shown in logs; `Err` says that `name` cannot be sent.
pub(crate) fn sensitive(text: &str, name: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| format!("{name}: characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use tidemark_core::runtime::sim;

    use super::*;

    fn headers_of(yaml: &str) -> Result<HeaderMap, String> {
        let config: HttpClientConfig = serde_saphyr::from_str(yaml).unwrap();
        sim::run(1, async move {
            let mut headers = HeaderMap::new();
            Identity::of(&config)?.apply(&mut headers).await?;
            Ok(headers)
        })
    }

    #[test]
    fn each_way_to_authenticate() {
        let basic = headers_of("basic_auth: {username: me, password: hunter2}").unwrap();
        assert_eq!(basic[AUTHORIZATION], "Basic bWU6aHVudGVyMg==");
        let bearer = headers_of("bearer_token: abc").unwrap();
        assert_eq!(bearer[AUTHORIZATION], "Bearer abc");
        let token = headers_of("authorization: {type: Token, credentials: x}").unwrap();
        assert_eq!(token[AUTHORIZATION], "Token x");
        let custom = headers_of("http_headers: {X-Org: {values: [a], secrets: [b]}}").unwrap();
        assert_eq!(custom.get_all("x-org").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(headers_of("{}").unwrap().is_empty());
        assert!(headers_of("bearer_token: \"a\\nb\"").unwrap_err().contains("cannot have"));
    }
}
