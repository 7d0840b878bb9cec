//! Ctrl-] and the small menu behind it.

/// The key that opens the menu: Ctrl-].
pub(crate) const MENU_KEY: u8 = 0x1d;
/// Most bytes of a line that is asked for.
const LINE_BYTES_MAX: usize = 200;

/// Which things the menu offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offers {
    /// What one can do with a machine.
    Machine,
    /// What one can do with a machine that is being recorded.
    Recording,
    /// What one can do after breaking into a recording.
    Branch,
}

impl Offers {
    /// The menu's line.
    pub(crate) fn menu(self) -> &'static str {
        match self {
            Offers::Machine => {
                "[stackvm] d detach · p power off · k kill · h help · Ctrl-] send it · \
                 other keys: back"
            }
            Offers::Recording => {
                "[stackvm] m mark · c comment · f keyframe · s pause · e end · d detach · \
                 p power off · k kill · h help"
            }
            Offers::Branch => {
                "[stackvm] r return to the recording · n name this branch · m mark · c comment · \
                 q quit · h help"
            }
        }
    }

    /// The menu's help.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Offers::Machine => MACHINE_HELP,
            Offers::Recording => RECORDING_HELP,
            Offers::Branch => BRANCH_HELP,
        }
    }

    fn choose(self, byte: u8) -> Option<Choice> {
        let choice = match byte.to_ascii_lowercase() {
            b'h' | b'?' => Choice::Do(Action::Help),
            b'd' => Choice::Do(Action::Detach),
            b'p' => Choice::Do(Action::PowerOff),
            b'k' => Choice::Do(Action::Kill),
            b'm' => Choice::Ask(Line::Mark),
            b'c' => Choice::Ask(Line::Comment),
            b'f' => Choice::Do(Action::Keyframe),
            b's' => Choice::Do(Action::PauseCapture),
            b'e' => Choice::Do(Action::EndRecording),
            b'r' => Choice::Do(Action::Return),
            b'n' => Choice::Ask(Line::BranchName),
            b'q' => Choice::Do(Action::Quit),
            _ => return None,
        };
        let letters: &[u8] = match self {
            Offers::Machine => b"h?dpk",
            Offers::Recording => b"h?dpkmcfse",
            Offers::Branch => b"h?mcfrnq",
        };
        letters.contains(&byte.to_ascii_lowercase()).then_some(choice)
    }
}

const MACHINE_HELP: &str = "\
[stackvm] After Ctrl-]:
  d       detach: the machine goes on; `stackvm ls` lists it, `stackvm attach` comes back
  p       power off: ask the guest to shut down
  k       kill: switch the machine off now, as if the plug were pulled
  h, ?    this help
  Ctrl-]  send Ctrl-] to the guest
Anything else goes back to the guest.";

const RECORDING_HELP: &str = "\
[stackvm] After Ctrl-]:
  m       mark: give this instant a name, for `stackvm play --at '#name'`
  c       comment: say something about this instant
  f       keyframe: make going to this instant quick
  s       pause capture, or go on with it: what happens in between is not in the recording
  e       end the recording
  d       detach: the machine goes on, recorded; `stackvm attach` comes back
  p       power off: ask the guest to shut down
  k       kill: switch the machine off now, as if the plug were pulled
  h, ?    this help
  Ctrl-]  send Ctrl-] to the guest
Anything else goes back to the guest.";

const BRANCH_HELP: &str = "\
[stackvm] After Ctrl-]:
  r       return to the recording, where you left it; what you did stays as a branch
  n       give this branch a name
  m       mark: give this instant a name
  c       comment: say something about this instant
  f       keyframe: make going to this instant quick
  q       quit: keep the branch and leave the player
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
    /// Ask for a line of text: show what for.
    Ask(&'static str),
    /// Show what is typed of that line, or take it back.
    Echo(String),
    /// The line is complete, or nobody wants it any more.
    Asked,
    /// Leave, and let the machine run.
    Detach,
    /// Ask the guest to switch off.
    PowerOff,
    /// Switch it off.
    Kill,
    /// Give this instant a name.
    Mark(String),
    /// Say something about it.
    Comment(String),
    /// Take a keyframe.
    Keyframe,
    /// Keep nothing, or everything again.
    PauseCapture,
    /// End the recording.
    EndRecording,
    /// Back to the recording that was broken into.
    Return,
    /// Give the branch a name.
    NameBranch(String),
    /// Leave the player.
    Quit,
}

enum Choice {
    Do(Action),
    Ask(Line),
}

/// What a line of text is for.
#[derive(Clone, Copy)]
enum Line {
    Mark,
    Comment,
    BranchName,
}

impl Line {
    fn question(self) -> &'static str {
        match self {
            Line::Mark => "[stackvm] name of the mark: ",
            Line::Comment => "[stackvm] comment: ",
            Line::BranchName => "[stackvm] name of this branch: ",
        }
    }

    fn action(self, text: String) -> Action {
        match self {
            Line::Mark => Action::Mark(text),
            Line::Comment => Action::Comment(text),
            Line::BranchName => Action::NameBranch(text),
        }
    }
}

enum Mode {
    Guest,
    Menu,
    Line { line: Line, text: Vec<u8> },
}

/// Tells typing from the menu's keys.
pub(crate) struct Keys {
    offers: Offers,
    mode: Mode,
}

impl Keys {
    /// With a menu of these offers.
    pub(crate) fn new(offers: Offers) -> Keys {
        Keys { offers, mode: Mode::Guest }
    }

