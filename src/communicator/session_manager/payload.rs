//! What stands in messages, as JSON, and the first thing said on a websocket.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::message::{Message, MessageType};

/// The version of session-manager-plugin whose ways these are. An agent takes 1.1.70 and later to multiplex port
/// forwarding; a session of SSH is a plain stream for all of them.
const CLIENT_VERSION: &str = "1.2.0.0";
/// The session type of `AWS-StartSSHSession`.
const PORT: &str = "Port";
/// More than any agent asks for.
const MOST_ACTIONS: usize = 16;

const SUCCESS: u8 = 1;
const FAILED: u8 = 2;
const UNSUPPORTED: u8 = 3;

/// The text by which a websocket is bound to its session.
pub(super) fn open_data_channel(token: &str, client_id: Uuid) -> String {
    serde_json::json!({
        "MessageSchemaVersion": "1.0",
        "RequestId": Uuid::new_v4().to_string(),
        "TokenValue": token,
        "ClientId": client_id.to_string(),
        "ClientVersion": CLIENT_VERSION,
    })
    .to_string()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Acknowledge {
    pub acknowledged_message_type: String,
    pub acknowledged_message_id: String,
    pub acknowledged_message_sequence_number: i64,
    pub is_sequential_message: bool,
}

impl Acknowledge {
    pub(super) fn of(message: &Message) -> Self {
        Self {
            acknowledged_message_type: message.kind.name().to_owned(),
            acknowledged_message_id: message.id.to_string(),
            acknowledged_message_sequence_number: message.sequence,
            is_sequential_message: true,
        }
    }

    /// The number of the message of ours that has come; `None` for anything else.
    pub(super) fn read(payload: &[u8]) -> Option<i64> {
        let read: Self = serde_json::from_slice(payload).ok()?;
        let ours = read.acknowledged_message_type == MessageType::Input.name();
        ours.then_some(read.acknowledged_message_sequence_number)
    }
}

/// What the service or the agent gives as the reason of the end; empty when it gives none.
pub(super) fn closing_words(payload: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    struct ChannelClosed {
        #[serde(rename = "Output", default)]
        output: String,
    }
    let read: ChannelClosed = serde_json::from_slice(payload).unwrap_or_default();
    plain(&read.output)
}

/// One line of a stranger's text.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(300).collect()
}

/// Flags that are sent as stream data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    TerminateSession = 2,
    ConnectToPortError = 3,
}

impl Flag {
    pub(super) fn bytes(self) -> [u8; 4] {
        (self as u32).to_be_bytes()
    }

