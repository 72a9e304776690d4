//! `csvdecode`.

use ::csv::{ErrorKind, ReaderBuilder, StringRecord};
use indexmap::IndexMap;

use super::{Call, FunctionError, FunctionResult};
use crate::template::value::Value;

/// A list of objects, one a line after the header.
pub(super) fn decode(call: &Call<'_>) -> FunctionResult {
    let text = call.text(0)?;
    bare_quotes(&text)?;
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut records = reader.records();
    let header = match records.next() {
        None => return Call::fail(0, "the header line is missing"),
        Some(record) => record.map_err(|error| fault(&error))?,
    };
    for (at, name) in header.iter().enumerate() {
        if header.iter().take(at).any(|before| before == name) {
            return Call::fail(0, format!("two columns have the name {name:?}"));
        }
    }
    let mut rows = Vec::new();
    for record in records {
        let record = record.map_err(|error| fault(&error))?;
        if record.len() != header.len() {
            let line = record.position().map_or(0, ::csv::Position::line);
            let message = format!("line {line} has {} fields, the header has {}", record.len(), header.len());
            return Call::fail(0, message);
        }
        call.runtime.spend(record.len() as u64)?;
        rows.push(row(&header, &record));
    }
    Ok(Value::list(rows))
}

fn row(header: &StringRecord, record: &StringRecord) -> Value {
    let entries: IndexMap<String, Value> =
        header.iter().map(str::to_owned).zip(record.iter().map(Value::string)).collect();
    Value::object(entries)
}

fn fault(error: &::csv::Error) -> FunctionError {
    let message = match error.kind() {
        ErrorKind::Utf8 { .. } => "the text is not UTF-8".to_owned(),
        _ => format!("this is no CSV: {error}"),
    };
    FunctionError::at(0, message)
}

/// A quote inside a field that does not begin with one, and a quoted field that does not end, are errors in Packer; the
/// reader is laxer.
fn bare_quotes(text: &str) -> Result<(), FunctionError> {
    let mut line = 1;
    let mut quoted = false;
    let mut start = true;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted => {
                if characters.peek() == Some(&'"') {
                    characters.next();
                } else if matches!(characters.peek(), None | Some(',' | '\n' | '\r')) {
                    quoted = false;
                } else {
                    return Err(FunctionError::at(0, format!("line {line}: a quote stands within a quoted field")));
                }
            }
            '"' if start => quoted = true,
            '"' => {
                return Err(FunctionError::at(0, format!("line {line}: a quote stands in a field without quotes")));
            }
            '\n' => line += 1,
            _ => {}
        }
        start = !quoted && matches!(character, ',' | '\n');
    }
    if quoted { Err(FunctionError::at(0, "a quoted field does not end")) } else { Ok(()) }
}
