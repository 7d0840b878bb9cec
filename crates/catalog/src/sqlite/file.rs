//! The catalog's file: who may read it, and what it is called.

use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sqlx::{Row, Sqlite, Transaction};

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
