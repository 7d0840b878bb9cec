//! What the menu's choices do.

use stackvm_host::protocol::{Agent, Command, Power, RecordingAction, Stream};
use stackvm_machine::ConsoleId;

use super::keys::Action;
use super::{
    Capture, End, Menu, RecordingEnd, Session, TAG_END, TAG_NOTE, TAG_OTHER, TAG_POWER, Target,
};

impl Session {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Type(bytes) => self.typed.extend(bytes),
            Action::Menu => self.say(self.offers.menu()),
            Action::Help => self.say(self.offers.help()),
            Action::Ask(question) => self.write(&format!("\r\n{question}")),
            Action::Echo(text) => self.write(&text),
            Action::Asked => self.write("\r\n"),
            Action::Detach => self.detach(),
            Action::Kill => self.finish(End::Killed),
            Action::PowerOff => self.power_off(),
            Action::Mark(name) => self.note(RecordingAction::Mark { name }),
            Action::Comment(text) => self.note(RecordingAction::Comment { text }),
            Action::Keyframe => self.note(RecordingAction::Keyframe),
            Action::PauseCapture => self.pause_capture(),
            Action::EndRecording => self.end_recording(),
            Action::Return => self.finish(End::Returned),
            Action::Quit => self.finish(End::Quit),
            Action::NameBranch(name) => {
                if let Menu::Branch { rename, .. } = &self.menu {
                    rename(name);
                }
            }
        }
    }

    /// The recording is complete.
    pub(super) fn recorded(&mut self) {
        self.capture = Capture::Over;
        match self.menu {
            Menu::Recording { end: RecordingEnd::Leave, .. } => self.finish(End::Recorded),
            _ => self.say("[stackvm] the recording has ended; it is written when you leave"),
        }
    }

    /// Asks the guest to switch off; one that is about to have an agent is asked when it has.
    pub(super) fn power_off(&mut self) {
        let has_agent = !matches!(self.target, Target::Console(ConsoleId::Serial));
        if has_agent && self.agent == Agent::Absent {
            self.power_off_wanted = true;
            return self.say("[stackvm] asking the guest to switch off, as soon as it listens");
        }
        self.power_off_wanted = false;
        self.say("[stackvm] asking the guest to switch off");
        self.queue.push_back((TAG_POWER, Command::Power(Power::Shutdown)));
    }

    fn pause_capture(&mut self) {
        let (action, words) = match self.capture {
            Capture::On => (RecordingAction::Pause, "the recording pauses; Ctrl-] s goes on"),
            Capture::Paused => (RecordingAction::Resume, "recording again"),
            Capture::Over => return self.say("[stackvm] the recording has ended"),
        };
        self.capture = match self.capture {
            Capture::On => Capture::Paused,
            _ => Capture::On,
        };
        self.recording(TAG_OTHER, action);
        self.say(&format!("[stackvm] {words}"));
    }

    fn end_recording(&mut self) {
        if self.capture == Capture::Over {
            return self.say("[stackvm] the recording has ended");
        }
        self.recording(TAG_END, RecordingAction::End);
    }

    fn note(&mut self, action: RecordingAction) {
        if self.capture == Capture::Over {
            return self.say("[stackvm] the recording has ended");
        }
        self.recording(TAG_NOTE, action);
    }

    fn recording(&mut self, tag: u32, action: RecordingAction) {
        if let Menu::Recording { journal, .. } | Menu::Branch { journal, .. } = &self.menu {
            let journal = journal.clone();
            self.queue.push_back((tag, Command::Recording { journal, action }));
        }
    }

    fn write(&mut self, text: &str) {
        self.boot.erase();
        self.out.push_back((Stream::Stderr, text.as_bytes().to_vec()));
    }
}
