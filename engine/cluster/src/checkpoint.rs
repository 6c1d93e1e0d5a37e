//! Completed checkpoints and their metadata files.
//!
//! A checkpoint is complete when its metadata file has its name: `DIR/JOB/chk-ID/_metadata`.
//!
//! ```text
//! metadata := "FLOTTCK" version:u8 checkpoint:u64 job:16 bytes plan:u64 count:varint subtask* crc32:u32
//! subtask  := vertex:u32 index:u32 ended:u8 handles* operators*
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use flott_core::codec::{read_length, take_array, write_varint};
use flott_core::ids::{CheckpointId, JobId, OperatorId, SubtaskId, VertexId};
use flott_core::{CodecError, Data};
use flott_fs::{FsError, FsPath};
use flott_plan::{OperatorKey, Variant};
use flott_runtime::snapshot::{OperatorSnapshot, StateHandle, SubtaskSnapshot};
use flott_runtime::task::FinalHandles;

const MAGIC: &[u8; 7] = b"FLOTTCK";
pub(crate) const VERSION: u8 = 2;

/// What a checkpoint holds of one subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubtaskCheckpoint {
    /// It was running.
    Running(SubtaskSnapshot),
    /// It had ended, and wants these committed.
    Ended(FinalHandles),
}

/// A checkpoint whose every part is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedCheckpoint {
    /// Which.
    pub id: CheckpointId,
    /// Of which job.
    pub job: JobId,
    /// What it holds.
    pub subtasks: BTreeMap<SubtaskId, SubtaskCheckpoint>,
    /// How many key groups each operator had: its state is divided by them.
    pub max_parallelism: BTreeMap<OperatorKey, u32>,
}

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file.
    #[error(transparent)]
    File(#[from] FsError),
    /// What is in it.
    #[error("{path} is no complete checkpoint: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        reason: CodecError,
    },
}

fn write_key(key: &OperatorKey, out: &mut Vec<u8>) {
    out.extend_from_slice(key.id.as_bytes());
    out.push(key.variant as u8);
}

fn read_key(input: &mut &[u8]) -> Result<OperatorKey, CodecError> {
    let id = OperatorId::from_bytes(take_array(input, "operator id")?);
    let code = u8::decode(input)?;
    let variant = Variant::ALL.iter().find(|variant| **variant as u8 == code);
    let variant = variant.ok_or_else(|| CodecError::invalid("checkpoint", format!("no variant {code}")))?;
    Ok(OperatorKey { id, variant: *variant })
}

fn write_handle(handle: &StateHandle, out: &mut Vec<u8>) {
    match handle {
        StateHandle::Inline(bytes) => {
            out.push(0);
            bytes.encode(out);
        }
        StateHandle::File { path, offset, length } => {
            out.push(1);
            path.to_string().encode(out);
            offset.encode(out);
            length.encode(out);
        }
    }
}

fn read_handle(input: &mut &[u8]) -> Result<StateHandle, CodecError> {
    match u8::decode(input)? {
        0 => Bytes::decode(input).map(StateHandle::Inline),
        1 => {
            let path = String::decode(input)?;
            let path =
                path.parse().map_err(|error: FsError| CodecError::invalid("path", error.to_string()))?;
            Ok(StateHandle::File { path, offset: u64::decode(input)?, length: u64::decode(input)? })
        }
        other => Err(CodecError::invalid("checkpoint", format!("no state handle of kind {other}"))),
    }
}

