//! TLS secrets for those who debug with a packet capture: the NSS key log format, one line per secret.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

/// A file to which lines are appended. Opened once, readable by its owner alone when it is new.
#[derive(Clone, Debug)]
pub struct KeyLog {
    file: Arc<File>,
}

impl KeyLog {
    pub fn open(path: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(KeyLog { file: Arc::new(file) })
    }

    /// One write, so that lines of several processes do not mix. A full disk must not end a handshake: errors are ignored.
    pub(super) fn line(&self, line: &str) {
        let mut whole = String::with_capacity(line.len() + 1);
        whole.push_str(line);
        whole.push('\n');
        let _ = (&*self.file).write_all(whole.as_bytes());
    }
}
