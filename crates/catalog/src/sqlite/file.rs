//! The catalog's file: who may read it, what it is called, and the line to it after a full disk.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sqlx::sqlite::{SqliteConnection, SqliteTransactionManager};
use sqlx::{Connection, Row, Sqlite, Transaction};
use sqlx_core::transaction::TransactionManager;

use super::columns;
use crate::ids::OwnerId;

/// SQLite gives the files beside it the rights of this one.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    // Not truncated: it may be there already.
    let file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
}

/// The instance's name and the owner: those that are there, or new ones.
pub(super) async fn identity(
    transaction: &mut Transaction<'_, Sqlite>,
    (instance, owner): (OwnerId, OwnerId),
) -> Result<(String, OwnerId), sqlx::Error> {
    let query = sqlx::query("SELECT instance, owner FROM catalog");
    if let Some(row) = query.fetch_optional(&mut **transaction).await? {
        return Ok((row.try_get("instance")?, columns::parsed(&row, "owner")?));
    }
    sqlx::query("INSERT INTO catalog (instance, owner) VALUES ($1, $2)")
        .bind(instance.to_string())
        .bind(owner.to_string())
        .execute(&mut **transaction)
        .await?;
    Ok((instance.to_string(), owner))
}

/// Brings a connection back to where it is in no transaction; false if it cannot be used any more.
///
/// On a full disk SQLite ends a transaction by itself. The connection counts it for ever then, and
/// begins none. A new connection would do as well, but there is no room for its files.
pub(super) async fn heal(idle: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if idle.is_in_transaction() {
        sqlx::raw_sql("BEGIN").execute(&mut *idle).await?;
        SqliteTransactionManager::rollback(idle).await?;
    }
    Ok(!idle.is_in_transaction())
}