    /// What `bytes`, as typed, ask for, in order.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut typed = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            match &mut self.mode {
                Mode::Guest if byte != MENU_KEY => typed.push(byte),
                Mode::Guest => {
                    self.mode = Mode::Menu;
                    flush(&mut typed, &mut actions);
                    actions.push(Action::Menu);
                }
                Mode::Menu => {
                    self.mode = Mode::Guest;
                    match self.offers.choose(byte) {
                        _ if byte == MENU_KEY => typed.push(MENU_KEY),
                        Some(Choice::Do(action)) => actions.push(action),
                        Some(Choice::Ask(line)) => {
                            self.mode = Mode::Line { line, text: Vec::new() };
                            actions.push(Action::Ask(line.question()));
                        }
                        None => {}
                    }
                }
                Mode::Line { line, text } => match edit(text, byte) {
                    Edit::Shown(echo) => actions.push(Action::Echo(echo)),
                    Edit::Nothing => {}
                    Edit::Done => {
                        let text = String::from_utf8_lossy(text).trim().to_owned();
                        let action = line.action(text.clone());
                        self.mode = Mode::Guest;
                        actions.push(Action::Asked);
                        actions.extend((!text.is_empty()).then_some(action));
                    }
                    Edit::GivenUp => {
                        self.mode = Mode::Guest;
                        actions.push(Action::Asked);
                        // The rest of an arrow key, for one, is nothing for the guest.
                        if byte == 0x1b && at + 1 < bytes.len() {
                            break;
                        }
                    }
                },
            }
        }
        flush(&mut typed, &mut actions);
        actions
    }
}

enum Edit {
    Shown(String),
    Nothing,
    Done,
    GivenUp,
}

fn edit(text: &mut Vec<u8>, byte: u8) -> Edit {
    match byte {
        b'\r' | b'\n' => Edit::Done,
        0x1b | 0x03 | MENU_KEY => Edit::GivenUp,
        0x7f | 0x08 => {
            // A whole character, whose other bytes are continuations.
            while let Some(byte) = text.pop() {
                if byte & 0xc0 != 0x80 {
                    return Edit::Shown("\x08 \x08".to_owned());
                }
            }
            Edit::Nothing
        }
        0..0x20 => Edit::Nothing,
        _ if text.len() >= LINE_BYTES_MAX => Edit::Nothing,
        _ => {
            text.push(byte);
            match std::str::from_utf8(&text[text.len() - last_character(text)..]) {
                Ok(character) if character.chars().all(|c| !c.is_control()) => {
                    Edit::Shown(character.to_owned())
                }
                _ => Edit::Nothing,
            }
        }
    }
}

/// Bytes of the last character, complete or not.
fn last_character(text: &[u8]) -> usize {
    let continuations = text.iter().rev().take_while(|byte| **byte & 0xc0 == 0x80).count();
    (continuations + 1).min(text.len())
}

fn flush(typed: &mut Vec<u8>, actions: &mut Vec<Action>) {
    if !typed.is_empty() {
        actions.push(Action::Type(std::mem::take(typed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(offers: Offers, typed: &[&str], expected: &[Action]) {
        let mut keys = Keys::new(offers);
        let seen: Vec<Action> =
            typed.iter().flat_map(|piece| keys.read(piece.as_bytes())).collect();
        assert_eq!(seen, expected, "{typed:?}");
    }

    fn text(text: &str) -> Action {
        Action::Type(text.into())
    }

    #[test]
    fn the_menu_takes_one_key() {
        let check = |typed: &[&str], expected: &[Action]| check(Offers::Machine, typed, expected);
        check(&["ls\r"], &[text("ls\r")]);
        check(&["\x1dd"], &[Action::Menu, Action::Detach]);
        check(&["\x1d", "p"], &[Action::Menu, Action::PowerOff]);
        check(&["a\x1dkb"], &[text("a"), Action::Menu, Action::Kill, text("b")]);
        check(&["\x1d\x1dd"], &[Action::Menu, text("\x1dd")]);
        check(&["\x1dhd"], &[Action::Menu, Action::Help, text("d")]);
        check(&["\x1dxy"], &[Action::Menu, text("y")]);
        // Nothing is recorded, so there is nothing to mark.
        check(&["\x1dmy"], &[Action::Menu, text("y")]);
    }

    #[test]
    fn a_line_is_asked_for() {
        let echo = |text: &str| Action::Echo(text.to_owned());
        let ask = || [Action::Menu, Action::Ask("[stackvm] name of the mark: ")];
        let check = |typed: &[&str], expected: &[Action]| {
            let expected: Vec<Action> = ask().into_iter().chain(expected.iter().cloned()).collect();
            check(Offers::Recording, typed, &expected);
        };
        let back = || echo("\x08 \x08");
        let mark = |name: &str| Action::Mark(name.to_owned());
        check(&["\x1dm", "ab\rx"], &[echo("a"), echo("b"), Action::Asked, mark("ab"), text("x")]);
        check(&["\x1dma\x7f\x7fb\r"], &[echo("a"), back(), echo("b"), Action::Asked, mark("b")]);
        check(&["\x1dmé\x7fe\r"], &[echo("é"), back(), echo("e"), Action::Asked, mark("e")]);
        check(&["\x1dm", "a\x1b[C", "x"], &[echo("a"), Action::Asked, text("x")]);
        check(&["\x1dm", "\x03x"], &[Action::Asked, text("x")]);
        check(&["\x1dm \r"], &[echo(" "), Action::Asked]);
    }

    #[test]
    fn a_branch_can_be_left() {
        let check = |typed: &[&str], expected: &[Action]| check(Offers::Branch, typed, expected);
        check(&["\x1dr"], &[Action::Menu, Action::Return]);
        check(&["\x1dq"], &[Action::Menu, Action::Quit]);
        check(&["\x1dk"], &[Action::Menu]);
    }
}
