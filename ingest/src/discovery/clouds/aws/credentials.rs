//! Who asks AWS: in the order of its own clients, the configured key, a named profile, the environment, a web identity (as pods
//! of EKS have), the default profile, a container's agent, and the role of the machine (`IMDSv2`). Then a role may be taken on.
//!
//! Profiles that need a browser, a program or another vault (`sso_*`, `credential_process`) are refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderName, Request};

use super::super::super::ask::{
    Ask, DiscoveryError, answer, ask_json, ask_ok, get, post_form, put, with_secret,
};
use super::super::super::moment::parse_ms;
use super::super::super::xml;
use super::{AwsOptions, endpoint, sigv4, with_path};

/// How long before their end credentials are asked for anew.
const RENEW_BEFORE_MS: i64 = 5 * 60_000;

/// Of profiles, each the source of another.
const SOURCES_MAX: usize = 8;

const MACHINE: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
const TOKEN_LIFE: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const MACHINE_TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");

/// A key, its secret, and until when both are good.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session_token: String,
    pub(crate) good_until_ms: Option<i64>,
}

impl Credentials {
    /// A key that is good for ever.
    pub(crate) fn of(access_key: &str, secret_key: &str) -> Self {
        let (access_key, secret_key) = (access_key.to_owned(), secret_key.to_owned());
        Credentials { access_key, secret_key, ..Credentials::default() }
    }

    /// Whether they may still be used.
    pub(crate) fn good_at(&self, now_ms: i64) -> bool {
        self.good_until_ms.is_none_or(|until| now_ms < until - RENEW_BEFORE_MS)
    }
}

answer! {
    /// What the machine's and a container's agent say.
    Answer {
        access_key: String = "AccessKeyId",
        secret_key: String = "SecretAccessKey",
        token: String = "Token",
        expiration: String = "Expiration",
    }
}

impl Answer {
    fn credentials(self) -> Credentials {
        Credentials {
            access_key: self.access_key,
            secret_key: self.secret_key,
            session_token: self.token,
            good_until_ms: parse_ms(&self.expiration),
        }
    }
}

/// The credentials to ask with.
pub(crate) async fn find(
    options: &AwsOptions,
    region: &str,
    ask: &dyn Ask,
) -> Result<Credentials, DiscoveryError> {
    let own = !options.access_key.is_empty() && !options.secret_key.is_empty();
    let credentials = if own {
        Credentials::of(&options.access_key, &options.secret_key)
    } else {
        chain(&options.profile, region, ask).await?
    };
    if options.role_arn.is_empty() {
        return Ok(credentials);
    }
    assume(&credentials, &options.role_arn, &options.external_id, region, ask).await
}

/// The region that the environment, the profile or the machine names.
pub(crate) async fn region(options: &AwsOptions, ask: &dyn Ask) -> Result<String, DiscoveryError> {
    let named =
        ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| ask.variable(name));
    if let Some(region) = named {
        return Ok(region);
    }
    let profiles = Profiles::read(ask).await;
    let profile = profiles.get(&profile_name(&options.profile, ask));
    if let Some(region) = profile.and_then(|profile| profile.get("region")) {
        return Ok(region.clone());
    }
    let region = machine_text(ask, "placement/region").await.map_err(|e| {
        DiscoveryError::Setting(format!("could not determine AWS region, set `region`: {e}"))
    })?;
    Ok(region.trim().to_owned())
}

async fn chain(profile: &str, region: &str, ask: &dyn Ask) -> Result<Credentials, DiscoveryError> {
    if profile.is_empty() {
        if let (Some(key), Some(secret)) =
            (ask.variable("AWS_ACCESS_KEY_ID"), ask.variable("AWS_SECRET_ACCESS_KEY"))
        {
            let session_token = ask.variable("AWS_SESSION_TOKEN").unwrap_or_default();
            return Ok(Credentials { session_token, ..Credentials::of(&key, &secret) });
        }
        if let (Some(file), Some(role)) =
            (ask.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), ask.variable("AWS_ROLE_ARN"))
        {
            return by_web_identity(&file, &role, region, ask).await;
        }
    }
    let profiles = Profiles::read(ask).await;
    let name = profile_name(profile, ask);
    if let Some(found) = profiles.credentials(&name, region, ask).await? {
        return Ok(found);
    }
    if !profile.is_empty() {
        let wrong = format!("AWS profile {profile:?} has no credentials");
        return Err(DiscoveryError::Setting(wrong));
    }
    match by_container(ask).await? {
        Some(found) => Ok(found),
        None => by_machine(ask).await,
    }
}

fn profile_name(own: &str, ask: &dyn Ask) -> String {
    if !own.is_empty() {
        return own.to_owned();
    }
    let named = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"].into_iter().find_map(|n| ask.variable(n));
    named.unwrap_or_else(|| "default".to_owned())
}

