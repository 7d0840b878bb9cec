//! The WebSocket of the home page: everything once, then what changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::response::Response;
use stackvm_catalog::rows::SessionRow;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::extract::{Owner, Upgrade};
use super::types::{HomeMessage, MachineView};
use crate::app::App;
use crate::problem::Problem;

/// Changes are collected for so long: eyes need no more, and 200 machines may change at once.
const GATHER_TIME: Duration = Duration::from_millis(200);
/// A browser answers a ping by itself; one that is gone is noticed by its connection's silence.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Longest time for one message to leave.
const SEND_TIME: Duration = Duration::from_secs(30);
/// Longest message of a page, in bytes: it has nothing to say.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// The owner's WebSocket: every machine and every task, as they change.
///
/// A GET with `Upgrade: websocket`, without a subprotocol and without a query. Browsers send their
/// `Origin`, and it must be this server's. Text frames to the page are JSON, one `HomeMessage`
/// each: the first time everything, then what changed, gathered for 200 ms. The page says nothing;
/// one that does is cut off.
#[utoipa::path(get, path = "/api/live", tag = "sockets",
    responses((status = 101, description = "It is a WebSocket from here on.")))]
pub(crate) async fn serve(
    State(app): State<Arc<App>>,
    Owner(session): Owner,
    Upgrade(upgrade): Upgrade,
) -> Result<Response, Problem> {
    Ok(upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX).on_upgrade(
        async move |socket| Home { app, session, shown: BTreeMap::new() }.run(socket).await,
    ))
}

/// What changed lately.
#[derive(Default)]
struct News {
    machines: BTreeSet<String>,
    tasks: BTreeSet<String>,
    /// More than is known in detail.
    all: bool,
}

struct Home {
    app: Arc<App>,
    session: SessionRow,
    /// What the page has been told last.
    shown: BTreeMap<String, MachineView>,
}

impl Home {
    async fn run(mut self, mut socket: WebSocket) {
        let (mut machines, mut tasks) = (self.app.rooms.changes(), self.app.tasks.changes());
        let mut changed = self.app.changed.subscribe();
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = News { all: true, ..News::default() };
        for task in self.app.tasks.list().into_iter().rev() {
            news.tasks.insert(task.id);
        }
        loop {
            // A session that was ended is nobody any more, also here.
            let present = self.app.catalog.session(self.session.secret).await;
            let is_door = self.app.access.is_door(&self.session);
            if !is_door && !matches!(present, Ok(Some(session)) if session.owner.is_some()) {
                return;
            }
            if self.tell(&mut socket, std::mem::take(&mut news)).await.is_none() {
                return;
            }
            tokio::select! {
                machine = machines.recv() => note(machine, &mut news.machines, &mut news.all),
                machine = changed.recv() => note(machine, &mut news.machines, &mut news.all),
                task = tasks.recv() => note(task, &mut news.tasks, &mut news.all),
                message = socket.recv() => match message {
                    // Whoever says something here is not one of our pages.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    _ => return,
                },
                _ = pings.tick() => {
                    if send(&mut socket, Message::Ping(Vec::new().into())).await.is_none() {
                        return;
                    }
                    continue;
                }
            }
            sleep(GATHER_TIME).await;
            drain(&mut machines, &mut news.machines, &mut news.all);
            drain(&mut changed, &mut news.machines, &mut news.all);
            drain(&mut tasks, &mut news.tasks, &mut news.all);
        }
    }

    /// Tells a page what is new to it; `None` if it is gone.
    async fn tell(&mut self, socket: &mut WebSocket, news: News) -> Option<()> {
        if news.all || !news.machines.is_empty() {
            self.tell_machines(socket, news.all).await?;
        }
        let ids: Vec<String> = match news.all {
            true => self.app.tasks.list().into_iter().rev().map(|task| task.id).collect(),
            false => news.tasks.into_iter().collect(),
        };
        for task in ids.iter().filter_map(|id| self.app.tasks.get(id)) {
            say(socket, &HomeMessage::Task { task: Box::new(task) }).await?;
        }
        Some(())
    }

    async fn tell_machines(&mut self, socket: &mut WebSocket, all: bool) -> Option<()> {
        // Without a list now there will be one with the next change.
        let Ok(views) = self.app.machine_views(&self.session).await else { return Some(()) };
        let views: BTreeMap<_, _> = views.into_iter().map(|view| (view.id.clone(), view)).collect();
        let before = std::mem::replace(&mut self.shown, views);
        let is_new = |view: &&MachineView| all || before.get(&view.id) != Some(view);
        let machines: Vec<_> = self.shown.values().filter(is_new).cloned().collect();
        if all || !machines.is_empty() {
            say(socket, &HomeMessage::Machines { machines, all }).await?;
        }
        for id in before.keys().filter(|id| !all && !self.shown.contains_key(*id)) {
            say(socket, &HomeMessage::MachineGone { id: id.clone() }).await?;
        }
        Some(())
    }
}

fn note(received: Result<String, RecvError>, into: &mut BTreeSet<String>, all: &mut bool) {
    match received {
        Ok(id) => drop(into.insert(id)),
        Err(_) => *all = true,
    }
}

fn drain(from: &mut Receiver<String>, into: &mut BTreeSet<String>, all: &mut bool) {
    use tokio::sync::broadcast::error::TryRecvError;
    loop {
        match from.try_recv() {
            Ok(id) => drop(into.insert(id)),
            Err(TryRecvError::Lagged(_)) => *all = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return,
        }
    }
}

async fn say(socket: &mut WebSocket, message: &HomeMessage) -> Option<()> {
    let text = serde_json::to_string(message).ok()?;
    send(socket, Message::Text(text.into())).await
}

async fn send(socket: &mut WebSocket, message: Message) -> Option<()> {
    timeout(SEND_TIME, socket.send(message)).await.ok()?.ok()
}
