//! Notices machines and labs that come and go, keeps one line to each lab that runs, and is the
//! rooms' clock.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use stackvm_host::machines::{Lifetime, Listed};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Rooms;
use super::link::{self, LinkError};
use super::room::Room;
use crate::protocol::Gone;

/// How often the data directory is looked through.
const LIST_INTERVAL: Duration = Duration::from_secs(2);
/// How often rooms do what happens by itself.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// Rest before a line to a lab is tried again.
const RELINK_TIME: Duration = Duration::from_millis(50);
/// Rounds after which a machine that is not there any more is taken for deleted: one may fall
/// between two moments of a move.
const MISSED_MAX: u32 = 2;

/// Begins; ends with `rooms`.
pub(super) fn start(rooms: &Arc<Rooms>) {
    let tasks =
        [tokio::spawn(list(Arc::downgrade(rooms))), tokio::spawn(tick(Arc::downgrade(rooms)))];
    if let Ok(mut handles) = rooms.tasks.lock() {
        handles.extend(tasks.iter().map(|task| task.abort_handle()));
    }
}

async fn list(rooms: Weak<Rooms>) {
    while let Some(rooms) = rooms.upgrade() {
        rooms.list_now().await;
        // An error means that nobody called.
        let _ = timeout(LIST_INTERVAL, rooms.look.notified()).await;
    }
}

async fn tick(rooms: Weak<Rooms>) {
    let mut interval = interval(TICK_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let Some(rooms) = rooms.upgrade() else { return };
        let is_looked_at = rooms.changes.receiver_count() > 0;
        for room in rooms.all() {
            room.tick(Instant::now(), is_looked_at);
            // On its own: a slow disk must not hold up the end of somebody's time.
            if room.has_happenings() {
                tokio::spawn(async move { room.keep_happenings().await });
            }
        }
    }
}

impl Rooms {
    /// Looks through the data directory.
    pub(super) async fn list_now(self: &Rooms) {
        let machines = self.machines.clone();
        // At an error, as when the disk is away, nothing is known to have changed.
        if let Ok(Ok(listed)) = tokio::task::spawn_blocking(move || machines.list()).await {
            self.meet(&listed);
        }
    }

    fn meet(&self, listed: &[Listed]) {
        // One that is held for others to go on from is never looked at.
        for machine in listed.iter().filter(|it| it.spec.lifetime != Lifetime::Held) {
            let room = self.room_or_new(&machine.spec.name);
            room.listed(machine);
            if room.wants_link() {
                self.link(&room);
            }
        }
        let mut gone = Vec::new();
        self.lock().retain(|name, entry| {
            let is_there = listed.iter().any(|machine| machine.spec.name == *name);
            entry.missed = if is_there || entry.room.is_expected() { 0 } else { entry.missed + 1 };
            let stays = entry.missed < MISSED_MAX;
            if !stays {
                gone.push(entry.room.clone());
            }
            stays
        });
        for room in gone {
            room.cut(Gone::Deleted, |_| true);
            // Nobody may be listening.
            let _ = self.changes.send(room.machine.clone());
        }
    }

    /// Keeps a line to a room's lab, unless there is one.
    fn link(&self, room: &Arc<Room>) {
        let mut rooms = self.lock();
        let Some(entry) = rooms.get_mut(&room.machine) else { return };
        if entry.line.as_ref().is_some_and(|line| !line.is_finished()) {
            return;
        }
        let (socket, room) = (self.machines.socket(&room.machine), room.clone());
        let line = tokio::spawn(async move {
            // A lab that ends leaves its socket for a moment, and one that starts is not there at
            // once: the host's list decides how long that is worth another try.
            while room.wants_link() {
                match link::follow(&socket, &room).await {
                    Ok(()) | Err(LinkError::Io(_)) => {}
                    Err(error) => room.unreachable(&error),
                }
                sleep(RELINK_TIME).await;
            }
        });
        entry.line = Some(line.abort_handle());
    }
}
