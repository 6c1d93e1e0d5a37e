//! A plain HTTP client, and a proxy that does to requests what YARN's does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::Value;

use crate::support::DEADLINE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request over a connection of its own. Status 0: the server hung up.
pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    // A server that refuses early does not read everything.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Answer { status: 0, head: String::new(), body: answer };
    };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer[end + 4..].to_vec();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Answer { status, head, body: if chunked { unchunked(&body) } else { body } }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..line]).unwrap().trim(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[line + 2..line + 2 + length]);
        body = &body[line + 4 + length..];
    }
}

/// What YARN's proxy passes on of a request's headers.
const PASSED: [&str; 6] =
    ["accept", "accept-encoding", "accept-language", "accept-charset", "content-type", "user-agent"];

/// A proxy for `/proxy/application_1_1/`; it serves until the process ends. It knows GET and PUT, drops what is not in its list of
/// headers, reads a body line by line as text, and passes that on without line ends. Its log: the addresses it was asked for.
pub struct YarnProxy {
    pub address: String,
    log: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

pub const PREFIX: &str = "/proxy/application_1_1/";

impl YarnProxy {
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("localhost:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (target, written) = (target.to_owned(), std::sync::Arc::clone(&log));
        std::thread::Builder::new()
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    pass_on(stream, &target, &written);
                }
            })
            .unwrap();
        Self { address, log }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }
}

fn pass_on(mut stream: TcpStream, target: &str, log: &std::sync::Mutex<Vec<String>>) {
    let (mut read, mut piece) = (Vec::new(), [0; 65_536]);
    let (head, body) = loop {
        let count = stream.read(&mut piece).unwrap_or(0);
        read.extend_from_slice(&piece[..count]);
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            if count == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
        if read.len() >= end + 4 + length.unwrap_or(0_usize) || count == 0 {
            break (head, String::from_utf8_lossy(&read[end + 4..]).into_owned());
        }
    };
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    log.lock().unwrap().push(format!("{method} {path}"));
    let behind = path.strip_prefix(PREFIX).filter(|_| matches!(method, "GET" | "PUT"));
    let Some(behind) = behind else {
        let _ = stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let headers: Vec<(&str, &str)> = head.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
    let passed: Vec<(&str, &str)> = headers
        .into_iter()
        .filter(|(name, _)| PASSED.contains(&name.to_ascii_lowercase().as_str()))
        .collect();
    let body: String = body.lines().collect();
    let answer = request(target, method, &format!("/{behind}"), &passed, body.as_bytes());
    let kept = answer.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("transfer-encoding"));
    let kept = kept.filter(|line| !line.to_ascii_lowercase().starts_with("content-length"));
    let mut head: String = kept.map(|line| format!("{line}\r\n")).collect();
    head.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&answer.body);
}
