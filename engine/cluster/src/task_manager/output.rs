//! What a worker writes to its standard streams: into its job's files, with its last words remembered.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// What is remembered, in bytes.
const LAST_WORDS: usize = 4096;

/// What is read at a time.
const PIECE_BYTES: usize = 16 << 10;

/// The last that a worker wrote to standard error.
#[derive(Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<u8>>>);

impl LastWords {
    fn add(&self, bytes: &[u8]) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.extend(&bytes[bytes.len().saturating_sub(LAST_WORDS)..]);
        let surplus = last.len().saturating_sub(LAST_WORDS);
        last.drain(..surplus);
    }

    /// The last whole lines.
    pub(super) fn text(&self) -> String {
        let last: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        let text = String::from_utf8_lossy(&last);
        let whole = if last.len() < LAST_WORDS {
            &text
        } else {
            text.split_once('\n').map_or(&*text, |(_, rest)| rest)
        };
        whole.trim_end().to_owned()
    }
}

/// Copies a stream to its end. What cannot be written is read all the same, so that the worker does not wait.
pub(super) fn copy(mut from: impl Read, mut to: impl Write, last: Option<&LastWords>) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut failed = false;
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if let Some(last) = last {
            last.add(&piece[..count]);
        }
        if let Err(error) = to.write_all(&piece[..count]).and_then(|()| to.flush())
            && !std::mem::replace(&mut failed, true)
        {
            tracing::warn!(%error, "the output of a worker cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_remembered_whole() {
        let last = LastWords::default();
        let lines: String = (0..2000).map(|number| format!("line {number}\n")).collect();
        let mut copied = Vec::new();
        copy(lines.as_bytes(), &mut copied, Some(&last));
        assert_eq!(copied, lines.as_bytes());
        let text = last.text();
        assert!(text.len() < LAST_WORDS && lines.trim_end().ends_with(&text));
        assert!(text.starts_with("line ") && text.ends_with("line 1999"));

        let last = LastWords::default();
        copy(&b"short\n"[..], io::sink(), Some(&last));
        assert_eq!(last.text(), "short");
    }
}
