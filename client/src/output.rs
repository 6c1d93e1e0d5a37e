//! Standard output, whose reader may leave early.

use std::io::{self, Write};

/// Writes a text to standard output. That its reader has seen enough (`flott list | head -1`) is no error.
///
/// # Errors
/// What else keeps it from being written, such as a full disk.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