/// The shared files: a section for each profile.
struct Profiles(BTreeMap<String, BTreeMap<String, String>>);

impl Profiles {
    /// Those of `~/.aws/config` and `~/.aws/credentials`, or where the environment says; the second one wins.
    async fn read(ask: &dyn Ask) -> Self {
        let home = ask.variable("HOME").unwrap_or_default();
        let mut profiles = BTreeMap::new();
        for (variable, name) in
            [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")]
        {
            let path = ask.variable(variable).unwrap_or_else(|| format!("{home}/.aws/{name}"));
            // Neither of them need be there.
            if let Ok(text) = ask.file(&path).await {
                sections(&text, &mut profiles);
            }
        }
        Profiles(profiles)
    }

    fn get(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(name)
    }

    /// The credentials of a profile: its own, or a role's that it takes on with those of another.
    async fn credentials(
        &self,
        name: &str,
        region: &str,
        ask: &dyn Ask,
    ) -> Result<Option<Credentials>, DiscoveryError> {
        let (mut name, mut roles) = (name.to_owned(), Vec::new());
        let mut found = None;
        for _ in 0..SOURCES_MAX {
            let Some(profile) = self.get(&name) else { break };
            let text = |key: &str| profile.get(key).map_or("", String::as_str);
            if let Some(key) =
                profile.keys().find(|k| k.starts_with("sso_") || *k == "credential_process")
            {
                let wrong = format!("AWS profile {name:?}: {key} is not supported");
                return Err(DiscoveryError::Setting(wrong));
            }
            let (role, source) = (text("role_arn"), text("source_profile"));
            let own = text("aws_access_key_id");
            if !role.is_empty() && !text("web_identity_token_file").is_empty() {
                let file = text("web_identity_token_file");
                found = Some(by_web_identity(file, role, region, ask).await?);
                break;
            }
            if !role.is_empty() {
                roles.push((role.to_owned(), text("external_id").to_owned()));
            }
            if role.is_empty() || source == name {
                if !own.is_empty() {
                    let session_token = text("aws_session_token").to_owned();
                    let key = Credentials::of(own, text("aws_secret_access_key"));
                    found = Some(Credentials { session_token, ..key });
                }
                break;
            }
            if source.is_empty() {
                found = match text("credential_source") {
                    "EcsContainer" => by_container(ask).await?,
                    "Ec2InstanceMetadata" => Some(by_machine(ask).await?),
                    _ => None,
                };
                break;
            }
            source.clone_into(&mut name);
        }
        for (role, external_id) in roles.iter().rev() {
            let Some(credentials) = &found else { break };
            found = Some(assume(credentials, role, external_id, region, ask).await?);
        }
        Ok(found)
    }
}

/// Reads `[profile name]` or `[name]`, and `key = value` below it.
fn sections(text: &str, profiles: &mut BTreeMap<String, BTreeMap<String, String>>) {
    let mut name = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let title = title.trim();
            let own = title.strip_prefix("profile ").unwrap_or(title);
            own.trim().clone_into(&mut name);
        } else if line.starts_with(['#', ';']) || name.is_empty() {
        } else if let Some((key, value)) = line.split_once('=') {
            let section = profiles.entry(name.clone()).or_default();
            section.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}

/// Where the service is that gives out roles.
fn sts(region: &str, ask: &dyn Ask) -> String {
    let named =
        ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"].into_iter().find_map(|n| ask.variable(n));
    named.map_or_else(|| endpoint("sts", region), |url| with_path(&url))
}

async fn assume(
    credentials: &Credentials,
    role: &str,
    external_id: &str,
    region: &str,
    ask: &dyn Ask,
) -> Result<Credentials, DiscoveryError> {
    let session = format!("tidemark-{}", ask.now_ms());
    let mut form = vec![
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", &session),
        ("DurationSeconds", "900"),
    ];
    if !external_id.is_empty() {
        form.push(("ExternalId", external_id));
    }
    let request = post_form(&sts(region, ask), &form)?;
    let signed = sigv4::sign(request, credentials, region, "sts", ask.now_ms())?;
    by_role(ask, signed).await
}

async fn by_web_identity(
    file: &str,
    role: &str,
    region: &str,
    ask: &dyn Ask,
) -> Result<Credentials, DiscoveryError> {
    let token = ask.file(file).await?;
    let session = ask.variable("AWS_ROLE_SESSION_NAME");
    let session = session.unwrap_or_else(|| format!("tidemark-{}", ask.now_ms()));
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", &session),
        ("WebIdentityToken", token.trim()),
    ];
    by_role(ask, post_form(&sts(region, ask), &form)?).await
}

