//! A server, its data directory, and what speaks to it: HTTP and WebSockets, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stackvm_host::machines::{Lifetime, MachineSpec, Machines, StopHow};
use stackvm_host::sandbox::Sandbox;
use stackvm_server::{ListenError, Options, Port, Running, Server};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::echo::kernel;
use super::frame::take_frame;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server with a data directory of its own.
pub(crate) struct Site {
    pub(crate) data: TempDir,
    pub(crate) runtime: Runtime,
    pub(crate) running: Option<Running>,
    pub(crate) addr: SocketAddr,
    /// The owner's browser.
    pub(crate) owner: Who,
}

/// Somebody with a browser or a program.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) addr: SocketAddr,
    /// A header that says who.
    pub(crate) key: Option<(&'static str, String)>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn options(data: &Path) -> Options {
    Options {
        data_dir: data.to_owned(),
        // Nothing is fetched in a test.
        mirror: Some("file:///nowhere".to_owned()),
        port: Port::Free,
        listen: None,
        proxies: Vec::new(),
        public_url: None,
        // Not the address of localhost, and there on every host.
        network_address: Some([127, 0, 0, 2].into()),
        sandbox: Sandbox::On,
        visit_idle: stackvm_server::VISIT_IDLE,
    }
}

impl Site {
    pub(crate) fn new() -> Site {
        let data = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let running = runtime.block_on(Server::listen(options(data.path()))).unwrap();
        let addr = running.addr;
        let nobody = Who { addr, key: None };
        let owner = nobody.enter(&json!({"token": token(&running.url)}));
        Site { data, runtime, running: Some(running), addr, owner }
    }

    pub(crate) fn nobody(&self) -> Who {
        Who { addr: self.addr, key: None }
    }

    /// Ends the server as Ctrl-C does, and starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.stop();
        let again = Options { port: Port::Exactly(self.addr.port()), ..options(self.data.path()) };
        self.running = Some(self.listen(again).unwrap());
    }

    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.shutdown());
        }
    }

    pub(crate) fn listen(&self, options: Options) -> Result<Running, ListenError> {
        self.runtime.block_on(Server::listen(options))
    }

    pub(crate) fn machines(&self) -> Machines {
        Machines::open(self.data.path()).unwrap()
    }

    /// A kept machine that is off; a program that echoes.
    pub(crate) fn machine(&self, name: &str) {
        let spec = self.spec(name);
        let folder = self.data.path().join("machines").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("machine.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        std::fs::write(folder.join("stopped"), "off").unwrap();
    }

    /// A kept machine that runs.
    pub(crate) fn running_machine(&self, name: &str) {
        self.machines().create(&self.spec(name)).unwrap();
        self.await_state(name, "running");
    }

    fn spec(&self, name: &str) -> MachineSpec {
        let lifetime = Lifetime::Named;
        let memory_bytes = Some(4 << 20);
        let source = kernel(self.data.path());
        MachineSpec { lifetime, memory_bytes, ..MachineSpec::new(name, source) }
    }

    /// Waits until the owner sees the machine in this state.
    pub(crate) fn await_state(&self, name: &str, state: &str) {
        let path = format!("/api/machines/{name}");
        await_true(|| self.owner.get(&path).json()["state"] == state);
    }

    /// Waits until a task has ended, and returns it.
    pub(crate) fn await_task(&self, begun: &Value) -> Value {
        let path = format!("/api/tasks/{}", begun["task"]["id"].as_str().unwrap());
        let mut task = Value::Null;
        await_true(|| {
            task = self.owner.get(&path).json();
            task["state"] != "running"
        });
        task
    }

    /// A link to a machine, as `POST …/shares` answers.
    pub(crate) fn share(&self, machine: &str, wish: Value) -> Value {
        let answer = self.owner.post(&format!("/api/machines/{machine}/shares"), &wish);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    /// A guest's browser that came by a link of this role.
    pub(crate) fn guest(&self, machine: &str, role: &str) -> Who {
        self.nobody().enter(&entry(&self.share(machine, json!({"role": role}))))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Labs outlive their server, but not their test.
        for machine in self.machines().list().unwrap_or_default() {
            let _ = self.machines().stop(&machine.spec.name, StopHow::Kill);
        }
    }
}

/// What a page sends that was opened by a link.
pub(crate) fn entry(created: &Value) -> Value {
    let path = created["path"].as_str().unwrap();
    let (share, secret) = path.trim_start_matches("/s/").split_once('#').unwrap();
    json!({"share": share, "secret": secret})
}

pub(crate) fn token(url: &str) -> &str {
    url.split_once('#').unwrap().1
}

/// Waits for a state.
pub(crate) fn await_true(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "it did not come to that in {PATIENCE:?}");
        // Between two questions only: the server allows a hundred a second.
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Who {
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], Some(&body.to_string()))
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, &[], Some(&body.to_string()))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], None)
    }

    /// Comes in with `POST /api/session`; the same browser as before, but with a cookie.
    pub(crate) fn enter(&self, body: &Value) -> Who {
        let answer = self.post("/api/session", body);
        assert_eq!(answer.status, 200, "{answer:?}");
        match answer.header("set-cookie") {
            None => self.clone(),
            Some(cookie) => {
                let cookie = cookie.split(';').next().unwrap().to_owned();
                Who { addr: self.addr, key: Some(("cookie", cookie)) }
            }
        }
    }

    pub(crate) fn with_bearer(&self, secret: &str) -> Who {
        Who { addr: self.addr, key: Some(("authorization", format!("Bearer {secret}"))) }
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let kind = body.map(|_| "application/json");
        self.send_as(kind, method, path, headers, body.unwrap_or_default().as_bytes())
    }

    /// Sends bytes.
    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.send_as(Some("application/octet-stream"), method, path, &[], body)
    }

    fn send_as(
        &self,
        kind: Option<&str>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let host = format!("localhost:{}", self.addr.port());
        let origin = format!("http://{host}");
        let mut all = vec![("host", host.as_str()), ("connection", "close")];
        if method != "GET" {
            all.push(("origin", &origin));
        }
        all.extend(kind.map(|kind| ("content-type", kind)));
        if let Some((name, value)) = &self.key {
            all.push((name, value));
        }
        // Those given replace those of every request.
        all.retain(|(name, _)| headers.iter().all(|(other, _)| other != name));
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        request(self.addr, method, path, &all, body)
    }

    /// Opens a WebSocket; the answer if there is none.
    pub(crate) fn socket(&self, path: &str) -> Result<Socket, Answer> {
        let mut headers = vec![
            ("host", format!("localhost:{}", self.addr.port())),
            ("origin", format!("http://localhost:{}", self.addr.port())),
        ];
        headers.extend(self.key.clone());
        Socket::open(self.addr, path, &headers)
    }

    /// The page of a machine, which has joined.
    pub(crate) fn page(&self, machine: &str, bearer: Option<&str>) -> Socket {
        let mut socket = self.socket(&format!("/api/machines/{machine}/live")).unwrap();
        let mut join = json!({"type": "join", "version": stackvm_server::protocol::VERSION, "page": "00112233445566778899aabbccddeeff"});
        if let Some(bearer) = bearer {
            join["bearer"] = bearer.into();
        }
        socket.say(&join);
        socket
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The answer that `bytes` are, once they are all of it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Answer> {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = |(name, value): (&str, &str)| (name.to_lowercase(), value.to_owned());
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": ")).map(lower);
        let answer = Answer { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() };
        let length = answer.header("content-length").map_or(0, |text| text.parse().unwrap());
        (answer.body.len() >= length).then_some(answer)
    }
}

