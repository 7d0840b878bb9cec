//! The end of a process that has called what it may not: its log names the call.
//!
//! The kernel does not do the call and sends SIGSYS instead. Without a handler that is the end, with
//! no word of which call it was, and then a call that somebody forgot in the table could not be
//! found. The handler only writes and exits; the table lets nobody replace it.

#![expect(unsafe_code, reason = "a signal handler")]

use std::ffi::{c_int, c_void};
use std::io;

/// The exit code, which a shell would give for SIGSYS.
const EXIT_CODE: c_int = 128 + libc::SIGSYS;
/// Where `siginfo_t` has the call's number: after three numbers, padding and the caller's address.
const CALL_OFFSET: usize = 4 * size_of::<c_int>() + size_of::<usize>();

/// Handles SIGSYS from now on.
pub(super) fn install() -> io::Result<()> {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigsys;
    // SAFETY: zero is a value of every field of it, and the handler is one for SA_SIGINFO that only
    // makes calls that may be made in a handler.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_sigsys(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a whole siginfo_t, and for SIGSYS of a filter the number is there.
    let call = unsafe { info.cast::<u8>().add(CALL_OFFSET).cast::<c_int>().read() };
    let mut line = *b"the sandbox ends this process: it made system call ......, which its table does not allow\n";
    let digits = line.iter().position(|byte| *byte == b'.').unwrap_or(0);
    let mut left = call.unsigned_abs();
    for place in line[digits..].iter_mut().take(6).rev() {
        *place = if left == 0 { b' ' } else { b'0' + (left % 10) as u8 };
        left /= 10;
    }
    // SAFETY: the line is valid memory of that length; nothing after it runs in this process.
    unsafe {
        libc::write(2, line.as_ptr().cast(), line.len());
        libc::_exit(EXIT_CODE)
    }
}
