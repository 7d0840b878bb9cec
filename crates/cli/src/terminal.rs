//! This computer's terminal: raw mode that is given back on every way out, its size, and what the
//! guest's programs have switched on in it.
//!
//! Ways out are returning, panicking and the signals that end a program; those are handled by the
//! session, which returns and so drops the guard. After SIGKILL the shell restores its terminal.

mod modes;

use std::io::{IsTerminal, Write, stdin, stdout};
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use stackvm_host::protocol::Size;

pub(crate) use modes::Modes;

/// What the terminal was like before; `None` while it is as it was.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal in raw mode; dropping it restores the terminal.
pub(crate) struct RawTerminal {
    modes: Modes,
}

impl RawTerminal {
    /// Whether standard input and output are a terminal.
    pub(crate) fn possible() -> bool {
        stdin().is_terminal() && stdout().is_terminal()
    }

    /// Switches to raw mode: every key goes to the guest.
    pub(crate) fn enter() -> std::io::Result<RawTerminal> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let inner = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                inner(info);
            }));
        });
        raw()?;
        Ok(RawTerminal { modes: Modes::default() })
    }

    /// Notes what the guest's programs switch on, so that it can be switched off at the end.
    pub(crate) fn note(&mut self, output: &[u8]) {
        self.modes.note(output);
    }

    /// Gives the terminal back for a while (SIGTSTP).
    pub(crate) fn suspend(&mut self) {
        restore();
    }

    /// Takes it again.
    pub(crate) fn resume(&mut self) -> std::io::Result<()> {
        raw()
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let reset = self.modes.reset();
        if !reset.is_empty() {
            let _ = stdout().write_all(&reset);
            let _ = stdout().flush();
        }
        restore();
    }
}

/// The size of the terminal, if standard output or input is one.
pub(crate) fn size() -> Option<Size> {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(Size { columns: size.ws_col, rows: size.ws_row })
}

fn raw() -> std::io::Result<()> {
    let before = tcgetattr(stdin())?;
    let mut raw = before.clone();
    raw.make_raw();
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(before);
    tcsetattr(stdin(), OptionalActions::Now, &raw)?;
    Ok(())
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // Nothing better can be done about a terminal that has gone away.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}