impl CompletedCheckpoint {
    /// The content of the metadata file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        self.id.0.encode(&mut out);
        out.extend_from_slice(self.job.as_bytes());
        write_varint(self.subtasks.len() as u64, &mut out);
        for (subtask, checkpoint) in &self.subtasks {
            subtask.vertex.0.encode(&mut out);
            subtask.index.encode(&mut out);
            match checkpoint {
                SubtaskCheckpoint::Running(snapshot) => {
                    out.push(0);
                    write_varint(snapshot.operators.len() as u64, &mut out);
                    for operator in &snapshot.operators {
                        write_key(&operator.operator, &mut out);
                        write_handle(&operator.state, &mut out);
                    }
                }
                SubtaskCheckpoint::Ended(handles) => {
                    out.push(1);
                    write_varint(handles.len() as u64, &mut out);
                    for (key, handles) in handles {
                        write_key(key, &mut out);
                        handles.encode(&mut out);
                    }
                }
            }
        }
        write_varint(self.max_parallelism.len() as u64, &mut out);
        for (key, max_parallelism) in &self.max_parallelism {
            write_key(key, &mut out);
            max_parallelism.encode(&mut out);
        }
        crc32fast::hash(&out).encode(&mut out);
        out
    }

    /// Reads the content of a metadata file.
    ///
    /// # Errors
    /// [`CodecError`] if it is truncated, damaged, or of another version. Never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let invalid = |reason: String| CodecError::invalid("checkpoint", reason);
        let Some((content, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(invalid(format!("it has {} bytes only", bytes.len())));
        };
        let input = &mut &content[..];
        if take_array::<7>(input, "checkpoint")? != *MAGIC {
            return Err(invalid("it does not begin like one".to_owned()));
        }
        let version = u8::decode(input)?;
        if version != VERSION {
            return Err(invalid(format!(
                "it has format version {version}, this program reads version {VERSION}"
            )));
        }
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
            return Err(invalid("its checksum is wrong: it is truncated or damaged".to_owned()));
        }
        let id = CheckpointId(u64::decode(input)?);
        let job = JobId::from_bytes(take_array(input, "job id")?);
        let mut subtasks = BTreeMap::new();
        for _ in 0..read_length(input, 10, "checkpoint")? {
            let vertex = VertexId(u32::decode(input)?);
            let subtask = SubtaskId { vertex, index: u32::decode(input)? };
            let ended = u8::decode(input)? == 1;
            let parts = read_length(input, 18, "checkpoint")?;
            let checkpoint = if ended {
                let handles = (0..parts).map(|_| Ok((read_key(input)?, Vec::decode(input)?)));
                SubtaskCheckpoint::Ended(handles.collect::<Result<_, CodecError>>()?)
            } else {
                let operators = (0..parts)
                    .map(|_| Ok(OperatorSnapshot { operator: read_key(input)?, state: read_handle(input)? }));
                SubtaskCheckpoint::Running(SubtaskSnapshot {
                    operators: operators.collect::<Result<_, CodecError>>()?,
                })
            };
            subtasks.insert(subtask, checkpoint);
        }
        let operators = read_length(input, 21, "checkpoint")?;
        let max_parallelism = (0..operators).map(|_| Ok((read_key(input)?, u32::decode(input)?)));
        let max_parallelism = max_parallelism.collect::<Result<_, CodecError>>()?;
        if !input.is_empty() {
            return Err(invalid(format!("{} bytes too many", input.len())));
        }
        Ok(Self { id, job, subtasks, max_parallelism })
    }
}

/// The checkpoints of one job: the one type that knows their paths.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    directory: FsPath,
}

impl CheckpointStore {
    /// The checkpoints in a job's directory.
    pub fn new(directory: FsPath) -> Self {
        Self { directory }
    }

    /// The folder with all of them.
    pub fn directory(&self) -> &FsPath {
        &self.directory
    }

    /// The folder of a checkpoint.
    pub fn folder(&self, id: CheckpointId) -> FsPath {
        self.directory.join(&format!("chk-{id}"))
    }

    /// Writes the metadata: from then on the checkpoint is complete. Blocks.
    ///
    /// # Errors
    /// [`FsError`] that names the file.
    pub fn complete(&self, checkpoint: &CompletedCheckpoint) -> Result<(), FsError> {
        let folder = self.folder(checkpoint.id);
        let fs = flott_fs::for_path(&folder)?;
        fs.create_dirs(&folder)?;
        fs.write_atomically(&folder.join("_metadata"), &checkpoint.encode())
    }

