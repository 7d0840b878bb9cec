//! What clients ask for, and what becomes of their commands.

use crate::agent::AgentError;
use crate::exec::ExecKey;
use crate::guest::GuestEvent;
use crate::machines::{JOURNAL_FOLDER, Lifetime};
use crate::protocol::{AfterSave, Agent, Command, DATA_BYTES_MAX, Event, ExecId, ExecSpec, Info};
use crate::protocol::{HISTORY_LINES_MAX, Power, Reply, Request, StopReason, Tag};

use stackvm_machine::{ConsoleId, Input, Instant};

use super::clients::ClientId;
use super::typing::Key;
use super::{ExecOwner, Process, log, unix_ns};
use crate::sandbox::Sandbox;

/// The number of a control that no client waits for.
const OWN_CONTROL: u64 = 0;

/// A request that cannot be done, and why.
pub(super) type Refusal = String;

impl Process {
    /// Does what a client has asked for; the reason if the machine is to stop.
    pub(super) fn take_requests(&mut self, id: ClientId) -> Option<StopReason> {
        let requests = self.client(id)?.receive();
        self.do_requests(id, requests)
    }

    /// Does what clients have asked for while a fresh fork was not itself yet.
    pub(super) fn take_held_requests(&mut self) -> Option<StopReason> {
        if self.fresh.is_some() {
            return None;
        }
        let waiting = self.clients.iter_mut().filter(|client| !client.held.is_empty());
        let held: Vec<_> =
            waiting.map(|client| (client.id, std::mem::take(&mut client.held))).collect();
        held.into_iter().find_map(|(id, requests)| self.do_requests(id, requests))
    }

    fn do_requests(&mut self, id: ClientId, requests: Vec<Request>) -> Option<StopReason> {
        for request in requests {
            // A command in a guest that still has its original's name and keys would speak for the
            // original. What a client asks for after one keeps its place behind it.
            let is_exec = matches!(request.command, Command::Exec { .. });
            if self.fresh.is_some()
                && let Some(client) = self.client(id)
                && (is_exec || !client.held.is_empty())
            {
                client.hold(request);
                continue;
            }
            let Request { tag, command } = request;
            match self.command(id, tag, command) {
                Ok(None) => {}
                Ok(Some(reason)) => return Some(reason),
                Err(message) => self.reply(id, tag, Reply::Failed { message }),
            }
        }
        None
    }

    pub(super) fn guest_event(&mut self, event: GuestEvent) {
        match event {
            GuestEvent::Up => self.agent_turned(Agent::Up),
            GuestEvent::Down => self.agent_turned(Agent::Absent),
            GuestEvent::Started(key) => {
                if let Some(ExecOwner { client, tag, .. }) = self.execs.get(&key).copied() {
                    self.reply(client, tag, Reply::Done);
                }
            }
            GuestEvent::Failed { key, error } => {
                if let Some(ExecOwner { client, tag, .. }) = self.forget_exec(key) {
                    self.reply(client, tag, Reply::Failed { message: error.to_string() });
                }
            }
            GuestEvent::Output { key, stream, bytes } => {
                for part in bytes.chunks(DATA_BYTES_MAX) {
                    let bytes = part.to_vec();
                    self.tell_owner(key, |exec| Event::ExecOutput { exec, stream, bytes });
                }
            }
            GuestEvent::Credit { key, bytes } => self.credit(key, bytes),
            GuestEvent::Exited { key, code } => {
                self.tell_owner(key, |exec| Event::ExecExit { exec, code });
                self.forget_exec(key);
            }
            GuestEvent::Lost { key, error } => {
                let message = error.to_string();
                self.tell_owner(key, |exec| Event::ExecLost { exec, message });
                self.forget_exec(key);
            }
            GuestEvent::Controlled { token, result } => {
                if let Some((client, tag)) = self.controls.remove(&token) {
                    let failed = |error: AgentError| Reply::Failed { message: error.to_string() };
                    self.reply(client, tag, result.map_or_else(failed, |()| Reply::Done));
                } else if let Err(error) = result {
                    log(&format!("could not set the guest's clock: {error}"));
                }
            }
        }
    }

