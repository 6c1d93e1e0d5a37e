//! Sinks: files, standard output, sockets, the client.

mod collect;
mod file;
mod print;
mod socket;

pub use collect::{CollectSink, decode_collected, too_much_collected};
pub use file::{Encode, FileSink, FileSinkOptions};
pub use print::PrintSink;
pub use socket::SocketSink;
