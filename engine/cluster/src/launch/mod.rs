//! How a program is started by the `flott` command or a TaskManager, and what both say to each other.
//!
//! The program inherits a socket; `FLOTT_SOCKET_FD` in its environment tells which descriptor it is. Everything else comes over
//! that socket: arguments, configuration, for a worker the job and the secret. When the other end closes, a worker ends.

mod inherited;
mod launcher;
mod socket;

pub(crate) use inherited::inherited_socket;
pub use launcher::{Launch, Launched, launch};
pub use socket::{LaunchError, LaunchSocket};
