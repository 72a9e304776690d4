//! How people name an image: by its id, by an AMI's id, or as `web#7`.

use std::str::FromStr;

use super::client::Client;
use super::error::{CliError, CliResult};
use super::typed;
use super::wire::{Image, Page};

/// An image of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// An image's id, or an AMI's: the API takes both.
    Id(String),
    /// `FAMILY#NUMBER`, or `FAMILY/NUMBER` where a shell makes a comment of the other.
    Numbered { family: String, number: i64 },
}

impl FromStr for ImageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no image; write its id, an AMI's id, or FAMILY#NUMBER such as web#7");
        if text.starts_with("ami-") || uuid::Uuid::try_parse(text).is_ok() {
            return Ok(Self::Id(text.to_owned()));
        }
        let (family, number) = text.rsplit_once(['#', '/']).ok_or_else(wrong)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
        if family.is_empty() {
            return Err(wrong());
        }
        Ok(Self::Numbered { family: family.to_owned(), number })
    }
}

impl ImageName {
    /// What the API calls it.
    ///
    /// # Errors
    /// When there is no such image, or the server can't be asked.
    pub async fn id(&self, client: &Client) -> CliResult<String> {
        let (family, number) = match self {
            Self::Id(id) => return Ok(id.clone()),
            Self::Numbered { family, number } => (family, *number),
        };
        let query = [("family", family.clone()), ("number", number.to_string())];
        let page: Page = client.get(&["images"], &query).await?;
        for item in &page.items {
            let image: Image = typed(client, item)?;
            if image.family == *family && image.number == number {
                return Ok(image.id);
            }
        }
        Err(CliError::Local(format!(
            "there is no image {family} #{number}; see those there are with: ingot images list --family {family}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    const ID: &str = "01a1fe36-d953-7628-8ae4-2c6bdcc26f68";

    #[test]
    fn three_ways_to_name_an_image() {
        let id = |text: &str| Ok(ImageName::Id(text.to_owned()));
        let numbered = |family: &str, number| Ok(ImageName::Numbered { family: family.to_owned(), number });
        assert_eq!(ID.parse(), id(ID));
        assert_eq!("ami-672116a35b5c3bf6a".parse(), id("ami-672116a35b5c3bf6a"));
        assert_eq!("web#7".parse(), numbered("web", 7));
        assert_eq!("web/7".parse(), numbered("web", 7));
        for wrong in ["web", "web#", "#7", "web#x", "web#-7", "web#0", "", "web #"] {
            assert!(wrong.parse::<ImageName>().unwrap_err().contains("FAMILY#NUMBER"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_number_is_looked_up() {
        let server = MockServer::start().await;
        let image = json!({"id": ID, "family": "web", "number": 7, "state": "built"});
        Mock::given(path("/v1/images"))
            .and(query_param("family", "web"))
            .and(query_param("number", "7"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"items": [image], "next_cursor": null})))
            .mount(&server)
            .await;
        Mock::given(path("/v1/images"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"items": [], "next_cursor": null})))
            .mount(&server)
            .await;
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let id = async |name: &str| name.parse::<ImageName>().unwrap().id(&client).await;
        assert_eq!(id("web#7").await.unwrap(), ID);
        let complaint = id("web#8").await.unwrap_err().to_string();
        assert!(complaint.contains("there is no image web #8"), "{complaint}");
    }
}
