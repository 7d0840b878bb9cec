//! One page's WebSocket: carries the room's frames to it and what it says into the room.
//!
//! Nothing is queued here. A frame is made when the one before it is on its way, so a page that
//! reads slowly gets fewer and later ones, and a page that reads nothing is let go.

use std::future::pending;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::protocol::{ClientMessage, Gone, ServerMessage};
use crate::rooms::{Breach, End, Frame, Page};

/// A page answers a ping by itself; one that is silent for longer than [`SILENCE`] is gone.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// Longest time without a word from a page.
const SILENCE: Duration = Duration::from_secs(40);
/// Time between two reports of progress: eyes need no more, and pages draw each.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Longest time for one frame to leave; also for a page that reads 1 KB a second.
const SEND_TIME: Duration = Duration::from_secs(120);
/// Longest time for the last words to leave.
const GOODBYE_TIME: Duration = Duration::from_millis(500);
/// Messages of a page at once, and how often after that: it waits, and nobody else does.
const MESSAGES_AT_ONCE: u32 = 200;
const MESSAGE_INTERVAL: Duration = Duration::from_millis(5);

/// Why a page is served no more.
enum Over {
    /// It is gone.
    Left,
    /// It broke the protocol.
    Breach(Breach),
    /// The room ended it.
    Ended(End),
}

/// Serves a page until it leaves or its connection is ended.
pub(crate) async fn serve(mut socket: WebSocket, mut page: Page) {
    let mut end = page.end();
    let over = carry(&mut socket, &mut page, &mut end).await;
    // Whoever looks at the room now finds it without this page.
    drop(page);
    match over {
        Over::Left => {}
        Over::Breach(Breach(reason)) => {
            goodbye(&mut socket, None, close_code::POLICY, reason).await;
        }
        Over::Ended(end) => goodbye(&mut socket, end.reason(), close_code::NORMAL, "").await,
    }
}

/// Tells a page that it may not come in.
pub(crate) async fn refuse(mut socket: WebSocket, reason: Gone) {
    goodbye(&mut socket, Some(reason), close_code::NORMAL, "").await;
}

async fn carry(
    socket: &mut WebSocket,
    page: &mut Page,
    end: &mut watch::Receiver<Option<End>>,
) -> Over {
    let mut ping = interval(PING_INTERVAL);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest_until = Instant::now();
    let mut heard = Heard::default();
    loop {
        let frames = page.next_frames();
        let is_current = frames.is_empty();
        if frames.iter().any(Frame::is_progress) {
            rest_until = Instant::now() + PROGRESS_INTERVAL;
        }
        for frame in frames {
            if let Err(over) = send(socket, frame.into_message(), end).await {
                return over;
            }
        }
        let is_heard = page.is_heard();
        let result = tokio::select! {
            biased;
            over = ended(end) => Err(over),
            // Whoever has much to show still hears the page, and the other way round.
            message = receive(socket, is_heard, heard.free_at()) => match message {
                Some(Ok(message)) => {
                    heard.message(matches!(message, Message::Text(_)));
                    hear(page, message).await
                }
                _ => Err(Over::Left),
            },
            () = wait(page, is_current, rest_until) => Ok(()),
            _ = ping.tick() => match heard.is_silent() && is_heard {
                true => Err(Over::Left),
                false => send(socket, Message::Ping(Default::default()), end).await,
            },
        };
        if let Err(over) = result {
            return over;
        }
    }
}

/// When a page spoke last, and how much of late.
struct Heard {
    last: Instant,
    paid: Instant,
}

impl Default for Heard {
    fn default() -> Heard {
        let now = Instant::now();
        Heard { last: now, paid: now }
    }
}

impl Heard {
    fn message(&mut self, is_text: bool) {
        self.last = Instant::now();
        if is_text {
            self.paid = self.paid.max(self.last) + MESSAGE_INTERVAL;
        }
    }

    /// When the page is heard again.
    fn free_at(&self) -> Instant {
        let ahead = MESSAGE_INTERVAL * MESSAGES_AT_ONCE;
        self.paid.checked_sub(ahead).unwrap_or(self.last)
    }

    fn is_silent(&self) -> bool {
        self.last.elapsed() > SILENCE
    }
}

/// The page's next message, unless it has to wait.
async fn receive(
    socket: &mut WebSocket,
    is_heard: bool,
    free_at: Instant,
) -> Option<Result<Message, axum::Error>> {
    if !is_heard {
        // The room wakes this connection when it has taken what the page has said.
        return pending().await;
    }
    sleep_until(free_at).await;
    socket.recv().await
}

/// Waits for news, or only gives the others a turn while there is more to send.
async fn wait(page: &mut Page, is_current: bool, rest_until: Instant) {
    if is_current {
        page.changed().await;
        sleep_until(rest_until).await;
    } else {
        tokio::task::yield_now().await;
    }
}

async fn ended(end: &mut watch::Receiver<Option<End>>) -> Over {
    match end.wait_for(Option::is_some).await {
        Ok(end) => Over::Ended(end.expect("that was waited for")),
        // The room has forgotten the page without a reason: it is over all the same.
        Err(_) => Over::Left,
    }
}

async fn hear(page: &mut Page, message: Message) -> Result<(), Over> {
    let heard = match message {
        Message::Binary(frame) => page.hear_keys(&frame),
        // A page that says what this protocol does not know is not ours, or is another version's.
        Message::Text(text) => match serde_json::from_str::<ClientMessage>(&text) {
            Ok(message) => page.hear(message).await,
            Err(_) => Err(Breach("that is not a message of this protocol")),
        },
        Message::Ping(_) | Message::Pong(_) => Ok(()),
        Message::Close(_) => return Err(Over::Left),
    };
    heard.map_err(Over::Breach)
}

/// Sends a message, unless the connection is ended meanwhile.
async fn send(
    socket: &mut WebSocket,
    message: Message,
    end: &mut watch::Receiver<Option<End>>,
) -> Result<(), Over> {
    tokio::select! {
        biased;
        over = ended(end) => Err(over),
        sent = timeout(SEND_TIME, socket.send(message)) => match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over::Left),
        },
    }
}

/// The last words, for whoever still listens.
async fn goodbye(socket: &mut WebSocket, gone: Option<Gone>, code: u16, reason: &'static str) {
    let close = CloseFrame { code, reason: reason.into() };
    let words = async {
        if let Some(reason) = gone {
            let message = Frame::Message(ServerMessage::Gone { reason }).into_message();
            socket.send(message).await?;
        }
        socket.send(Message::Close(Some(close))).await
    };
    // The page may be gone already, which is as well.
    let _ = timeout(GOODBYE_TIME, words).await;
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
            Frame::Terminal(bytes) => Message::Binary(bytes),
        }
    }
}
