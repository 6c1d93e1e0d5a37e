//! The note that tells a Flott program from other executables, without running it.
//!
//! ```text
//! note := name_length:u32  content_length:u32  kind:u32  "flott\0" and two zeros  version and zeros
//! ```

/// The engine's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether programs, commands and JobManagers of that version speak the same protocol as this one: its major and minor number are
/// the same.
pub fn is_compatible(version: &str) -> bool {
    let line = |version: &str| version.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    line(version) == line(VERSION)
}

/// The ELF section of the note.
pub const NOTE_SECTION: &str = ".note.flott";

const VERSION_BYTES: usize = 32;

#[repr(C, align(4))]
struct Note {
    name_length: u32,
    content_length: u32,
    kind: u32,
    name: [u8; 8],
    version: [u8; VERSION_BYTES],
}

const fn padded(text: &str) -> [u8; VERSION_BYTES] {
    let (mut bytes, mut at) = ([0; VERSION_BYTES], 0);
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
    content_length: VERSION_BYTES as u32,
    kind: 1,
    name: *b"flott\0\0\0",
    version: padded(VERSION),
};
