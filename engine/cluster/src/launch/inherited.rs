//! The socket a program inherits.
//!
//! The only unsafe code of the crate: a number in the environment becomes a descriptor. It is sound because the process that sets
//! the variable opens the descriptor for this one alone, the number is taken once ([`OnceLock`]), and what stands under it is
//! checked to be a socket before it is used.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};

/// The variable that holds the number.
pub(super) const VARIABLE: &str = "FLOTT_SOCKET_FD";

/// The socket to the process that started this one, the first time it is asked for.
pub(crate) fn inherited_socket() -> Option<UnixStream> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    static NUMBER: OnceLock<Option<RawFd>> = OnceLock::new();
    let number = NUMBER.get_or_init(|| std::env::var(VARIABLE).ok()?.parse().ok());
    let number = (*number).filter(|number| *number > 2)?;
    if TAKEN.swap(true, Ordering::SeqCst) {
        return None;
    }
    // SAFETY: borrowed for this call only; a number under which nothing is open gives an error, not a wrong answer.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let is_socket = rustix::net::sockopt::socket_domain(borrowed)
        .is_ok_and(|domain| domain == rustix::net::AddressFamily::UNIX);
    // What the program starts itself must not inherit it.
    if !is_socket || fcntl_setfd(borrowed, FdFlags::CLOEXEC).is_err() {
        return None;
    }
    // SAFETY: it is open, a socket that was made for this process, and nobody else takes it.
    Some(UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) }))
}