    /// Deletes a checkpoint. Blocks.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    pub fn delete(&self, id: CheckpointId) -> Result<(), FsError> {
        let folder = self.folder(id);
        flott_fs::for_path(&folder)?.delete_dir(&folder)
    }

    /// Deletes what is left of checkpoints that were given up: all but `kept`, up to the id `last`. Blocks.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    pub fn delete_others(&self, kept: &BTreeSet<CheckpointId>, last: CheckpointId) -> Result<(), FsError> {
        let fs = flott_fs::for_path(&self.directory)?;
        if !fs.exists(&self.directory)? {
            return Ok(());
        }
        for entry in fs.list(&self.directory)? {
            let id = entry.path.name().strip_prefix("chk-").and_then(|id| id.parse().ok()).map(CheckpointId);
            if id.is_some_and(|id| id <= last && !kept.contains(&id)) {
                fs.delete_dir(&entry.path)?;
            }
        }
        Ok(())
    }

    /// Deletes the job's directory with all checkpoints, also what is left of those that were given up. Blocks.
    ///
    /// # Errors
    /// [`FsError`] that names the folder.
    pub fn delete_all(&self) -> Result<(), FsError> {
        flott_fs::for_path(&self.directory)?.delete_dir(&self.directory)
    }
}

/// Reads a checkpoint, given its folder or its metadata file. Blocks.
///
/// # Errors
/// [`CheckpointError`] that names the file.
pub fn read_checkpoint(path: &FsPath) -> Result<CompletedCheckpoint, CheckpointError> {
    let file = if path.name() == "_metadata" { path.clone() } else { path.join("_metadata") };
    let bytes = flott_fs::for_path(&file)?.read(&file)?;
    CompletedCheckpoint::decode(&bytes)
        .map_err(|reason| CheckpointError::Damaged { path: file.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    use super::*;

    fn checkpoint() -> CompletedCheckpoint {
        let key = OperatorKey::variant(OperatorId::from_uid("sum"), Variant::Default);
        let operators = vec![
            OperatorSnapshot { operator: key, state: StateHandle::Inline(Bytes::from_static(b"abc")) },
            OperatorSnapshot {
                operator: OperatorKey::variant(key.id, Variant::Enumerator),
                state: StateHandle::File { path: "/c/x".parse().unwrap(), offset: 7, length: 9 },
            },
        ];
        let subtask = |vertex, index| SubtaskId { vertex: VertexId(vertex), index };
        CompletedCheckpoint {
            id: CheckpointId(3),
            job: JobId::from_bytes([7; 16]),
            subtasks: BTreeMap::from([
                (
                    subtask(0, 0),
                    SubtaskCheckpoint::Ended(vec![(key, vec![Bytes::from_static(b"part-1"), Bytes::new()])]),
                ),
                (subtask(1, 1), SubtaskCheckpoint::Running(SubtaskSnapshot { operators })),
            ]),
            max_parallelism: BTreeMap::from([(key, 128)]),
        }
    }

    proptest! {
        #[test]
        fn damage_is_found_and_nothing_panics(cut in 0_usize..200, flip in 0_usize..200) {
            let bytes = checkpoint().encode();
            prop_assert_eq!(CompletedCheckpoint::decode(&bytes), Ok(checkpoint()));
            if cut < bytes.len() {
                prop_assert!(CompletedCheckpoint::decode(&bytes[..cut]).is_err());
            }
            let mut flipped = bytes.clone();
            let at = flip % bytes.len();
            flipped[at] ^= 0x10;
            prop_assert!(CompletedCheckpoint::decode(&flipped).is_err());
        }
    }

    #[test]
    fn fuzz_state_checkpoints() {
        let bytes = checkpoint().encode();
        Decoder::new("metadata of checkpoints").sample(&bytes[..bytes.len() - 4]).bytes(|bytes| {
            let _ = CompletedCheckpoint::decode(bytes);
            // With a right checksum, and still.
            let checked = [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat();
            if let Ok(read) = CompletedCheckpoint::decode(&checked) {
                assert_eq!(CompletedCheckpoint::decode(&read.encode()), Ok(read));
            }
        });
    }

    #[test]
    fn a_checkpoint_is_there_once_its_metadata_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(FsPath::local(folder.path()).join("job"));
        let written = checkpoint();
        assert!(read_checkpoint(&store.folder(written.id)).is_err());
        store.complete(&written).unwrap();
        assert_eq!(read_checkpoint(&store.folder(written.id)).unwrap(), written);
        store.delete(written.id).unwrap();
        store.delete_all().unwrap();
        assert!(!folder.path().join("job").exists());
    }
}
