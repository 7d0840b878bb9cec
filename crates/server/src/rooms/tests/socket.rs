//! A page's end of a WebSocket, and a server that lets every page in as it says it is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Query, State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::frame::take_frame;
use super::{Joining, Rooms, grant_of};
use crate::protocol::{ClientMessage, InputNumber, ServerMessage};

/// What a page gets.
#[derive(Debug)]
pub(super) enum Got {
    Message(ServerMessage),
    Terminal,
    Closed,
}

/// The server of a test; its rooms can be exchanged, as by a restart.
#[derive(Clone)]
pub(super) struct TestServer {
    pub(super) addr: SocketAddr,
    pub(super) rooms: Arc<Mutex<Option<Arc<Rooms>>>>,
}

#[derive(Deserialize)]
struct Who {
    who: u8,
}

impl TestServer {
    pub(super) async fn start(rooms: Arc<Rooms>) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = TestServer { addr, rooms: Arc::new(Mutex::new(Some(rooms))) };
        let router = Router::new().route("/live", get(live)).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }
}

async fn live(
    State(server): State<TestServer>,
    Query(Who { who }): Query<Who>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async move |mut socket: WebSocket| {
        let Some(Ok(Message::Text(text))) = socket.recv().await else { return };
        let Ok(ClientMessage::Join { page, run, seen, chat, .. }) = serde_json::from_str(&text)
        else {
            return;
        };
        let rooms = server.rooms.lock().unwrap().clone();
        if let Some(rooms) = rooms {
            rooms.serve(socket, Joining { page, run, seen, chat }, grant_of(who)).await;
        }
    })
}

/// A page.
pub(super) struct TestPage {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl TestPage {
    /// Opens the socket of person `who` and joins as page `page`.
    pub(super) async fn open(addr: SocketAddr, who: u8, page: &str) -> TestPage {
        TestPage::try_open(addr, who, page).await.expect("the server is there")
    }

    /// The same, unless the server is gone.
    pub(super) async fn try_open(addr: SocketAddr, who: u8, page: &str) -> Option<TestPage> {
        let mut stream = TcpStream::connect(addr).await.ok()?;
        stream.set_nodelay(true).unwrap();
        let hello = format!(
            "GET /live?who={who} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(hello.as_bytes()).await.ok()?;
        let mut socket = TestPage { stream, bytes: Vec::new() };
        let end = loop {
            if let Some(end) = socket.bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                break end;
            }
            socket.fill().await.then_some(())?;
        };
        socket.bytes.drain(..end + 4);
        let join = serde_json::json!({"type": "join", "version": crate::protocol::VERSION, "page": page, "chat": 0});
        socket.send_text(&join.to_string()).await.then_some(socket)
    }

    pub(super) async fn say(&mut self, message: &ClientMessage) -> bool {
        self.send_text(&serde_json::to_string(message).unwrap()).await
    }

    pub(super) async fn send_text(&mut self, text: &str) -> bool {
        self.send(1, text.as_bytes()).await
    }

    pub(super) async fn type_key(&mut self, number: InputNumber, bytes: &[u8]) -> bool {
        let mut frame = vec![0];
        frame.extend_from_slice(&number.0.to_be_bytes());
        frame.extend_from_slice(bytes);
        self.send(2, &frame).await
    }

    /// Whether it could be sent.
    pub(super) async fn send(&mut self, kind: u8, payload: &[u8]) -> bool {
        let mut frame = vec![0x80 | kind];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        // A mask of zeros leaves the payload as it is.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await.is_ok()
    }

    pub(super) async fn next(&mut self) -> Got {
        loop {
            if let Some((kind, payload)) = take_frame(&mut self.bytes) {
                match kind {
                    1 => return Got::Message(serde_json::from_slice(&payload).unwrap()),
                    2 => return Got::Terminal,
                    8 => return Got::Closed,
                    9 => drop(self.send(10, &payload).await),
                    _ => {}
                }
            } else if !self.fill().await {
                return Got::Closed;
            }
        }
    }

    /// Reads a little, however much there is.
    pub(super) async fn sip(&mut self, bytes: usize) -> bool {
        let mut buffer = vec![0; bytes];
        matches!(self.stream.read(&mut buffer).await, Ok(1..))
    }

    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.bytes).await, Ok(1..))
    }
}
