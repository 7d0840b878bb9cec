//! Ctrl-] and the small menu behind it.

/// The key that opens the menu: Ctrl-].
pub(crate) const MENU_KEY: u8 = 0x1d;

/// The menu's line.
pub(crate) const MENU: &str =
    "[stackvm] d detach · p power off · k kill · h help · Ctrl-] send it · other keys: back";

/// The menu's help.
pub(crate) const HELP: &str = "\
[stackvm] After Ctrl-]:
  d       detach: the machine goes on; `stackvm ls` lists it, `stackvm attach` comes back
  p       power off: ask the guest to shut down
  k       kill: switch the machine off now, as if the plug were pulled
  h, ?    this help
  Ctrl-]  send Ctrl-] to the guest
Anything else goes back to the guest.";

/// What typing means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// For the guest.
    Type(Vec<u8>),
    /// Show the menu.
    Menu,
    /// Show the help.
    Help,
    /// Leave, and let the machine run.
    Detach,
    /// Ask the guest to switch off.
    PowerOff,
    /// Switch it off.
    Kill,
}

/// Tells typing from the menu's keys.
#[derive(Default)]
pub(crate) struct Keys {
    menu_open: bool,
}

impl Keys {
    /// What `bytes`, as typed, ask for, in order.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut typed = Vec::new();
        for &byte in bytes {
            if !self.menu_open && byte != MENU_KEY {
                typed.push(byte);
                continue;
            }
            if !self.menu_open {
                self.menu_open = true;
                flush(&mut typed, &mut actions);
                actions.push(Action::Menu);
                continue;
            }
            self.menu_open = false;
            match byte {
                MENU_KEY => typed.push(MENU_KEY),
                b'd' | b'D' => actions.push(Action::Detach),
                b'p' | b'P' => actions.push(Action::PowerOff),
                b'k' | b'K' => actions.push(Action::Kill),
                b'h' | b'H' | b'?' => actions.push(Action::Help),
                _ => {}
            }
        }
        flush(&mut typed, &mut actions);
        actions
    }
}

fn flush(typed: &mut Vec<u8>, actions: &mut Vec<Action>) {
    if !typed.is_empty() {
        actions.push(Action::Type(std::mem::take(typed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &[&str], expected: &[Action]) {
        let mut keys = Keys::default();
        let seen: Vec<Action> =
            typed.iter().flat_map(|piece| keys.read(piece.as_bytes())).collect();
        assert_eq!(seen, expected, "{typed:?}");
    }

    #[test]
    fn the_menu_takes_one_key() {
        let text = |text: &str| Action::Type(text.into());
        check(&["ls\r"], &[text("ls\r")]);
        check(&["\x1dd"], &[Action::Menu, Action::Detach]);
        check(&["\x1d", "p"], &[Action::Menu, Action::PowerOff]);
        check(&["a\x1dkb"], &[text("a"), Action::Menu, Action::Kill, text("b")]);
        check(&["\x1d\x1dd"], &[Action::Menu, text("\x1dd")]);
        check(&["\x1dhd"], &[Action::Menu, Action::Help, text("d")]);
        check(&["\x1dxy"], &[Action::Menu, text("y")]);
    }
}
