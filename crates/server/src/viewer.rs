//! One page's WebSocket: carries the room's frames to it and what it says into the room.
//!
//! Nothing is queued here. A frame is made when the one before it is on its way, so a page that
//! reads slowly gets fewer and later ones, and a page that reads nothing is let go.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::protocol::{ClientMessage, ServerMessage, Size, parse_input_frame};
use crate::room::{Frame, Room, Viewer};

/// A page answers a ping by itself; one that is silent for [`crate::listener::IDLE_TIME`] is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Time between two reports of progress: eyes need no more, and pages draw each.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Longest time for one frame to leave.
const SEND_TIME: Duration = Duration::from_secs(20);

/// Where a page that comes back goes on.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Resume {
    /// The run its positions belong to.
    run: Option<String>,
    terminal: u64,
    log: u64,
}

/// The page is gone, or must go.
struct Gone;

/// Serves a page until it leaves or `closing` changes.
pub(crate) async fn serve(
    mut socket: WebSocket,
    room: &Room,
    resume: Resume,
    mut closing: watch::Receiver<()>,
) {
    let Some(mut viewer) = room.join(resume.run.as_deref(), [resume.terminal, resume.log]) else {
        close(&mut socket, close_code::AGAIN, "too many pages on this machine").await;
        return;
    };
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest_until = Instant::now();
    loop {
        let frames = viewer.next_frames();
        let is_current = frames.is_empty();
        if frames.iter().any(Frame::is_progress) {
            rest_until = Instant::now() + PROGRESS_INTERVAL;
        }
        for frame in frames {
            if send(&mut socket, frame.into_message()).await.is_err() {
                return;
            }
        }
        let result = tokio::select! {
            // Whoever has much to show still hears the page, and the other way round.
            message = socket.recv() => match message {
                Some(Ok(message)) => receive(&mut viewer, message).await,
                _ => Err(Gone),
            },
            () = wait(&mut viewer, is_current, rest_until) => Ok(()),
            _ = ping.tick() => send(&mut socket, Message::Ping(Default::default())).await,
            _ = closing.changed() => {
                close(&mut socket, close_code::AWAY, "the server is closing").await;
                Err(Gone)
            }
        };
        if result.is_err() {
            return;
        }
    }
}

/// Waits for news, or only gives the others a turn while there is more to send.
async fn wait(viewer: &mut Viewer<'_>, is_current: bool, rest_until: Instant) {
    if is_current {
        viewer.changed().await;
        sleep_until(rest_until).await;
    } else {
        tokio::task::yield_now().await;
    }
}

async fn receive(viewer: &mut Viewer<'_>, message: Message) -> Result<(), Gone> {
    match message {
        Message::Binary(frame) => {
            let (screen, bytes) = parse_input_frame(&frame).ok_or(Gone)?;
            viewer.type_bytes(screen, bytes).await;
        }
        // A page that says what this protocol does not know is not ours, or is another version's.
        Message::Text(text) => match serde_json::from_str(&text).map_err(|_| Gone)? {
            ClientMessage::Resize { columns, rows } => viewer.wish(Size { columns, rows }).await,
            ClientMessage::Drawn { screen, position } => viewer.acknowledge(screen, position),
            ClientMessage::Power { action } => viewer.power(action).await,
        },
        Message::Ping(_) | Message::Pong(_) => {}
        Message::Close(_) => return Err(Gone),
    }
    Ok(())
}

async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Gone> {
    match timeout(SEND_TIME, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Gone),
    }
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame { code, reason: reason.into() };
    // The page may be gone already, which is as well.
    let _ = send(socket, Message::Close(Some(frame))).await;
}

impl Frame {
    fn is_progress(&self) -> bool {
        matches!(self, Frame::Message(ServerMessage::Progress { .. }))
    }

    fn into_message(self) -> Message {
        match self {
            Frame::Message(message) => {
                let text = serde_json::to_string(&message).expect("messages are plain data");
                Message::Text(text.into())
            }
            Frame::Output(bytes) => Message::Binary(bytes.into()),
        }
    }
}
