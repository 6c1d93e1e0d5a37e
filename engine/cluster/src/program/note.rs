//! The note that tells a Flott program from other executables, and what it speaks, without running it.
//!
//! ```text
//! note    := name_length:u32  content_length:u32  kind:u32  "flott\0" and two zeros  content
//! content := control_oldest:u32  control_newest:u32  state_oldest:u32  state_newest:u32
//!            engine version and zeros: 32 bytes  target and zeros: 64 bytes
//! ```

use std::fmt;

/// The engine's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The versions of the control protocol, between command, JobManager, TaskManager and program, that this engine speaks.
pub const CONTROL_PROTOCOL: Versions = Versions { oldest: 1, newest: 1 };

/// The versions of checkpoints that this engine reads; it writes the newest.
pub const STATE_FORMAT: Versions =
    Versions { oldest: crate::checkpoint::VERSION as u32, newest: crate::checkpoint::VERSION as u32 };

/// The ELF section of the note.
pub const NOTE_SECTION: &str = ".note.flott";

const VERSION_BYTES: usize = 32;
const TARGET_BYTES: usize = 64;
const CONTENT_BYTES: usize = 16 + VERSION_BYTES + TARGET_BYTES;
const NAME: [u8; 8] = *b"flott\0\0\0";

/// A range of versions of something that two sides must have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Versions {
    /// The first.
    pub oldest: u32,
    /// The last.
    pub newest: u32,
}

impl Versions {
    /// Whether there is a version that both have.
    pub const fn meets(self, other: Self) -> bool {
        self.oldest <= other.newest && other.oldest <= self.newest
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            return write!(f, "{}", self.newest);
        }
        write!(f, "{} to {}", self.oldest, self.newest)
    }
}

/// What a program says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramNote {
    /// The engine it was built with.
    pub engine_version: String,
    /// What it speaks with whoever starts it.
    pub control_protocol: Versions,
    /// The checkpoints it reads.
    pub state_format: Versions,
    /// The target triple it was built for.
    pub target: String,
}

impl ProgramNote {
    /// Reads the content of the note's section; none if it is no such note.
    pub fn read(section: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*section.get(at..)?.first_chunk()?));
        let versions = |at: usize| Some(Versions { oldest: word(at)?, newest: word(at + 4)? });
        let text = |at: usize, length: usize| {
            let text = section.get(at..at + length)?.split(|byte| *byte == 0).next()?;
            String::from_utf8(text.to_vec()).ok().filter(|text| !text.is_empty())
        };
        let content = 12 + NAME.len();
        if word(0)? != 6 || word(4)? as usize != CONTENT_BYTES || section.get(12..content)? != NAME {
            return None;
        }
        Some(Self {
            control_protocol: versions(content)?,
            state_format: versions(content + 8)?,
            engine_version: text(content + 16, VERSION_BYTES)?,
            target: text(content + 16 + VERSION_BYTES, TARGET_BYTES)?,
        })
    }
}

#[repr(C, align(4))]
struct Note {
    name_length: u32,
    content_length: u32,
    kind: u32,
    name: [u8; 8],
    control_protocol: Versions,
    state_format: Versions,
    engine_version: [u8; VERSION_BYTES],
    target: [u8; TARGET_BYTES],
}

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let (mut bytes, mut at) = ([0; N], 0);
    while at < text.len() {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}

// SAFETY: nothing but the note goes into its section, and nothing reads it as anything else.
#[used]
#[unsafe(link_section = ".note.flott")]
static NOTE: Note = Note {
    name_length: 6,
    content_length: CONTENT_BYTES as u32,
    kind: 1,
    name: NAME,
    control_protocol: CONTROL_PROTOCOL,
    state_format: STATE_FORMAT,
    engine_version: padded(VERSION),
    target: padded(env!("FLOTT_TARGET")),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_meet_if_they_have_one_in_common() {
        let versions = |oldest, newest| Versions { oldest, newest };
        assert!(versions(1, 3).meets(versions(3, 5)) && versions(3, 5).meets(versions(1, 3)));
        assert!(versions(1, 9).meets(versions(4, 4)));
        assert!(!versions(1, 2).meets(versions(3, 4)) && !versions(3, 4).meets(versions(1, 2)));
        assert_eq!(
            (versions(1, 1).to_string(), versions(1, 3).to_string()),
            ("1".to_owned(), "1 to 3".to_owned())
        );
    }
}
