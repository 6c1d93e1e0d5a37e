//! The header of everything that is kept, so that damage and other versions are told from each other.
//!
//! ```text
//! kept := "FLOTTHA" version:u8 protobuf crc32:u32 (little endian)
//! ```

use std::ops::RangeInclusive;

use prost::Message;

use crate::high_availability::StoreError;

const MAGIC: &[u8; 7] = b"FLOTTHA";

/// The versions this program reads, the last of which it writes. Version 2 has a folder for each leader that takes a job: who knows version 1 only would
/// look for the files elsewhere.
const VERSIONS: RangeInclusive<u8> = 1..=2;

/// A message with its header.
pub(super) fn seal(message: &impl Message) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(*VERSIONS.end());
    out.extend(message.encode_to_vec());
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out
}

/// The message behind the header; `what` it is says the error.
pub(super) fn open<M: Message + Default>(bytes: &[u8], what: &str) -> Result<M, StoreError> {
    let damaged = |reason: String| StoreError::Damaged { path: what.to_owned(), reason };
    let (content, crc) =
        bytes.split_last_chunk::<4>().ok_or_else(|| damaged(format!("it has {} bytes only", bytes.len())))?;
    let body =
        content.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as it should".to_owned()))?;
    let (version, body) = body.split_first().ok_or_else(|| damaged("it ends too early".to_owned()))?;
    if !VERSIONS.contains(version) {
        let (oldest, newest) = VERSIONS.into_inner();
        return Err(damaged(format!(
            "it was written in format version {version}, and this program knows versions {oldest} to {newest}: use the version of Flott that wrote it"
        )));
    }
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return Err(damaged("its checksum is wrong: it is truncated or damaged".to_owned()));
    }
    M::decode(body).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    use flott_core::ids::JobId;
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::control::{JobOutcome, JobSpec, Submission, job_outcome};
    use crate::rpc::ha::{CheckpointPointer, Commits, JobPointer};
    use crate::rpc::read_outcome;

    proptest! {
        #[test]
        fn damage_is_found_and_nothing_panics(cut in 0_usize..100, flip in 0_usize..100) {
            let pointer = JobPointer {
                name: "a job".to_owned(),
                checkpoints: vec![CheckpointPointer { id: 7, path: "/c/chk-7".to_owned() }],
                ..JobPointer::default()
            };
            let bytes = seal(&pointer);
            prop_assert_eq!(open::<JobPointer>(&bytes, "it"), Ok(pointer));
            if cut < bytes.len() {
                prop_assert!(open::<JobPointer>(&bytes[..cut], "it").is_err());
            }
            let mut flipped = bytes.clone();
            let at = flip % bytes.len();
            flipped[at] ^= 0x10;
            prop_assert!(open::<JobPointer>(&flipped, "it").is_err());
        }
    }

    fn read_as_anything(bytes: &[u8]) {
        let _ =
            (open::<JobPointer>(bytes, "it"), open::<Submission>(bytes, "it"), open::<Commits>(bytes, "it"));
        if let Ok(outcome) = open::<JobOutcome>(bytes, "it") {
            let _ = read_outcome(outcome, JobId::from_bytes([7; 16]), "a job");
        }
    }

    #[test]
    fn fuzz_ha_files_and_pointers() {
        let pointer = JobPointer {
            name: "a job".to_owned(),
            commits: "commits-1".to_owned(),
            checkpoints: vec![CheckpointPointer { id: 7, path: "/c/chk-7".to_owned() }],
            ..JobPointer::default()
        };
        let spec = JobSpec { folder: "/here".to_owned(), ..JobSpec::default() };
        let submission = Submission { spec: Some(spec), ..Submission::default() };
        let outcome = JobOutcome { kind: Some(job_outcome::Kind::NotStarted("no".to_owned())) };
        let samples = [seal(&pointer), seal(&submission), seal(&outcome)];
        let decoder = Decoder::new("what leaders keep").word(MAGIC);
        let decoder =
            samples.iter().fold(decoder, |decoder, sample| decoder.sample(&sample[..sample.len() - 4]));
        decoder.bytes(|bytes| {
            read_as_anything(bytes);
            // With a right header and checksum, and still.
            for header in [&b""[..], b"FLOTTHA\x01", b"FLOTTHA\x02"] {
                let mut sealed = [header, bytes].concat();
                sealed.extend(crc32fast::hash(&sealed).to_le_bytes());
                read_as_anything(&sealed);
            }
        });
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = seal(&JobPointer::default());
        bytes[7] = 9;
        let error = open::<JobPointer>(&bytes, "the pointer").unwrap_err().to_string();
        assert!(error.contains("format version 9") && error.contains("versions 1 to 2"), "{error}");
    }
}