/// The credentials of a role, as the answer to `request`.
async fn by_role(ask: &dyn Ask, request: Request<Bytes>) -> Result<Credentials, DiscoveryError> {
    let url = request.uri().to_string();
    let answer = ask_ok(ask, request).await?;
    let wrong = |reason| DiscoveryError::Answer { url: url.clone(), reason };
    let document = xml::parse(xml::utf8(answer.body()).map_err(wrong)?).map_err(wrong)?;
    let found = document.descendants().find(|node| node.tag_name().name() == "Credentials");
    let found = found.ok_or_else(|| wrong("it has no credentials".to_owned()))?;
    let text = |name: &str| xml::text(found, name).to_owned();
    Ok(Credentials {
        access_key: text("AccessKeyId"),
        secret_key: text("SecretAccessKey"),
        session_token: text("SessionToken"),
        good_until_ms: parse_ms(&text("Expiration")),
    })
}

/// What a container's agent gives, in ECS and EKS; `None` outside of them.
async fn by_container(ask: &dyn Ask) -> Result<Option<Credentials>, DiscoveryError> {
    let relative = ask.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let relative = relative.map(|path| format!("{CONTAINER}{path}"));
    let Some(url) = relative.or_else(|| ask.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) else {
        return Ok(None);
    };
    let mut request = get(&url)?;
    let token = match ask.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => Some(ask.file(&file).await?.trim().to_owned()),
        None => ask.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    if let Some(token) = token {
        request = with_secret(request, http::header::AUTHORIZATION, &token)?;
    }
    let answer: Answer = ask_json(ask, request).await?;
    Ok(Some(answer.credentials()))
}

/// What the role of the machine gives.
async fn by_machine(ask: &dyn Ask) -> Result<Credentials, DiscoveryError> {
    if ask.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
        return Err(DiscoveryError::Setting(
            "no AWS credentials: set access_key and secret_key, a profile, or the environment's"
                .to_owned(),
        ));
    }
    let role = machine_text(ask, "iam/security-credentials/").await?;
    let role = role.lines().next().unwrap_or_default().trim().to_owned();
    let request = machine(ask, &format!("iam/security-credentials/{role}")).await?;
    let answer: Answer = ask_json(ask, request).await?;
    Ok(answer.credentials())
}

async fn machine_text(ask: &dyn Ask, path: &str) -> Result<String, DiscoveryError> {
    let answer = ask_ok(ask, machine(ask, path).await?).await?;
    Ok(String::from_utf8_lossy(answer.body()).into_owned())
}