    pub(super) fn is(self, payload: &[u8]) -> bool {
        payload == self.bytes()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HandshakeRequest {
    #[serde(default)]
    agent_version: String,
    #[serde(default, deserialize_with = "few")]
    requested_client_actions: Vec<RequestedAction>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RequestedAction {
    #[serde(default)]
    action_type: String,
    #[serde(default)]
    action_parameters: ActionParameters,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ActionParameters {
    session_type: String,
    #[serde(rename = "KMSKeyId")]
    kms_key_id: String,
}

/// No more than [`MOST_ACTIONS`]; the rest is not read.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RequestedAction>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<RequestedAction>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of actions")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while found.len() < MOST_ACTIONS {
                let Some(action) = list.next_element()? else { return Ok(found) };
                found.push(action);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(found)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
    }
    deserializer.deserialize_any(Few)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HandshakeResponse {
    client_version: &'static str,
    processed_client_actions: Vec<ProcessedAction>,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessedAction {
    action_type: String,
    action_status: u8,
    action_result: serde_json::Value,
    error: String,
}

/// What is answered to an agent's handshake, and why the session can't be used, if it can't.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub response: Vec<u8>,
    pub refusal: Option<String>,
}

/// Answers an agent's handshake request; `None` when it can't be read.
pub(super) fn answer(request: &[u8]) -> Option<Answer> {
    let request: HandshakeRequest = serde_json::from_slice(request).ok()?;
    let mut refusal = None;
    let mut response =
        HandshakeResponse { client_version: CLIENT_VERSION, processed_client_actions: vec![], errors: vec![] };
    for action in request.requested_client_actions {
        let (status, fault) = judge(&action, &request.agent_version);
        let error = fault.unwrap_or_default();
        if status != SUCCESS {
            response.errors.push(error.clone());
            refusal.get_or_insert_with(|| error.clone());
        }
        response.processed_client_actions.push(ProcessedAction {
            action_type: action.action_type,
            action_status: status,
            action_result: serde_json::Value::Null,
            error,
        });
    }
    Some(Answer { response: serde_json::to_vec(&response).ok()?, refusal })
}

fn judge(action: &RequestedAction, agent_version: &str) -> (u8, Option<String>) {
    match action.action_type.as_str() {
        "SessionType" if action.action_parameters.session_type == PORT => (SUCCESS, None),
        "SessionType" => {
            let kind = plain(&action.action_parameters.session_type);
            (FAILED, Some(format!("the document AWS-StartSSHSession makes a session of type {kind:?}, not \"Port\"")))
        }
        // Agents up to now never ask for it in a session of SSH, whose bytes are encrypted anyway.
        "KMSEncryption" => {
            let key = plain(&action.action_parameters.kms_key_id);
            let fault = format!(
                "the agent asks for encryption with the KMS key {key:?} (Session Manager's preferences, \"KMS encryption\"; \
                 kmsKeyId in the document SSM-SessionManagerRunShell), which is not supported: SSH encrypts by itself"
            );
            (FAILED, Some(fault))
        }
        other => {
            let (other, version) = (plain(other), plain(agent_version));
            (UNSUPPORTED, Some(format!("the agent (version {version}) asks for {other:?}, which is not known here")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answered(actions: &Value) -> (Value, Option<String>) {
        let request = json!({ "AgentVersion": "3.3.0.0", "RequestedClientActions": actions });
        let answer = answer(request.to_string().as_bytes()).unwrap();
        (serde_json::from_slice(&answer.response).unwrap(), answer.refusal)
    }

    #[test]
    fn a_plain_stream_is_what_is_wanted() {
        let parameters = json!({ "SessionType": "Port", "Properties": { "portNumber": "22", "type": "" } });
        let (response, refusal) = answered(&json!([{ "ActionType": "SessionType", "ActionParameters": parameters }]));
        assert_eq!(refusal, None);
        let processed = json!([{ "ActionType": "SessionType", "ActionStatus": 1, "ActionResult": null, "Error": "" }]);
        assert_eq!(response["ProcessedClientActions"], processed);
        assert_eq!((&response["ClientVersion"], &response["Errors"]), (&json!(CLIENT_VERSION), &json!([])));
    }

    #[test]
    fn encryption_with_kms_is_refused_by_the_name_of_the_setting() {
        let kms = json!({ "ActionType": "KMSEncryption", "ActionParameters": { "KMSKeyId": "alias/sessions" } });
        let (response, refusal) = answered(&json!([kms]));
        let refusal = refusal.unwrap();
        assert!(refusal.contains("alias/sessions") && refusal.contains("SSM-SessionManagerRunShell"), "{refusal}");
        assert_eq!(response["ProcessedClientActions"][0]["ActionStatus"], 2);
        assert_eq!(response["Errors"][0], json!(refusal));
    }

    #[test]
    fn what_is_not_known_is_said_not_to_be_supported() {
        let (response, refusal) = answered(&json!([{ "ActionType": "Dance" }]));
        assert!(refusal.unwrap().contains("\"Dance\""));
        assert_eq!(response["ProcessedClientActions"][0]["ActionStatus"], 3);
        let shell = json!([{ "ActionType": "SessionType", "ActionParameters": { "SessionType": "Standard_Stream" } }]);
        assert!(answered(&shell).1.unwrap().contains("Standard_Stream"));
    }

    #[test]
    fn a_long_list_of_actions_is_cut_and_nonsense_is_not_answered() {
        let many = vec![json!({ "ActionType": "Dance" }); 10_000];
        let (response, _) = answered(&json!(many));
        assert_eq!(response["ProcessedClientActions"].as_array().unwrap().len(), MOST_ACTIONS);
        assert_eq!(answered(&Value::Null).1, None, "a list that is not there is empty");
        for nonsense in ["", "7", "{\"RequestedClientActions\": 7}", "\u{0}"] {
            assert_eq!(answer(nonsense.as_bytes()), None, "{nonsense:?}");
        }
    }

    #[test]
    fn only_what_was_sent_is_acknowledged() {
        let ack = |kind: &str| {
            let ack = json!({ "AcknowledgedMessageType": kind, "AcknowledgedMessageId": "x",
                "AcknowledgedMessageSequenceNumber": 7, "IsSequentialMessage": true });
            Acknowledge::read(ack.to_string().as_bytes())
        };
        assert_eq!(ack("input_stream_data"), Some(7));
        assert_eq!(ack("output_stream_data"), None);
        assert_eq!(Acknowledge::read(b"{"), None);
    }

    #[test]
    fn closing_words_are_one_line() {
        let words = closing_words(br#"{"Output": "\n----ERROR----\nno such \u001bport\n"}"#);
        assert_eq!(words, "----ERROR---- no such port");
        assert_eq!(closing_words(b"nonsense"), "");
    }
}
