//! Session Manager's sessions.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use secrecy::SecretString;

use super::account::AwsAccount;
use super::errors::incomplete;
use crate::cloud::{CloudError, CloudErrorClass, CloudResult, OpenSession, SSH_DOCUMENT, SessionRequest, Sessions};

/// The service behind the websockets, as signatures name it.
const SIGNED_SERVICE: &str = "ssmmessages";

#[async_trait]
impl Sessions for AwsAccount {
    async fn start_session(&self, region: &str, request: &SessionRequest) -> CloudResult<OpenSession> {
        const OPERATION: &str = "StartSession";
        let request = self
            .ssm(region)
            .start_session()
            .target(&request.instance_id)
            .document_name(SSH_DOCUMENT)
            .parameters("portNumber", vec![request.port.to_string()])
            .reason(&request.reason);
        let answer = self.call(OPERATION, region).change_once(|| request.clone().send()).await?;
        self.opened(OPERATION, region, [answer.session_id, answer.stream_url, answer.token_value]).await
    }

    async fn resume_session(&self, region: &str, session_id: &str) -> CloudResult<OpenSession> {
        const OPERATION: &str = "ResumeSession";
        let request = self.ssm(region).resume_session().session_id(session_id);
        let answer = self.call(OPERATION, region).change(|| request.clone().send()).await?;
        let token = answer.token_value.filter(|token| !token.is_empty());
        if token.is_none() {
            // So a session is answered whose time is over.
            let message = "the session is over";
            return Err(CloudError::new(CloudErrorClass::NotFound, OPERATION, "session-over", message));
        }
        self.opened(OPERATION, region, [answer.session_id, answer.stream_url, token]).await
    }

    async fn terminate_session(&self, region: &str, session_id: &str) -> CloudResult<()> {
        let request = self.ssm(region).terminate_session().session_id(session_id);
        let outcome = self.call("TerminateSession", region).change(|| request.clone().send()).await;
        match outcome {
            Err(error) if error.class == CloudErrorClass::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}

impl AwsAccount {
    /// `parts`: id, URL and token.
    async fn opened(
        &self,
        operation: &'static str,
        region: &str,
        parts: [Option<String>; 3],
    ) -> CloudResult<OpenSession> {
        let [Some(id), Some(stream_url), Some(token)] = parts else {
            return Err(incomplete(operation, "session id, stream URL or token", true));
        };
        let headers = signature(operation, &self.config_in(region), region, &stream_url).await?;
        Ok(OpenSession { id, stream_url, token: SecretString::from(token), headers })
    }
}

/// The headers that sign the websocket's request, which newer endpoints ask for (`ssmmessages:OpenDataChannel`).
async fn signature(
    operation: &'static str,
    config: &SdkConfig,
    region: &str,
    stream_url: &str,
) -> CloudResult<Vec<(String, SecretString)>> {
    if stream_url.contains("X-Amz-Signature=") {
        return Ok(Vec::new());
    }
    let invalid = |error: &dyn std::fmt::Display| {
        let message = format!("the websocket's request can't be signed: {error}");
        CloudError::new(CloudErrorClass::Unavailable, operation, "no-signature", message)
    };
    let provider = config.credentials_provider().ok_or_else(|| invalid(&"there are no credentials"))?;
    let credentials = provider.provide_credentials().await.map_err(|error| invalid(&error))?;
    let now = config.time_source().unwrap_or_default().now();
    signed(credentials, now, region, stream_url).map_err(|error| invalid(&error))
}

fn signed(
    credentials: Credentials,
    now: std::time::SystemTime,
    region: &str,
    stream_url: &str,
) -> Result<Vec<(String, SecretString)>, Box<dyn std::error::Error + Send + Sync>> {
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(SIGNED_SERVICE)
        .time(now)
        .settings(SigningSettings::default())
        .build()?
        .into();
    let request = SignableRequest::new("GET", stream_url, std::iter::empty(), SignableBody::Bytes(&[]))?;
    let (instructions, _) = sign(request, &parameters)?.into_parts();
    let headers = instructions.headers();
    Ok(headers.map(|(name, value)| (name.to_owned(), SecretString::from(value.to_owned()))).collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use secrecy::ExposeSecret;

    use super::*;

    fn headers(token: Option<&str>, url: &str) -> Vec<(String, String)> {
        let credentials = Credentials::new("AKID", "secret", token.map(str::to_owned), None, "test");
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let headers = signed(credentials, now, "eu-west-1", url).unwrap();
        headers.into_iter().map(|(name, value)| (name, value.expose_secret().to_owned())).collect()
    }

    #[test]
    fn the_websockets_request_is_signed_for_its_service_and_region() {
        let url = "wss://ssmmessages.eu-west-1.amazonaws.com/v1/data-channel/ingot-0a1b?role=publish_subscribe";
        let found = headers(Some("session"), url);
        let of = |wanted: &str| found.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        assert_eq!((of("x-amz-date"), of("x-amz-security-token")), (Some("20231114T221320Z"), Some("session")));
        let authorization = of("authorization").unwrap();
        let scope = "Credential=AKID/20231114/eu-west-1/ssmmessages/aws4_request";
        let signed = "SignedHeaders=host;x-amz-date;x-amz-security-token";
        assert!(authorization.contains(scope) && authorization.contains(signed), "{authorization}");
        assert_ne!(headers(Some("session"), &url.replace("0a1b", "0a1c")), found);
    }

    #[tokio::test]
    async fn a_url_that_is_signed_already_needs_no_headers() {
        let config = SdkConfig::builder().build();
        let url = "wss://ssmmessages.eu-west-1.amazonaws.com/v1/x?X-Amz-Signature=abc";
        assert!(signature("StartSession", &config, "eu-west-1", url).await.unwrap().is_empty());
        let unsigned = signature("StartSession", &config, "eu-west-1", "wss://a/b").await.unwrap_err();
        assert_eq!(unsigned.code, "no-signature");
    }
}
