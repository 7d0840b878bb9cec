//! What an owner has settled about the people at a machine, in two tables: one row for the machine
//! and one for each person it is about.

use std::collections::BTreeSet;

use sqlx::{Row, Sqlite, Transaction};

use super::columns;
use crate::ids::{OwnerId, SessionId};
use crate::rows::RoomRow;

/// That of a machine; the default where nothing was settled.
pub(super) async fn read(
    transaction: &mut Transaction<'_, Sqlite>,
    machine: &str,
) -> Result<RoomRow, sqlx::Error> {
    let query = sqlx::query("SELECT * FROM rooms WHERE machine = $1").bind(machine);
    let Some(row) = query.fetch_optional(&mut **transaction).await? else {
        return Ok(RoomRow::default());
    };
    let is_door_locked: bool = row.try_get("door_locked")?;
    let (mut muted, mut admitted) = (BTreeSet::new(), BTreeSet::new());
    let query = sqlx::query("SELECT * FROM room_guests WHERE machine = $1").bind(machine);
    for guest in query.fetch_all(&mut **transaction).await? {
        let session: SessionId = columns::parsed(&guest, "session")?;
        if guest.try_get("muted")? {
            muted.insert(session);
        }
        if guest.try_get("admitted")? {
            admitted.insert(session);
        }
    }
    Ok(RoomRow {
        keyboard_mode: row.try_get("keyboard_mode")?,
        keyboard_locked: row.try_get("keyboard_locked")?,
        muted,
        admitted: is_door_locked.then_some(admitted),
    })
}

/// Replaces that of a machine.
pub(super) async fn write(
    transaction: &mut Transaction<'_, Sqlite>,
    (machine, owner): (&str, OwnerId),
    room: &RoomRow,
) -> Result<(), sqlx::Error> {
    forget(transaction, machine).await?;
    sqlx::query(
        "INSERT INTO rooms (machine, owner, keyboard_mode, keyboard_locked, door_locked)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(machine)
    .bind(owner.to_string())
    .bind(&room.keyboard_mode)
    .bind(room.keyboard_locked)
    .bind(room.admitted.is_some())
    .execute(&mut **transaction)
    .await?;
    let none = BTreeSet::new();
    let admitted = room.admitted.as_ref().unwrap_or(&none);
    for session in room.muted.union(admitted) {
        // Of a session that has ended meanwhile nothing need be known.
        sqlx::query(
            "INSERT INTO room_guests (machine, session, muted, admitted)
             SELECT $1, sessions.id, $3, $4 FROM sessions WHERE sessions.id = $2",
        )
        .bind(machine)
        .bind(session.to_string())
        .bind(room.muted.contains(session))
        .bind(admitted.contains(session))
        .execute(&mut **transaction)
        .await?;
    }
    Ok(())
}

/// Forgets that of a machine.
pub(super) async fn forget(
    transaction: &mut Transaction<'_, Sqlite>,
    machine: &str,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query("DELETE FROM rooms WHERE machine = $1").bind(machine);
    query.execute(&mut **transaction).await.map(drop)
}
