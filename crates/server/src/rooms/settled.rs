//! What the owner of a machine has settled about the people at it (who is muted, who may come in,
//! how the keyboard goes around), as the catalog keeps it: it holds when the server starts again.

use stackvm_catalog::CatalogError;
use stackvm_catalog::rows::RoomRow;
use tokio::sync::{Mutex, OnceCell};

use super::room::{Inner, Room};
use crate::protocol::{ClientMessage, KeyboardMode};

/// What the catalog has of it.
#[derive(Debug, Default)]
pub(super) struct Settled {
    is_read: OnceCell<()>,
    /// Held while it is written, so that the last change is the one that stays.
    kept: Mutex<RoomRow>,
}

/// Whether this message may settle something.
pub(super) fn settles(message: &ClientMessage) -> bool {
    use ClientMessage::*;
    matches!(message, SetKeyboard { .. } | LockDoor { .. } | Mute { .. })
}

impl Room {
    /// Takes up what was settled before this server began, once. Nobody is let in before: a guest
    /// who was muted or shut out must not find the server's start to be a way around that.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub(super) async fn recall(&self) -> Result<(), CatalogError> {
        let read = async || {
            let row = self.catalog.room(&self.machine).await?;
            self.change(|inner| inner.take_up(&row));
            *self.settled.kept.lock().await = row;
            Ok(())
        };
        self.settled.is_read.get_or_try_init(read).await.copied()
    }

    /// Keeps what is settled now.
    ///
    /// # Errors
    /// The catalog cannot be written.
    pub(super) async fn keep_settled(&self) -> Result<(), CatalogError> {
        let mut kept = self.settled.kept.lock().await;
        let row = self.look(Inner::settled);
        if *kept != row {
            self.catalog.set_room(&self.machine, &row).await?;
            *kept = row;
        }
        Ok(())
    }
}

impl Inner {
    fn settled(&self) -> RoomRow {
        let (mode, keyboard_locked) = self.turns.settled();
        RoomRow {
            keyboard_mode: mode.name().to_owned(),
            keyboard_locked,
            muted: self.people.muted.clone(),
            admitted: self.people.admitted().cloned(),
        }
    }

    fn take_up(&mut self, row: &RoomRow) {
        let mode = KeyboardMode::named(&row.keyboard_mode).unwrap_or_default();
        self.turns.set(mode, row.keyboard_locked);
        self.people.muted = row.muted.clone();
        self.people.admit_only(row.admitted.clone());
    }
}
