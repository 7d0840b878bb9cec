//! How a lab ends, and what it leaves behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant as WallInstant;

use super::clients::Client;
use super::confine::leave_annex;
use super::{FAREWELL, Process, log};
use crate::lab::Actor;
use crate::machines::{JOURNAL_FOLDER, Left, Lifetime, SOCKET_FILE, STOPPED_FILE};
use crate::protocol::{State, StopReason};
use crate::recorder::{Last, Which};

impl Process {
    /// SIGTERM and the like: a named machine goes on later from where it is.
    pub(super) fn ended_by_signal(&mut self) -> StopReason {
        match self.spec.lifetime {
            Lifetime::Ephemeral | Lifetime::Held => StopReason::Killed,
            Lifetime::Named | Lifetime::Frozen => StopReason::Saved,
        }
    }

    pub(super) fn finish(mut self, reason: StopReason) -> ExitCode {
        self.net = None;
        // What else the guest said goes out first.
        self.hand_out();
        let reason = match self.keep(&reason) {
            Ok(()) => reason,
            Err(message) => StopReason::Failed { message },
        };
        if let StopReason::Failed { message } = &reason {
            log(message);
        }
        self.answer_recordings();
        self.answer_typed();
        self.set_state(State::Stopped(reason.clone()));
        let end = WallInstant::now() + FAREWELL;
        while WallInstant::now() < end && self.clients.iter().any(Client::is_waiting) {
            self.clients.iter_mut().for_each(Client::flush);
            self.poll(Some(10_000_000));
        }
        // The folder's end is what others see: nothing may be written to it after this. Clients
        // hear of the lab's end only then, so that they need not look for the folder's.
        let _ = fs::remove_file(self.folder.join(SOCKET_FILE));
        if !self.spec.lifetime.is_kept()
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            log(&format!("could not remove {}: {error}", self.folder.display()));
        }
        if let Some(annex) = &self.annex {
            leave_annex(annex, &self.folder);
        }
        drop(self.clients);
        match reason {
            StopReason::Failed { .. } => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }
    }

    /// Ends the recordings, and keeps what must outlive the machine.
    fn keep(&mut self, reason: &StopReason) -> Result<(), String> {
        let own = self.folder.join(JOURNAL_FOLDER);
        self.lab.end_recordings(Which::AllBut(&own), Last::Entry)?;
        let left = match reason {
            StopReason::PowerOff { .. } | StopReason::Killed => Left::Off,
            StopReason::Saved => Left::Saved,
            // The journal says where it was.
            StopReason::Failed { .. } => return self.lab.end_recordings(Which::All, Last::Entry),
        };
        if !self.spec.lifetime.is_kept() {
            return Ok(());
        }
        if left == Left::Off {
            // What was in RAM is of no more use; switched on anew there is least of it to write.
            self.lab.reset(&Actor::Host);
        }
        self.lab.end_recordings(Which::All, Last::Keyframe)?;
        let write = || -> io::Result<()> {
            let mut file = File::create(self.folder.join(STOPPED_FILE))?;
            file.write_all(left.word().as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| format!("could not note that the machine has stopped: {error}"))
    }
}
