//! Panics of user code: caught where the user's code is called, with message and backtrace.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static WATCHED: RefCell<Watch> = const { RefCell::new(Watch { depth: 0, backtrace: None }) };
}

struct Watch {
    depth: u32,
    backtrace: Option<String>,
}

/// A panic that was caught.
pub(crate) struct CaughtPanic {
    pub(crate) message: String,
    pub(crate) backtrace: Option<String>,
}

/// Makes panics of user code leave their backtrace with the task instead of on standard error. Other threads' panics are
/// reported as before.
pub fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let taken = WATCHED.with(|watch| {
                let Ok(mut watch) = watch.try_borrow_mut() else { return false };
                if watch.depth == 0 {
                    return false;
                }
                let place = info.location().map(|at| format!("at {at}\n")).unwrap_or_default();
                watch.backtrace = Some(format!("{place}{}", Backtrace::force_capture()));
                true
            });
            if !taken {
                before(info);
            }
        }));
    });
}

/// Calls `f` and catches its panic.
pub(crate) fn caught<R>(f: impl FnOnce() -> R) -> Result<R, CaughtPanic> {
    WATCHED.with(|watch| watch.borrow_mut().depth += 1);
    // What `f` was working on is closed and dropped after a panic, never used again.
    let result = catch_unwind(AssertUnwindSafe(f));
    let backtrace = WATCHED.with(|watch| {
        let mut watch = watch.borrow_mut();
        watch.depth -= 1;
        watch.backtrace.take()
    });
    result.map_err(|payload| CaughtPanic { message: format!("panicked: {}", text(&*payload)), backtrace })
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}
