//! `multipart/form-data`: each part is a file. Its path is the part's name, or, for parts named `template` or `file`,
//! the file name that the client gives. A part `request` of type `application/json` is the request object, a part `bundle`
//! of type `application/gzip` all files at once.

use axum::extract::{FromRequest as _, Multipart, Request};

use super::{Form, HCL_PATH, too_large, unpack_aside};
use crate::api::Limits;
use crate::api::body::unpack::{refused_path, too_many_files};
use crate::domain::bundle::Bundle;
use crate::domain::error::{Error, Result};

pub(super) async fn read(request: Request, limits: &Limits) -> Result<Form> {
    let mut form = Multipart::from_request(request, &()).await.map_err(|rejection| invalid(&rejection.body_text()))?;
    let limit = limits.max_bundle_bytes.min(limits.max_unpacked_bytes);
    let mut described: Option<Vec<u8>> = None;
    let mut archive: Option<Vec<u8>> = None;
    let mut bundle = Bundle::default();
    let mut total = 0;
    while let Some(mut part) = form.next_field().await.map_err(|error| invalid(&error.body_text()))? {
        let place = Place::of(part.name(), part.file_name(), part.content_type())?;
        let mut bytes = Vec::new();
        while let Some(chunk) = part.chunk().await.map_err(|error| invalid(&error.body_text()))? {
            total += chunk.len();
            if total > limit {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        match place {
            Place::Request if described.is_none() => described = Some(bytes),
            Place::Archive if archive.is_none() => archive = Some(bytes),
            Place::Request | Place::Archive => {
                return Err(invalid("\"request\" and \"bundle\" can each be there once"));
            }
            Place::File(path) => {
                if bundle.len() >= limits.max_files {
                    return Err(too_many_files(limits.max_files));
                }
                bundle.insert(&path, bytes, false).map_err(|error| refused_path(&error))?;
            }
        }
    }
    let bundle = match archive {
        Some(archive) if bundle.is_empty() => unpack_aside(archive, limits).await?,
        Some(_) => return Err(invalid("it has a \"bundle\" and files beside it; put all files into the bundle")),
        None => bundle,
    };
    if bundle.is_empty() {
        return Err(invalid("it has no files"));
    }
    Ok(match described {
        Some(request) => Form::Described { request: request.into(), bundle },
        None => Form::Bundle(bundle),
    })
}

/// What a part is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Request,
    Archive,
    File(String),
}

impl Place {
    /// The types tell the two special parts from files of the same name.
    fn of(name: Option<&str>, file_name: Option<&str>, content_type: Option<&str>) -> Result<Self> {
        match (name, content_type) {
            (Some("request"), Some("application/json")) => Ok(Self::Request),
            (Some("bundle"), Some("application/gzip" | "application/x-gzip")) => Ok(Self::Archive),
            _ => path_of(name, file_name).map(Self::File),
        }
    }
}

fn path_of(name: Option<&str>, file_name: Option<&str>) -> Result<String> {
    match (name, file_name) {
        (Some("template" | "file" | "files"), Some(file_name)) => Ok(file_name.to_owned()),
        (Some("template"), None) => Ok(HCL_PATH.to_owned()),
        (Some("file" | "files"), None) => Err(invalid("a part named \"file\" needs a file name")),
        (Some(name), _) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(invalid("a part has no name; name each part by its path in the bundle")),
    }
}

fn invalid(what: &str) -> Error {
    Error::bad_request("form-invalid", format!("The form can't be read: {what}."))
}

#[cfg(test)]
mod tests {
    use super::{Place, path_of};

    #[test]
    fn parts_are_files_by_their_path() {
        assert_eq!(path_of(Some("scripts/a.sh"), Some("a.sh")).unwrap(), "scripts/a.sh");
        assert_eq!(path_of(Some("template"), Some("web.pkr.hcl")).unwrap(), "web.pkr.hcl");
        assert_eq!(path_of(Some("template"), None).unwrap(), "template.pkr.hcl");
        let request = Place::of(Some("request"), None, Some("application/json")).unwrap();
        assert_eq!(request, Place::Request);
        assert_eq!(Place::of(Some("request"), None, None).unwrap(), Place::File("request".into()));
        assert!(path_of(Some("file"), None).is_err() && path_of(None, None).is_err());
    }
}
