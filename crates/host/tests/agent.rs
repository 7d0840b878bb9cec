//! The agent's client against Debian's `qemu-ga`, here over a Unix socket instead of a port.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stackvm_host::agent::commands::{self, ExecStatus};
use stackvm_host::agent::{Agent, AgentError, AgentEvent, Beginning, Call};
use stackvm_machine::Instant;

/// A running `qemu-ga` and a session with it.
struct Session {
    process: Child,
    stream: UnixStream,
    agent: Agent,
    start: std::time::Instant,
}

impl Drop for Session {
    fn drop(&mut self) {
        // Its end is all that matters, and it may have come by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Session {
    fn start(folder: &Path) -> Session {
        let socket = folder.join("agent");
        let process = Command::new("qemu-ga")
            .args(["-m", "unix-listen", "-p"])
            .arg(&socket)
            .arg("-t")
            .arg(folder)
            .arg("-f")
            .arg(folder.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("qemu-ga is in Debian's package qemu-guest-agent");
        let start = std::time::Instant::now();
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) if start.elapsed() < Duration::from_secs(20) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("qemu-ga does not listen: {error}"),
            }
        };
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut session = Session { process, stream, agent: Agent::new(), start };
        session.open();
        session
    }

    fn now(&self) -> Instant {
        Instant::from_ns(self.start.elapsed().as_nanos() as u64)
    }

    /// Begins a session.
    fn open(&mut self) {
        let now = self.now();
        self.agent.opened(Beginning::Opened, now);
        loop {
            match self.event() {
                AgentEvent::Up => return,
                AgentEvent::Down => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn event(&mut self) -> AgentEvent {
        loop {
            assert!(self.start.elapsed() < Duration::from_secs(60), "no event");
            if let Some(event) = self.agent.next_event() {
                return event;
            }
            self.stream.write_all(&self.agent.take_outgoing()).unwrap();
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("qemu-ga went away"),
                Ok(count) => {
                    let now = self.now();
                    self.agent.received(&buffer[..count], now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            let now = self.now();
            self.agent.expire(now);
        }
    }

    fn call(&mut self, call: Call) -> Result<serde_json::Value, AgentError> {
        let now = self.now();
        let id = self.agent.call(call, now).unwrap();
        match self.event() {
            AgentEvent::Answered { call, result } if call == id => result,
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self, script: &str) -> ExecStatus {
        let arguments = ["-c", script].map(str::to_owned);
        let answer = self.call(commands::exec("/bin/sh", &arguments)).unwrap();
        let pid = commands::exec_pid(&answer).unwrap();
        for _ in 0..500 {
            let answer = self.call(commands::exec_status(pid)).unwrap();
            match commands::exec_status_of(&answer).unwrap() {
                ExecStatus::Running => std::thread::sleep(Duration::from_millis(10)),
                status => return status,
            }
        }
        ExecStatus::Running
    }
}

#[test]
fn debians_agent_understands_us_and_we_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::start(folder.path());
    assert_eq!(session.run("exit 0"), ExecStatus::Exited(0));
    assert_eq!(session.run("exit 3"), ExecStatus::Exited(3));
    assert_eq!(session.run("kill -9 $$"), ExecStatus::Exited(137));

    let refused = session.call(commands::exec("/nonexistent/program", &[])).unwrap_err();
    assert!(matches!(refused, AgentError::Refused { .. }), "{refused}");

    // A session that was cut off in the middle of a line, and the one after it.
    session.stream.write_all(b"{\"execute\": \"guest-in").unwrap();
    session.open();
    assert_eq!(session.run("exit 4"), ExecStatus::Exited(4));
}