/// A question to the machine's metadata, with the token that has to be fetched first.
async fn machine(ask: &dyn Ask, path: &str) -> Result<Request<Bytes>, DiscoveryError> {
    let base = ask.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let base = base.unwrap_or_else(|| MACHINE.to_owned());
    let base = base.trim_end_matches('/');
    let request = with_secret(put(&format!("{base}/latest/api/token"))?, TOKEN_LIFE, "21600")?;
    let token = ask_ok(ask, request).await?;
    let token = String::from_utf8_lossy(token.body()).trim().to_owned();
    with_secret(get(&format!("{base}/latest/meta-data/{path}"))?, MACHINE_TOKEN, &token)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::super::super::ask::recorded::Recorded;
    use super::*;

    const STS: &str = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId>
      <SecretAccessKey>s</SecretAccessKey><SessionToken>tok</SessionToken><Expiration>2026-11-23T09:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"#;

    fn found(options: &AwsOptions, ask: &Recorded) -> Result<String, String> {
        let found = find(options, "eu-west-2", ask).now_or_never().unwrap();
        found
            .map(|c| format!("{} {} {}", c.access_key, c.secret_key, c.session_token))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn in_the_order_of_awss_own_clients() {
        let own = AwsOptions {
            access_key: "AK".into(),
            secret_key: "SK".into(),
            ..AwsOptions::default()
        };
        assert_eq!(found(&own, &Recorded::default()).unwrap(), "AK SK ");
        let anybody = AwsOptions::default();
        let ask = Recorded::new(&[]).with(&[
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "S"),
            ("AWS_SESSION_TOKEN", "T"),
        ]);
        assert_eq!(found(&anybody, &ask).unwrap(), "A S T");
        let files = [
            ("HOME", "/h"),
            (
                "/h/.aws/credentials",
                "[default]\naws_access_key_id = D\naws_secret_access_key = E\n[p]\naws_access_key_id=P\naws_secret_access_key=Q\naws_session_token=R\n",
            ),
        ];
        let ask = Recorded::new(&[]).with(&files);
        assert_eq!(found(&anybody, &ask).unwrap(), "D E ");
        let named = AwsOptions { profile: "p".into(), ..AwsOptions::default() };
        assert_eq!(found(&named, &ask).unwrap(), "P Q R");
        let missing = AwsOptions { profile: "q".into(), ..AwsOptions::default() };
        assert_eq!(found(&missing, &ask).unwrap_err(), r#"AWS profile "q" has no credentials"#);
        let container = [(
            "169.254.170.2/creds",
            200,
            r#"{"AccessKeyId": "C", "SecretAccessKey": "S", "Token": "T"}"#,
        )];
        let ask =
            Recorded::new(&container).with(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/creds")]);
        assert_eq!(found(&anybody, &ask).unwrap(), "C S T");
    }

    #[test]
    fn the_machine_and_its_token() {
        let ask = Recorded::new(&[
            ("/latest/api/token", 200, "TOKEN"),
            (
                "/security-credentials/role",
                200,
                r#"{"AccessKeyId": "M", "SecretAccessKey": "S", "Token": "T", "Expiration": "2026-11-23T09:00:00Z"}"#,
            ),
            ("/security-credentials/", 200, "role"),
            ("/placement/region", 200, "eu-west-2\n"),
        ]);
        let anybody = AwsOptions::default();
        assert_eq!(found(&anybody, &ask).unwrap(), "M S T");
        assert_eq!(ask.asked.borrow()[0].method(), "PUT");
        assert_eq!(ask.asked.borrow()[1].headers()["x-aws-ec2-metadata-token"], "TOKEN");
        assert_eq!(region(&anybody, &ask).now_or_never().unwrap().unwrap(), "eu-west-2");
        let ask = Recorded::new(&[]).with(&[("AWS_EC2_METADATA_DISABLED", "true")]);
        assert!(found(&anybody, &ask).unwrap_err().starts_with("no AWS credentials"));
    }

    #[test]
    fn roles_are_taken_on() {
        let own = AwsOptions {
            access_key: "AK".into(),
            secret_key: "SK".into(),
            role_arn: "arn:r".into(),
            external_id: "x".into(),
            ..AwsOptions::default()
        };
        let ask = Recorded::new(&[("https://sts.eu-west-2.amazonaws.com/", 200, STS)]);
        assert_eq!(found(&own, &ask).unwrap(), "ASIA s tok");
        assert_eq!(
            ask.bodies(),
            [
                "Action=AssumeRole&Version=2011%2D06%2D15&RoleArn=arn%3Ar&RoleSessionName=tidemark%2D0&DurationSeconds=900&ExternalId=x"
            ]
        );
        let pod = [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
            ("/t", "jwt\n"),
            ("AWS_ROLE_ARN", "arn:p"),
            ("AWS_ROLE_SESSION_NAME", "me"),
        ];
        let ask = Recorded::new(&[("sts", 200, STS)]).with(&pod);
        assert_eq!(found(&AwsOptions::default(), &ask).unwrap(), "ASIA s tok");
        assert!(
            ask.bodies()[0].ends_with("RoleArn=arn%3Ap&RoleSessionName=me&WebIdentityToken=jwt")
        );
        let config = "[profile r]\nrole_arn = arn:r\nsource_profile = s\n[profile s]\naws_access_key_id = A\naws_secret_access_key = B\n[profile l]\nrole_arn=a\nsource_profile=m\n[profile m]\nrole_arn=b\nsource_profile=l\n[profile o]\nsso_session = x\n";
        let ask =
            Recorded::new(&[("sts", 200, STS)]).with(&[("AWS_CONFIG_FILE", "/c"), ("/c", config)]);
        let named = |profile: &str| AwsOptions { profile: profile.into(), ..AwsOptions::default() };
        assert_eq!(found(&named("r"), &ask).unwrap(), "ASIA s tok");
        assert_eq!(found(&named("l"), &ask).unwrap_err(), r#"AWS profile "l" has no credentials"#);
        assert_eq!(
            found(&named("o"), &ask).unwrap_err(),
            r#"AWS profile "o": sso_session is not supported"#
        );
        let ask = Recorded::new(&[("sts", 403, "no"), ("", 200, "<a/>")]);
        assert!(found(&own, &ask).unwrap_err().contains("403 Forbidden: no"));
    }

    #[test]
    fn credentials_are_renewed_in_time() {
        let answer = Answer { expiration: "2026-11-23T09:00:00Z".into(), ..Answer::default() };
        let (end, credentials) = (1_795_424_400_000, answer.credentials());
        assert!(
            credentials.good_at(end - RENEW_BEFORE_MS - 1)
                && !credentials.good_at(end - RENEW_BEFORE_MS)
        );
        assert!(Credentials::of("a", "b").good_at(i64::MAX));
    }
}
