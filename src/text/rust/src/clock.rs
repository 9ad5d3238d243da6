//! strftime_now of transformers: Python's datetime.now().strftime, which is the C library's strftime in local time.

use minijinja::{Error, ErrorKind};

/// `now` in seconds since the epoch; the real time when absent.
pub fn strftime(format: &str, now: Option<i64>) -> Result<String, Error> {
    let failed = || Error::new(ErrorKind::InvalidOperation, "strftime_now: bad format or time");
    // A naive datetime has no zone: Python prints nothing for %Z and %z.
    let format = format.replace("%Z", "").replace("%z", "");
    if format.is_empty() {
        return Ok(String::new());
    }
    // A space in front tells an empty result from a failure.
    let pattern = std::ffi::CString::new(format!(" {format}")).map_err(|_| failed())?;
    let mut buffer = vec![0u8; 256 + 64 * format.len()];
    // SAFETY: every pointer is to a live local; localtime_r and strftime write at most what they are given.
    let written = unsafe {
        let seconds = now.unwrap_or_else(|| libc::time(std::ptr::null_mut())) as libc::time_t;
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&seconds, &mut parts).is_null() {
            return Err(failed());
        }
        libc::strftime(buffer.as_mut_ptr().cast(), buffer.len(), pattern.as_ptr(), &parts)
    };
    if written == 0 {
        return Err(failed());
    }
    buffer.truncate(written);
    String::from_utf8(buffer.split_off(1)).map_err(|_| failed())
}
