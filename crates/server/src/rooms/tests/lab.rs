//! A lab that plays a part: it speaks the real protocol on a machine's real socket and holds the
//! machine's lock, but there is no guest behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use stackvm_host::machines::{FirmwareSpec, Lifetime, MachineSpec, Source};
use stackvm_host::protocol::{
    self as lab, Agent, Command, Decoder, Event, Hello, Info, Picture, Reply, Request, Size,
    SourceId, State,
};
use stackvm_host::sandbox::Sandbox;
use stackvm_machine::ConsoleId;

/// The lab's terminals.
pub(super) const CONSOLES: [ConsoleId; 3] =
    [ConsoleId::Hvc(0), ConsoleId::Hvc(1), ConsoleId::Serial];
/// The instant that it always says it has, in nanoseconds.
pub(super) const INSTANT_NS: u64 = 83_500_000_000;

/// Something typed that was new to the lab.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Typed {
    pub(super) source: SourceId,
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

/// What the lab knows, and has been asked.
#[derive(Default)]
pub(super) struct Known {
    pub(super) typed: Vec<Typed>,
    pub(super) looks: Vec<(ConsoleId, u64, u32)>,
    pub(super) resizes: Vec<(u16, u16)>,
    pub(super) text: Vec<String>,
    pub(super) texts: usize,
    /// After so many keys it applies one and ends every connection instead of answering.
    pub(super) hang_up_every: Option<usize>,
    last: BTreeMap<SourceId, u64>,
    written: BTreeMap<ConsoleId, u64>,
    size: Option<Size>,
    state: Option<State>,
    clients: Vec<Client>,
    /// Numbers the clients; never used twice.
    clients_count: u64,
}

struct Client {
    id: u64,
    stream: UnixStream,
    attached: BTreeSet<ConsoleId>,
}

/// A lab that runs until it is dropped.
pub(super) struct TestLab {
    folder: PathBuf,
    known: Arc<Mutex<Known>>,
    _lock: File,
}

/// Makes the folder of a machine that is off.
pub(super) fn make_machine(data: &Path, name: &str) {
    let folder = data.join("machines").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let source = Source::Files {
        kernel: Some("/kernel".into()),
        initrd: None,
        append: String::new(),
        firmware: FirmwareSpec::Auto,
    };
    let mut spec = MachineSpec::new(name, source);
    spec.lifetime = Lifetime::Named;
    std::fs::write(folder.join("machine.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
}

impl TestLab {
    /// Runs a machine.
    pub(super) fn start(data: &Path, name: &str) -> TestLab {
        let folder = data.join("machines").join(name);
        let lock = File::options().create(true).append(true).open(folder.join("lock")).unwrap();
        lock.try_lock().expect("nobody runs this machine");
        let _ = std::fs::remove_file(folder.join("control.sock"));
        let listener = UnixListener::bind(folder.join("control.sock")).unwrap();
        let known = Arc::new(Mutex::new(Known::default()));
        let (serving, machine) = (known.clone(), name.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), known, name) = (stream, serving.clone(), machine.clone()) else {
                    return;
                };
                std::thread::spawn(move || serve(stream, &known, &name));
            }
        });
        TestLab { folder, known, _lock: lock }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Its first terminal writes something.
    pub(super) fn write(&self, bytes: &[u8]) {
        let mut known = self.known();
        *known.written.entry(CONSOLES[0]).or_default() += bytes.len() as u64;
        known.tell_attached(
            CONSOLES[0],
            &Event::Console { console: CONSOLES[0], bytes: bytes.to_vec() },
        );
    }

    /// Somebody at the command line gives its first terminal a size.
    pub(super) fn resize(&self, columns: u16, rows: u16) {
        let size = Size { columns, rows };
        let mut known = self.known();
        known.size = Some(size);
        known.tell_attached(CONSOLES[0], &Event::Resized { console: CONSOLES[0], size });
    }

    /// Somebody at the command line types at its first terminal.
    pub(super) fn typed_elsewhere(&self, name: &str) {
        let event = Event::Typed { console: CONSOLES[0], name: name.to_owned() };
        self.known().tell_attached(CONSOLES[0], &event);
    }

    pub(super) fn set_state(&self, state: State) {
        let mut known = self.known();
        known.state = Some(state.clone());
        known.tell_all(&Event::State(state));
    }

    /// All its connections end.
    pub(super) fn hang_up(&self) {
        self.known().hang_up();
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.folder.join("control.sock"));
        self.hang_up();
    }
}

