//! The shape of the database, and how an older one becomes the present one.

use sqlx::{Row, Sqlite, Transaction};

/// What each version adds to the one before it, from version 1 on.
const MIGRATIONS: [&str; 4] = [
    include_str!("../../migrations/1.sql"),
    include_str!("../../migrations/2.sql"),
    include_str!("../../migrations/3.sql"),
    include_str!("../../migrations/4.sql"),
];

/// The version that this program writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the database to [`VERSION`] and returns the version it had; a newer one stays as it is.
pub(super) async fn migrate(database: &mut Transaction<'_, Sqlite>) -> Result<i64, sqlx::Error> {
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS migrations (version BIGINT NOT NULL PRIMARY KEY)")
        .execute(&mut **database)
        .await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM migrations")
        .fetch_one(&mut **database)
        .await?;
    let found: i64 = row.try_get(0)?;
    for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        sqlx::raw_sql(migration).execute(&mut **database).await?;
        sqlx::query("INSERT INTO migrations (version) VALUES ($1)")
            .bind(version)
            .execute(&mut **database)
            .await?;
    }
    Ok(found)
}
