//! What clients ask of recordings.

use std::path::Path;

use stackvm_timeline::limits::{NAME_BYTES_MAX, TEXT_BYTES_MAX};
use stackvm_timeline::note::Words;

use super::clients::ClientId;
use super::requests::Refusal;
use super::{Process, make};
use crate::lab::Actor;
use crate::machines::{JOURNAL_FOLDER, Source};
use crate::protocol::{RecordingAction, Reply, Tag};
use crate::recorder::{Recorder, header, trouble};

impl Process {
    /// Tells those who wait what has become of recordings.
    pub(super) fn answer_recordings(&mut self) {
        for answer in self.lab.recorders().take_answers() {
            if let Some((client, tag)) = self.controls.remove(&answer.token) {
                let reply = match answer.result {
                    Ok(()) => Reply::Done,
                    Err(message) => Reply::Failed { message },
                };
                self.reply(client, tag, reply);
            }
        }
    }

    /// Who types on a connection.
    pub(super) fn actor(&mut self, id: ClientId) -> Actor {
        self.client(id).map_or(Actor::Host, |client| client.actor.clone())
    }

    pub(super) fn name_client(
        &mut self,
        id: ClientId,
        tag: Tag,
        name: &str,
    ) -> Result<(), Refusal> {
        check_actor(name)?;
        if let Some(client) = self.client(id) {
            client.actor = Actor::Named(name.into());
        }
        self.reply(id, tag, Reply::Done);
        Ok(())
    }

    /// Records the machine from now on.
    pub(super) fn record(&mut self, id: ClientId, tag: Tag, journal: &Path) -> Result<(), Refusal> {
        let place = journal.display();
        self.check_place(journal)?;
        if journal.symlink_metadata().is_ok() {
            return Err(format!("{place} is there already"));
        }
        if self.lab.recorders().get(journal).is_some() {
            return Err(format!("{place} is being recorded already"));
        }
        if self.lab.waits_for_recording() {
            return Err("the machine waits for space on the disk".into());
        }
        if let Source::Recording { journal } = &self.spec.source {
            let place = journal.display();
            return Err(format!("this machine is recorded already: it goes on in {place}"));
        }
        let header = header(&self.spec, &self.data, self.lab.config());
        let header = header.map_err(|error| error.to_string())?;
        let token = self.control(id, tag);
        let owner = make::owner(&self.spec);
        self.lab.record(Recorder::begin(journal, &owner, header, Some(token)));
        let wall = self.wall_ns();
        // Its first keyframe is of this instant.
        self.lab.tend(wall);
        Ok(())
    }

    /// Does something with a recording.
    pub(super) fn recording(
        &mut self,
        id: ClientId,
        tag: Tag,
        journal: &Path,
        action: RecordingAction,
    ) -> Result<(), Refusal> {
        let own = self.folder.join(JOURNAL_FOLDER);
        let ends = matches!(
            action,
            RecordingAction::Pause | RecordingAction::Resume | RecordingAction::End
        );
        if journal == own && ends {
            return Err("a named machine is always recorded in its own journal".into());
        }
        let (actor, now, token) = (self.actor(id), self.lab.now(), self.control(id, tag));
        let place = journal.display();
        let result = match self.lab.recorders().get(journal) {
            None => Err(format!("this machine is not recorded in {place}")),
            Some(recorder) => match action {
                RecordingAction::Mark { name } => check_text("a name", &name, NAME_BYTES_MAX)
                    .and_then(|()| {
                        let noted = recorder.note(now, actor.name(), Words::Mark(name));
                        noted.map_err(|error| trouble(&error)).map(|()| true)
                    }),
                RecordingAction::Comment { text } => check_text("a comment", &text, TEXT_BYTES_MAX)
                    .and_then(|()| {
                        let noted = recorder.note(now, actor.name(), Words::Comment(text));
                        noted.map_err(|error| trouble(&error)).map(|()| true)
                    }),
                RecordingAction::Pause => recorder.pause(now).map(|()| true),
                RecordingAction::Flush => {
                    recorder.flush().map_err(|error| trouble(&error)).map(|()| true)
                }
                RecordingAction::Keyframe => recorder.take_keyframe(token).map(|()| false),
                RecordingAction::Resume => recorder.resume(token).map(|()| false),
                RecordingAction::End => recorder.end(token).map(|()| false),
            },
        };
        match result {
            // Answered when it is done.
            Ok(false) => {}
            Ok(true) => {
                self.controls.remove(&token);
                self.reply(id, tag, Reply::Done);
            }
            Err(problem) => {
                self.controls.remove(&token);
                return Err(problem);
            }
        }
        // What happens from now on belongs to what was asked.
        let wall = self.wall_ns();
        self.lab.tend(wall);
        Ok(())
    }
}

/// Checks the name of somebody who types: recordings take no other.
pub(super) fn check_actor(name: &str) -> Result<(), Refusal> {
    check_text("a name", name, NAME_BYTES_MAX)?;
    match name.chars().any(char::is_control) {
        true => Err(format!("the name {name:?} has control characters")),
        false => Ok(()),
    }
}

fn check_text(what: &str, text: &str, bytes_max: usize) -> Result<(), Refusal> {
    let bytes = text.len();
    if bytes == 0 || bytes > bytes_max {
        return Err(format!("{what} of {bytes} bytes: from 1 to {bytes_max} are possible"));
    }
    Ok(())
}