    /// Makes sure that the machine can go on later from where it is.
    fn save(&mut self, id: ClientId, tag: Tag, after: AfterSave) -> Result<(), Refusal> {
        if !self.spec.lifetime.is_kept() {
            let name = &self.spec.name;
            return Err(format!("machine {name:?} is not kept; only those with --name are saved"));
        }
        if after == AfterSave::Continue {
            let (own, token) = (self.folder.join(JOURNAL_FOLDER), self.control(id, tag));
            let asked = match self.lab.recorders().get(&own) {
                Some(recorder) => recorder.take_keyframe(token),
                None => Err("the machine is not recorded".into()),
            };
            if asked.is_err() {
                self.controls.remove(&token);
            }
            return asked;
        }
        let now = self.lab.now();
        self.lab.recorders().sync(now)?;
        self.reply(id, tag, Reply::Done);
        Ok(())
    }

    /// Does one thing; the error is the message of a [`Reply::Failed`].
    fn command(
        &mut self,
        id: ClientId,
        tag: Tag,
        command: Command,
    ) -> Result<Option<StopReason>, Refusal> {
        let harms_nobody = matches!(
            command,
            Command::Info
                | Command::Digest
                | Command::Look { .. }
                | Command::Fork { .. }
                | Command::Power(Power::Kill)
        );
        if self.spec.lifetime == Lifetime::Held && !harms_nobody {
            return Err("the machine is held for others to go on from; it never runs".into());
        }
        match command {
            Command::Attach { .. } | Command::Look { .. } | Command::Text { .. } => {
                return self.look_command(id, tag, command);
            }
            Command::Detach { console } => {
                self.client(id).map(|client| client.attached.remove(&console));
                self.reply(id, tag, Reply::Done);
            }
            Command::Type { console, bytes } => {
                let actor = self.actor(id);
                self.type_at(console, &actor, bytes)?;
            }
            Command::TypeOnce { console, bytes, name, source, number } => {
                let key = Key { source, number };
                self.type_once(id, tag, console, &name, key, bytes)?;
            }
            Command::Applied { source } => self.applied(id, tag, source)?,
            Command::Resize { console, size } => {
                self.check_console(console)?;
                let (columns, rows) = (size.columns, size.rows);
                let actor = self.actor(id);
                self.lab.put(&actor, Input::Resize { console, columns, rows });
            }
            Command::Exec { .. }
            | Command::ExecInput { .. }
            | Command::ExecEof { .. }
            | Command::ExecResize { .. }
            | Command::ExecSignal { .. } => self.exec_command(id, tag, command)?,
            Command::Power(Power::Shutdown) => self.shutdown(id, tag)?,
            Command::Power(power) => {
                let stop = self.power(id, power)?;
                self.reply(id, tag, Reply::Done);
                return Ok(stop);
            }
            Command::Info => {
                let info = self.info();
                self.reply(id, tag, Reply::Info(Box::new(info)));
            }
            Command::Digest => {
                let digest = self.lab.machine.digest().to_string();
                let instant_ticks = self.lab.now().ticks();
                self.reply(id, tag, Reply::Digest { instant_ticks, digest });
            }
            Command::Save { after } => {
                self.save(id, tag, after)?;
                if after == AfterSave::Stop {
                    return Ok(Some(StopReason::Saved));
                }
            }
            Command::Name { name } => self.name_client(id, tag, &name)?,
            Command::Record { journal } => self.record(id, tag, &journal)?,
            Command::Recording { journal, action } => self.recording(id, tag, &journal, action)?,
            Command::Fork { folder, kind } => self.ask_fork(id, tag, folder, kind)?,
            Command::SetTime { unix_ns: time } => {
                let (token, now) = (self.control(id, tag), self.lab.now());
                let time = time.unwrap_or_else(unix_ns);
                let asked = self.lab.guest().set_time(time, token, now);
                asked.map_err(|error| self.refused(token, &error))?;
            }
        }
        Ok(None)
    }