impl Known {
    fn hang_up(&mut self) {
        for client in self.clients.drain(..) {
            let _ = client.stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn tell_all(&mut self, event: &Event) {
        self.clients.retain_mut(|client| send(&mut client.stream, event));
    }

    fn tell_attached(&mut self, console: ConsoleId, event: &Event) {
        self.clients.retain_mut(|client| {
            !client.attached.contains(&console) || send(&mut client.stream, event)
        });
    }
}

fn send(stream: &mut UnixStream, event: &Event) -> bool {
    let mut frame = Vec::new();
    lab::encode(event, &mut frame).unwrap();
    stream.write_all(&frame).is_ok()
}

fn serve(mut stream: UnixStream, shared: &Mutex<Known>, name: &str) {
    let id = {
        let mut known = shared.lock().unwrap();
        let hello = Hello {
            version: lab::VERSION,
            name: name.to_owned(),
            state: known.state.clone().unwrap_or(State::Running),
            agent: Agent::Up,
            consoles: CONSOLES.to_vec(),
        };
        let mut writer = stream.try_clone().unwrap();
        writer.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        if !send(&mut writer, &Event::Hello(hello)) {
            return;
        }
        known.clients_count += 1;
        let id = known.clients_count;
        known.clients.push(Client { id, stream: writer, attached: BTreeSet::new() });
        id
    };
    let (mut decoder, mut buffer) = (Decoder::new(), vec![0; 65536]);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        decoder.extend(&buffer[..count]);
        while let Some(Request { tag, command }) = decoder.next_message().unwrap() {
            let mut known = shared.lock().unwrap();
            let Some(reply) = answer(&mut known, id, command, name) else { continue };
            let client = known.clients.iter_mut().find(|it| it.id == id);
            if client.is_none_or(|it| !send(&mut it.stream, &Event::Reply { tag, reply })) {
                return;
            }
        }
    }
    shared.lock().unwrap().clients.retain(|client| client.id != id);
}

fn answer(known: &mut Known, client: u64, command: Command, name: &str) -> Option<Reply> {
    let size = known.size.unwrap_or(Size { columns: 80, rows: 24 });
    let picture = |screen: Vec<u8>| Picture { size, history: Vec::new(), screen, instant_ticks: 0 };
    Some(match command {
        Command::Attach { console } => {
            let client = known.clients.iter_mut().find(|it| it.id == client)?;
            client.attached.insert(console);
            Reply::Attached { picture: picture(Vec::new()), size: known.size }
        }
        Command::Detach { console } => {
            let client = known.clients.iter_mut().find(|it| it.id == client)?;
            client.attached.remove(&console);
            Reply::Done
        }
        // The picture says how much was written before it was taken.
        Command::Look { console, since_ticks, lines_max } => {
            known.looks.push((console, since_ticks, lines_max));
            let written = known.written.get(&console).copied().unwrap_or(0);
            Reply::Picture(picture(written.to_string().into_bytes()))
        }
        Command::Text { .. } => {
            known.texts += 1;
            Reply::Text { lines: known.text.clone(), cursor: None }
        }
        Command::TypeOnce { bytes, source, number, .. } => {
            let last = known.last.entry(source).or_default();
            if number > *last {
                *last = number;
                known.typed.push(Typed { source, number, bytes });
                let count = known.typed.len();
                if known.hang_up_every.is_some_and(|every| count.is_multiple_of(every)) {
                    known.hang_up();
                    return None;
                }
            }
            Reply::Done
        }
        Command::Applied { source } => {
            Reply::Applied { number: known.last.get(&source).copied().unwrap_or(0) }
        }
        Command::Resize { console, size } => {
            known.resizes.push((size.columns, size.rows));
            known.size = Some(size);
            known.tell_attached(console, &Event::Resized { console, size });
            return None;
        }
        Command::Info => Reply::Info(Box::new(info(name))),
        other => Reply::Failed { message: format!("no {other:?} here") },
    })
}

fn info(name: &str) -> Info {
    Info {
        name: name.to_owned(),
        image: String::new(),
        state: State::Running,
        agent: Agent::Up,
        instant_ticks: INSTANT_NS * 16,
        instructions: 0,
        memory_bytes: 0,
        harts: 1,
        rate_ticks: 16,
        uptime_ms: 0,
        disk_bytes_written: 0,
        execs: 0,
        clients: 0,
        pid: 0,
        sandbox: Sandbox::On,
        annex: None,
    }
}
