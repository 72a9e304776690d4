//! Lists: `limit`, and an opaque `cursor` that only fits the list and filters it was made for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::query::Query;
use crate::domain::error::{Error, Result};
use crate::store::Page;

const DEFAULT_LIMIT: i64 = 50;
const LARGEST_LIMIT: i64 = 500;
/// Leads every cursor, so that its form can change.
const CURSOR_FORMAT: u8 = 1;

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    /// For the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A list being asked for.
#[derive(Debug)]
pub struct Listing {
    /// Which list with which filters.
    fingerprint: [u8; 8],
    limit: usize,
    /// Asks for one row more than the page has, which tells whether there is a next page.
    pub page: Page,
}

impl Listing {
    /// Takes `limit` and `cursor` out of the query; what is left there are the filters.
    ///
    /// # Errors
    /// `query-invalid`, `cursor-invalid`, or `cursor-mismatch` for a cursor of another list or other filters.
    pub fn new(query: &mut Query, kind: &str) -> Result<Self> {
        let limit = match query.parsed::<i64>("limit")? {
            None => DEFAULT_LIMIT,
            Some(limit) if (1..=LARGEST_LIMIT).contains(&limit) => limit,
            Some(_) => {
                let public = format!("The query parameter \"limit\" must be from 1 to {LARGEST_LIMIT}.");
                return Err(Error::bad_request("query-invalid", public));
            }
        };
        let cursor = query.one("cursor")?;
        let fingerprint = fingerprint(kind, &query.remaining());
        let before = cursor.map(|cursor| decode(&cursor, fingerprint)).transpose()?;
        let page = Page { limit: limit + 1, before };
        Ok(Self { fingerprint, limit: usize::try_from(limit).unwrap_or(usize::MAX), page })
    }

    /// The page from its rows; `place` is what the list is ordered by.
    pub fn finish<R, V>(
        self,
        mut rows: Vec<R>,
        place: impl Fn(&R) -> (DateTime<Utc>, Uuid),
        view: impl Fn(R) -> V,
    ) -> List<V> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_cursor = rows.last().filter(|_| more).map(|row| encode(self.fingerprint, place(row)));
        List { items: rows.into_iter().map(view).collect(), next_cursor }
    }
}

fn fingerprint(kind: &str, filters: &[(String, String)]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for text in std::iter::once(kind).chain(filters.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()])) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    let mut short = [0; 8];
    short.copy_from_slice(&hash[..8]);
    short
}

fn encode(fingerprint: [u8; 8], (at, id): (DateTime<Utc>, Uuid)) -> String {
    let mut bytes = vec![CURSOR_FORMAT];
    bytes.extend(fingerprint);
    bytes.extend(at.timestamp_micros().to_be_bytes());
    bytes.extend(id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(cursor: &str, expected: [u8; 8]) -> Result<(DateTime<Utc>, Uuid)> {
    let invalid = || Error::bad_request("cursor-invalid", "The cursor is not one that this server made.");
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    let bytes: [u8; 33] = bytes.try_into().map_err(|_| invalid())?;
    if bytes[0] != CURSOR_FORMAT {
        return Err(invalid());
    }
    if bytes[1..9] != expected {
        return Err(Error::bad_request(
            "cursor-mismatch",
            "The cursor belongs to another list or to other filters. Keep the filters while turning pages, or begin without a cursor.",
        ));
    }
    let mut micros = [0; 8];
    micros.copy_from_slice(&bytes[9..17]);
    let at = DateTime::from_timestamp_micros(i64::from_be_bytes(micros)).ok_or_else(invalid)?;
    let id = Uuid::from_slice(&bytes[17..]).map_err(|_| invalid())?;
    Ok((at, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_fits_only_its_own_list_and_filters() {
        let filters = |value: &str| vec![("state".to_owned(), value.to_owned())];
        let place = (DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(), Uuid::from_u128(7));
        let runs = fingerprint("runs", &filters("failed"));
        let cursor = encode(runs, place);
        assert_eq!(decode(&cursor, runs).unwrap(), place);
        assert_eq!(decode(&cursor, fingerprint("runs", &filters("queued"))).unwrap_err().code, "cursor-mismatch");
        assert_eq!(decode(&cursor, fingerprint("images", &filters("failed"))).unwrap_err().code, "cursor-mismatch");
        for wrong in ["", "x", "!!", &cursor[1..], &format!("{cursor}AAAA")] {
            assert_eq!(decode(wrong, runs).unwrap_err().code, "cursor-invalid", "{wrong:?}");
        }
    }

    #[test]
    fn a_full_page_has_a_next_one_only_when_there_is_more() {
        let listing = |limit| Listing { fingerprint: [0; 8], limit, page: Page::first(0) };
        let place = |_: &i32| (DateTime::UNIX_EPOCH, Uuid::nil());
        let last = listing(3).finish(vec![1, 2, 3], place, |row| row);
        assert_eq!((last.items.len(), last.next_cursor), (3, None));
        let first = listing(2).finish(vec![1, 2, 3], place, |row| row);
        assert!(first.items == [1, 2] && first.next_cursor.is_some());
    }
}