    /// The part of [`Process::command`] that is about a client's commands in the guest.
    fn exec_command(&mut self, id: ClientId, tag: Tag, command: Command) -> Result<(), Refusal> {
        match command {
            Command::Exec { exec, spec } => self.exec(id, tag, exec, &spec)?,
            Command::ExecInput { exec, bytes } => self.exec_input(id, exec, bytes)?,
            Command::ExecEof { exec } => {
                if let Some(key) = self.key(id, exec) {
                    self.lab.guest().exec_eof(key);
                }
            }
            Command::ExecResize { exec, size } => {
                if let Some(key) = self.key(id, exec) {
                    self.lab.guest().exec_resize(key, size);
                }
            }
            Command::ExecSignal { exec, signal } => {
                let now = self.lab.now();
                if let Some(key) = self.key(id, exec) {
                    let sent = self.lab.guest().exec_signal(key, signal, now);
                    sent.map_err(|error| error.to_string())?;
                }
            }
            _ => unreachable!("{command:?} is not about a command in the guest"),
        }
        Ok(())
    }

    /// The part of [`Process::command`] that is about what terminals show.
    fn look_command(
        &mut self,
        id: ClientId,
        tag: Tag,
        command: Command,
    ) -> Result<Option<StopReason>, Refusal> {
        // Whoever hears of a terminal from here on has heard all that it shows.
        if let Some(reason) = self.hand_out() {
            return Ok(Some(reason));
        }
        let (Command::Attach { console }
        | Command::Look { console, .. }
        | Command::Text { console }) = command
        else {
            unreachable!("{command:?} is not about what a terminal shows")
        };
        let now = self.lab.now();
        let Some(terminal) = self.lab.console(console) else {
            return Err(format!("this machine has no terminal {console:?}"));
        };
        let reply = match command {
            Command::Look { since_ticks, lines_max, .. } => {
                let since = Instant::from_ticks(since_ticks);
                Reply::Picture(terminal.picture(since, lines_max, now))
            }
            Command::Text { .. } => {
                let (lines, cursor) = terminal.text();
                Reply::Text { lines, cursor }
            }
            _ => Reply::Attached {
                picture: terminal.picture(Instant::ZERO, HISTORY_LINES_MAX, now),
                size: terminal.size(),
            },
        };
        if let Some(client) = self.client(id) {
            client.tell_lost(console);
            client.reply(tag, reply);
            if matches!(command, Command::Attach { .. }) {
                client.attached.insert(console);
            }
        }
        Ok(None)
    }

    fn exec(
        &mut self,
        id: ClientId,
        tag: Tag,
        exec: ExecId,
        spec: &ExecSpec,
    ) -> Result<(), Refusal> {
        if self.key(id, exec).is_some() {
            return Err(format!("command {} runs already on this connection", exec.0));
        }
        let now = self.lab.now();
        let key = self.lab.guest().exec(spec, now).map_err(|error| error.to_string())?;
        self.execs.insert(key, ExecOwner { client: id, exec, tag });
        if let Some(client) = self.client(id) {
            client.add_exec(exec, key);
        }
        Ok(())
    }

    fn exec_input(&mut self, id: ClientId, exec: ExecId, bytes: Vec<u8>) -> Result<(), Refusal> {
        check_data(&bytes)?;
        let Some(client) = self.client(id) else { return Ok(()) };
        // It may have ended while this was on its way.
        let Some(running) = client.execs.get_mut(&exec) else { return Ok(()) };
        if bytes.len() > running.credit {
            client.give_up();
            return Ok(());
        }
        running.credit -= bytes.len();
        let key = running.key;
        self.lab.guest().exec_input(key, bytes);
        Ok(())
    }

    fn shutdown(&mut self, id: ClientId, tag: Tag) -> Result<(), Refusal> {
        let (token, now) = (self.control(id, tag), self.lab.now());
        let asked = self.lab.guest().shutdown(token, now);
        asked.map_err(|error| {
            let error = self.refused(token, &error);
            format!("cannot ask the guest to switch off: {error}")
        })
    }

