//! Stamps: the milliseconds in which records came by, one a line, in a file for each thread.
//!
//! Nothing is held back, so what a process has stamped outlives it.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use flott::runtime::slot::wall_clock_millis;

thread_local! {
    /// This thread's file, and its last stamp.
    static STAMPS: RefCell<Option<(File, i64)>> = const { RefCell::new(None) };
}

/// What lets a record by and stamps it, with files in this folder.
pub fn stamping<T>(folder: String) -> impl Fn(T) -> T + Clone + Send + Sync + 'static {
    move |record| {
        stamp(&folder);
        record
    }
}

fn stamp(folder: &str) {
    STAMPS.with_borrow_mut(|stamps| {
        let (file, last) = stamps.get_or_insert_with(|| {
            fs::create_dir_all(folder).unwrap();
            let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
            (File::create(Path::new(folder).join(name.replace(['(', ')'], ""))).unwrap(), 0)
        });
        let now = wall_clock_millis();
        if now != *last {
            *last = now;
            writeln!(file, "{now}").unwrap();
        }
    });
}
