//! A bundle as one run of bytes: an uncompressed tar with fixed owners and times, so that equal bundles are equal bytes and
//! are stored once.

use std::io::Read;

use tar::{Archive, Builder, EntryType, Header};

use crate::domain::bundle::Bundle;
use crate::domain::error::{Error, Result};

pub(super) fn pack(bundle: &Bundle) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::with_capacity(bundle.total_bytes() + 1024 * (bundle.len() + 1)));
    for (path, file) in bundle.iter() {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(file.bytes.len() as u64);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        archive.append_data(&mut header, path, file.bytes.as_slice()).map_err(|error| broken(&error))?;
    }
    archive.into_inner().map_err(|error| broken(&error))
}

pub(super) fn unpack(bytes: &[u8]) -> Result<Bundle> {
    let mut bundle = Bundle::default();
    let mut archive = Archive::new(bytes);
    for entry in archive.entries().map_err(|error| broken(&error))? {
        let mut entry = entry.map_err(|error| broken(&error))?;
        let executable = entry.header().mode().map_err(|error| broken(&error))? & 0o100 != 0;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| broken(&error))?;
        bundle
            .insert(&path, content, executable)
            .map_err(|error| Error::internal(format!("stored bundle can't be read: {error}")))?;
    }
    Ok(bundle)
}

fn broken(error: &std::io::Error) -> Error {
    Error::internal(format!("bundle archive: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_come_back_as_they_were() {
        let mut bundle = Bundle::default();
        bundle.insert("build.pkr.hcl", b"source {}".to_vec(), false).unwrap();
        bundle.insert("scripts/übung.sh", b"#!/bin/sh\n".to_vec(), true).unwrap();
        bundle.insert(&format!("{}/long", "d".repeat(150)), vec![0; 2000], false).unwrap();
        bundle.insert("empty", vec![], false).unwrap();
        let packed = pack(&bundle).unwrap();
        assert_eq!(unpack(&packed).unwrap(), bundle);
        assert_eq!(pack(&bundle.clone()).unwrap(), packed);
        assert!(unpack(&packed[..700]).is_err(), "cut off");
    }
}