    /// A number for something that `id` waits for.
    pub(super) fn control(&mut self, id: ClientId, tag: Tag) -> u64 {
        self.control_count += 1;
        assert_ne!(self.control_count, OWN_CONTROL);
        self.controls.insert(self.control_count, (id, tag));
        self.control_count
    }

    fn refused(&mut self, token: u64, error: &AgentError) -> Refusal {
        self.controls.remove(&token);
        error.to_string()
    }

    fn agent_turned(&mut self, agent: Agent) {
        self.tell_all(&Event::Agent(agent));
        if agent == Agent::Up && std::mem::take(&mut self.clock_is_late) {
            let now = self.lab.now();
            if let Err(error) = self.lab.guest().set_time(unix_ns(), OWN_CONTROL, now) {
                log(&format!("could not set the guest's clock: {error}"));
            }
        }
    }

    fn info(&mut self) -> Info {
        let config = self.lab.config();
        Info {
            name: self.spec.name.clone(),
            image: self.spec.image_label(),
            state: self.state.clone(),
            memory_bytes: config.memory_bytes,
            harts: config.harts,
            agent: self.agent(),
            instant_ticks: self.lab.now().ticks(),
            instructions: self.lab.machine().retired(),
            rate_ticks: self.lab.rate_ticks(),
            uptime_ms: self.wall_ns() / 1_000_000,
            disk_bytes_written: self.lab.machine().disk_written_bytes(),
            execs: self.execs.len() as u32,
            clients: self.clients.len() as u32,
            pid: std::process::id(),
            sandbox: if self.annex.is_some() { Sandbox::On } else { Sandbox::Off },
            annex: self.annex_name(),
        }
    }

    fn annex_name(&self) -> Option<String> {
        let name = self.annex.as_deref().and_then(std::path::Path::file_name);
        name.map(|name| name.to_string_lossy().into_owned())
    }

    /// Refuses a path at which nothing can be begun now that the process is locked in.
    pub(super) fn check_place(&self, path: &std::path::Path) -> Result<(), Refusal> {
        let place = path.display();
        if !path.is_absolute() {
            return Err(format!("{place} is not an absolute path"));
        }
        match &self.annex {
            Some(annex) if path.parent() != Some(annex) => Err(format!(
                "{place} is outside of the machine's sandbox; choose a place in {}",
                annex.display()
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn reply(&mut self, id: ClientId, tag: Tag, reply: Reply) {
        if let Some(client) = self.client(id) {
            client.reply(tag, reply);
        }
    }

    fn key(&mut self, id: ClientId, exec: ExecId) -> Option<ExecKey> {
        self.client(id)?.execs.get(&exec).map(|running| running.key)
    }

    fn tell_owner(&mut self, key: ExecKey, event: impl FnOnce(ExecId) -> Event) {
        if let Some(ExecOwner { client, exec, .. }) = self.execs.get(&key).copied()
            && let Some(client) = self.client(client)
        {
            client.send(&event(exec));
        }
    }

    fn credit(&mut self, key: ExecKey, bytes: usize) {
        let Some(ExecOwner { client, exec, .. }) = self.execs.get(&key).copied() else { return };
        let Some(client) = self.client(client) else { return };
        if let Some(running) = client.execs.get_mut(&exec) {
            running.credit += bytes;
            client.send(&Event::ExecCredit { exec, bytes: bytes as u32 });
        }
    }

    fn forget_exec(&mut self, key: ExecKey) -> Option<ExecOwner> {
        let owner = self.execs.remove(&key)?;
        if let Some(client) = self.client(owner.client) {
            client.execs.remove(&owner.exec);
        }
        Some(owner)
    }

    pub(super) fn check_console(&self, console: ConsoleId) -> Result<(), Refusal> {
        match self.lab.console(console) {
            Some(_) => Ok(()),
            None => Err(format!("this machine has no terminal {console:?}")),
        }
    }
}

pub(super) fn check_data(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > DATA_BYTES_MAX {
        let count = bytes.len();
        return Err(format!("{count} bytes in one message: at most {DATA_BYTES_MAX} are possible"));
    }
    Ok(())
}