pub(crate) fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Of a body that is too large, the end is never read.
    let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(body));
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(answer) = Answer::parse(&bytes) {
            return answer;
        }
        let count = read(&mut stream, &mut buffer);
        let count = count.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(count > 0, "half an answer: {}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// Reads what is there. With a limit on its time the system's call ends at any signal, as at that of
/// a lab that has ended.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// A page's end of a WebSocket.
pub(crate) struct Socket {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Socket {
    pub(crate) fn open(
        addr: SocketAddr,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Result<Socket, Answer> {
        let mut text = format!(
            "GET {path} HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        );
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        let mut socket = Socket { stream, bytes: Vec::new() };
        loop {
            if let Some(answer) = Answer::parse(&socket.bytes) {
                if answer.status != 101 {
                    return Err(answer);
                }
                socket.bytes = answer.body;
                return Ok(socket);
            }
            assert!(socket.fill(), "half an answer");
        }
    }

    pub(crate) fn say(&mut self, message: &Value) {
        let payload = message.to_string().into_bytes();
        let length = u16::try_from(payload.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        // A mask of zeros leaves the payload as it is.
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next message in JSON that is like this; `None` if the connection ends before.
    pub(crate) fn find(&mut self, mut is_it: impl FnMut(&Value) -> bool) -> Option<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < end, "no such message in {PATIENCE:?}");
            match take_frame(&mut self.bytes) {
                Some((1, payload)) => {
                    let message: Value = serde_json::from_slice(&payload).unwrap();
                    if is_it(&message) {
                        return Some(message);
                    }
                }
                Some((8, _)) => return None,
                Some(_) => {}
                None if !self.fill() => return None,
                None => {}
            }
        }
    }

    /// The next message of this type.
    pub(crate) fn find_type(&mut self, kind: &str) -> Option<Value> {
        self.find(|message| message["type"] == kind)
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let Ok(count @ 1..) = read(&mut self.stream, &mut buffer) else { return false };
        self.bytes.extend_from_slice(&buffer[..count]);
        true
    }
}
