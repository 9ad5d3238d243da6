//! What crosses the C border: owned byte and id buffers, error codes, and the guard that turns a panic into an error.
//! `abi.h` is the C side of every type here; keep both in step.

use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

/// Bytes owned by this library until `umbel_bytes_free`.
#[repr(C)]
pub struct Bytes {
    pub data: *mut u8,
    pub size: usize,
    pub capacity: usize,
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Bytes { data: bytes.as_mut_ptr(), size: bytes.len(), capacity: bytes.capacity() }
    }
}

impl From<String> for Bytes {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

/// Token ids with byte ranges in the input, or plain byte ranges (`id` unused); freed with `umbel_spans_free`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub id: i64,
    pub begin: usize,
    pub end: usize,
}

#[repr(C)]
pub struct Spans {
    pub data: *mut Span,
    pub size: usize,
    pub capacity: usize,
}

impl From<Vec<Span>> for Spans {
    fn from(spans: Vec<Span>) -> Self {
        let mut spans = std::mem::ManuallyDrop::new(spans);
        Spans { data: spans.as_mut_ptr(), size: spans.len(), capacity: spans.capacity() }
    }
}

pub const OK: i32 = 0;
pub const INVALID: i32 = 1;
pub const UNSUPPORTED: i32 = 2;
pub const INTERNAL: i32 = 3;

/// Why a call failed: a code of the list above and a sentence for people.
#[derive(Debug)]
pub struct Failure {
    pub code: i32,
    pub message: String,
}

impl Failure {
    pub fn invalid(message: impl Into<String>) -> Self {
        Failure { code: INVALID, message: message.into() }
    }
}

thread_local! {
    /// How many `quietly` calls this thread is in: their panics are reported as values, not printed.
    static QUIET: Cell<u32> = const { Cell::new(0) };
}

/// Runs `body`; a panic in it becomes its message.
pub fn quietly<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.with(Cell::get) == 0 {
                print(info);
            }
        }));
    });
    QUIET.with(|depth| depth.set(depth.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(body));
    QUIET.with(|depth| depth.set(depth.get() - 1));
    result.map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        words.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_else(|| "panic".into())
    })
}

/// Runs one ABI entry. Errors and panics land in `error` (when not null) and become the return code.
///
/// # Safety
/// `error` is null or points to writable memory for one `Bytes`.
pub unsafe fn guard(error: *mut Bytes, body: impl FnOnce() -> Result<(), Failure>) -> i32 {
    let failure = match quietly(body) {
        Ok(Ok(())) => return OK,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure { code: INTERNAL, message: format!("text library: {panic}") },
    };
    if !error.is_null() {
        error.write(failure.message.into());
    }
    failure.code
}

/// A borrowed argument of the caller; null means empty.
///
/// # Safety
/// `data` is null or points to `size` readable items that outlive the call.
pub unsafe fn items<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if data.is_null() || size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// A borrowed UTF-8 argument; anything else is an error that names `what`.
///
/// # Safety
/// As `items`.
pub unsafe fn text<'a>(data: *const u8, size: usize, what: &str) -> Result<&'a str, Failure> {
    std::str::from_utf8(items(data, size))
        .map_err(|error| Failure::invalid(format!("{what} is not valid UTF-8 at byte {}", error.valid_up_to())))
}

/// # Safety
/// `bytes` came from this library and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn umbel_bytes_free(bytes: Bytes) {
    if !bytes.data.is_null() {
        drop(Vec::from_raw_parts(bytes.data, bytes.size, bytes.capacity));
    }
}

/// # Safety
/// `spans` came from this library and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn umbel_spans_free(spans: Spans) {
    if !spans.data.is_null() {
        drop(Vec::from_raw_parts(spans.data, spans.size, spans.capacity));
    }
}
