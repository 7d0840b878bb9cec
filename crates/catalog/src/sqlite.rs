//! The catalog in one SQLite file.
//!
//! One connection: every method is a transaction of its own, and they happen one after the other.
//! What a server writes here is little (somebody comes, says something, makes a link), so an
//! orderly queue costs less than readers and writers that get into each other's way.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row, Sqlite, Transaction};

use self::columns::{hex, signed};
use crate::catalog::{Catalog, CatalogError};
use crate::ids::{OwnerId, SecretHash, SessionId, ShareId};
use crate::rows::{
    AnswerRow, AuditRow, MachineRow, Publication, RoomRow, SaidRow, SessionRow, ShareRow, limits,
};

mod columns;
mod file;
mod room;
mod schema;
mod shares;

/// How long to wait for another program that writes to the same file.
const BUSY: Duration = Duration::from_secs(5);

/// A catalog in one file, with SQLite's two beside it while it is open.
pub struct SqliteCatalog {
    pool: SqlitePool,
    place: String,
    instance: String,
    owner: OwnerId,
}

impl SqliteCatalog {
    /// Opens the catalog at `path`, or makes it; nobody but its user can read the file.
    ///
    /// # Errors
    /// [`CatalogError::Newer`], [`CatalogError::Database`], [`CatalogError::Random`].
    pub async fn open(path: &Path) -> Result<SqliteCatalog, CatalogError> {
        let place = path.display().to_string();
        let failed = |source| CatalogError::Database { place: place.clone(), source };
        file::make_private(path).map_err(|error| failed(error.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // What was answered with "done" is there after a power loss, too.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .before_acquire(|idle, _| Box::pin(file::heal(idle)));
        let pool = pool.connect_with(options).await.map_err(failed)?;
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let found = schema::migrate(&mut transaction).await.map_err(failed)?;
        if found > schema::VERSION {
            return Err(CatalogError::Newer { place, found, known: schema::VERSION });
        }
        let new = (OwnerId::random()?, OwnerId::random()?);
        let (instance, owner) = file::identity(&mut transaction, new).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(SqliteCatalog { pool, place, instance, owner })
    }

    /// Closes the file, after what is under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that may write: it waits for others at its beginning, not half-way.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, CatalogError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.at(self)
    }

    /// The number after the largest one that a query finds.
    async fn next(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        query: sqlx::query::Query<'_, Sqlite, sqlx::sqlite::SqliteArguments>,
    ) -> Result<i64, CatalogError> {
        let row = query.fetch_one(&mut **transaction).await.at(self)?;
        Ok(row.try_get::<i64, _>(0).at(self)?.saturating_add(1))
    }
}

/// Says where something failed.
trait At<T> {
    fn at(self, catalog: &SqliteCatalog) -> Result<T, CatalogError>;
}

impl<T> At<T> for Result<T, sqlx::Error> {
    fn at(self, catalog: &SqliteCatalog) -> Result<T, CatalogError> {
        self.map_err(|source| CatalogError::Database { place: catalog.place.clone(), source })
    }
}

/// A hostile caller of the server fills no disk with a row.
fn check_machine(row: &MachineRow) -> Result<(), CatalogError> {
    let too_long = |what, max| Err(CatalogError::TooLong { what, max });
    if row.notes.len() > limits::NOTES_BYTES_MAX {
        return too_long("the notes", limits::NOTES_BYTES_MAX);
    }
    if row.tags.iter().any(|tag| tag.len() > limits::TAG_BYTES_MAX) {
        return too_long("a tag", limits::TAG_BYTES_MAX);
    }
    if row.tags.len() > limits::TAGS_MAX {
        return Err(CatalogError::TooMany { what: "tags", max: limits::TAGS_MAX as u64 });
    }
    Ok(())
}

#[async_trait]
impl Catalog for SqliteCatalog {
    fn instance(&self) -> &str {
        &self.instance
    }

    fn owner(&self) -> OwnerId {
        self.owner
    }

    async fn machine(&self, machine: &str) -> Result<MachineRow, CatalogError> {
        let query = sqlx::query("SELECT * FROM machines WHERE machine = $1").bind(machine);
        let row = query.fetch_optional(&self.pool).await.at(self)?;
        row.as_ref().map(columns::machine).transpose().at(self).map(Option::unwrap_or_default)
    }

    async fn machines(&self) -> Result<Vec<(String, MachineRow)>, CatalogError> {
        let query = sqlx::query("SELECT * FROM machines ORDER BY machine");
        let rows = query.fetch_all(&self.pool).await.at(self)?;
        let named = rows.iter().map(|row| Ok((row.try_get("machine")?, columns::machine(row)?)));
        named.collect::<Result<_, _>>().at(self)
    }

    async fn set_machine(&self, machine: &str, row: &MachineRow) -> Result<u64, CatalogError> {
        check_machine(row)?;
        let mut transaction = self.begin().await?;
        let query = sqlx::query("SELECT * FROM machines WHERE machine = $1").bind(machine);
        let there = query.fetch_optional(&mut *transaction).await.at(self)?;
        let there = there.as_ref().map(columns::machine).transpose().at(self)?;
        let found = there.map_or(0, |row| row.version);
        if found != row.version {
            return Err(CatalogError::Stale { expected: row.version, found });
        }
        let tags = serde_json::to_string(&row.tags).map_err(|e| sqlx::Error::Encode(e.into()));
        sqlx::query(
            "INSERT INTO machines (machine, owner, notes, tags, clipboard, version)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (machine) DO UPDATE SET notes = excluded.notes, tags = excluded.tags,
                 clipboard = excluded.clipboard, version = excluded.version",
        )
        .bind(machine)
        .bind(self.owner.to_string())
        .bind(&row.notes)
        .bind(tags.at(self)?)
        .bind(row.clipboard)
        .bind(signed(found + 1))
        .execute(&mut *transaction)
        .await
        .at(self)?;
        transaction.commit().await.at(self)?;
        Ok(found + 1)
    }

    async fn forget_machine(&self, machine: &str) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        for delete in [
            "DELETE FROM machines WHERE machine = $1",
            "DELETE FROM shares WHERE machine = $1",
            "DELETE FROM said WHERE machine = $1",
        ] {
            sqlx::query(delete).bind(machine).execute(&mut *transaction).await.at(self)?;
        }
        room::forget(&mut transaction, machine).await.at(self)?;
        transaction.commit().await.at(self)
    }

    async fn room(&self, machine: &str) -> Result<RoomRow, CatalogError> {
        let mut transaction = self.begin().await?;
        room::read(&mut transaction, machine).await.at(self)
    }

    async fn set_room(&self, machine: &str, room: &RoomRow) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        room::write(&mut transaction, (machine, self.owner), room).await.at(self)?;
        transaction.commit().await.at(self)
    }

    async fn add_share(&self, share: &ShareRow) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        if shares::good(&mut transaction, share).await.at(self)? >= limits::SHARES_MAX {
            return Err(CatalogError::TooMany { what: "links", max: limits::SHARES_MAX });
        }
        shares::trim(&mut transaction, share).await.at(self)?;
        shares::insert(&mut transaction, share).await.at(self)?;
        transaction.commit().await.at(self)
    }

    async fn share(&self, id: ShareId) -> Result<Option<ShareRow>, CatalogError> {
        let query = sqlx::query("SELECT * FROM shares WHERE id = $1").bind(id.to_string());
        let row = query.fetch_optional(&self.pool).await.at(self)?;
        row.as_ref().map(columns::share).transpose().at(self)
    }

    async fn shares(&self, machine: &str) -> Result<Vec<ShareRow>, CatalogError> {
        let query = sqlx::query(
            "SELECT * FROM shares WHERE machine = $1 ORDER BY created_unix_ms DESC, id",
        );
        let rows = query.bind(machine).fetch_all(&self.pool).await.at(self)?;
        rows.iter().map(columns::share).collect::<Result<_, _>>().at(self)
    }

    async fn visits(&self) -> Result<Vec<ShareRow>, CatalogError> {
        let query = sqlx::query(
            "SELECT * FROM shares WHERE visit_of IS NOT NULL ORDER BY created_unix_ms, id",
        );
        let rows = query.fetch_all(&self.pool).await.at(self)?;
        rows.iter().map(columns::share).collect::<Result<_, _>>().at(self)
    }

    async fn published(&self) -> Result<Vec<ShareRow>, CatalogError> {
        let query = sqlx::query(
            "SELECT * FROM shares WHERE published IS NOT NULL AND revoked_unix_ms IS NULL
             ORDER BY created_unix_ms DESC, id",
        );
        let rows = query.fetch_all(&self.pool).await.at(self)?;
        rows.iter().map(columns::share).collect::<Result<_, _>>().at(self)
    }

    async fn publish(
        &self,
        id: ShareId,
        role: &str,
        how: &Publication,
    ) -> Result<(), CatalogError> {
        let query = sqlx::query("UPDATE shares SET role = $2, published = $3 WHERE id = $1");
        let how = shares::published(how).at(self)?;
        query.bind(id.to_string()).bind(role).bind(how).execute(&self.pool).await.at(self)?;
        Ok(())
    }

    async fn revoke_share(&self, id: ShareId, at_unix_ms: u64) -> Result<bool, CatalogError> {
        let query = sqlx::query(
            "UPDATE shares SET revoked_unix_ms = $2 WHERE id = $1 AND revoked_unix_ms IS NULL",
        );
        let query = query.bind(id.to_string()).bind(signed(at_unix_ms));
        Ok(query.execute(&self.pool).await.at(self)?.rows_affected() == 1)
    }

    async fn count_opening(&self, id: ShareId) -> Result<(), CatalogError> {
        let query = sqlx::query("UPDATE shares SET opened = opened + 1 WHERE id = $1");
        query.bind(id.to_string()).execute(&self.pool).await.at(self).map(drop)
    }

    async fn add_session(&self, session: &SessionRow) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "DELETE FROM sessions WHERE id IN
                 (SELECT id FROM sessions ORDER BY seen_unix_ms DESC, id LIMIT $2 OFFSET $1)",
        )
        .bind(signed(limits::SESSIONS_MAX - 1))
        .bind(signed(limits::SESSIONS_MAX))
        .execute(&mut *transaction)
        .await
        .at(self)?;
        sqlx::query(
            "INSERT INTO sessions (id, secret, owner, name, hue, created_unix_ms, seen_unix_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(session.id.to_string())
        .bind(hex(&session.secret.0))
        .bind(session.owner.map(|owner| owner.to_string()))
        .bind(&session.name)
        .bind(i64::from(session.hue))
        .bind(signed(session.created_unix_ms))
        .bind(signed(session.seen_unix_ms))
        .execute(&mut *transaction)
        .await
        .at(self)?;
        transaction.commit().await.at(self)
    }

    async fn session(&self, secret: SecretHash) -> Result<Option<SessionRow>, CatalogError> {
        let query = sqlx::query("SELECT * FROM sessions WHERE secret = $1").bind(hex(&secret.0));
        let row = query.fetch_optional(&self.pool).await.at(self)?;
        row.as_ref().map(columns::session).transpose().at(self)
    }

    async fn end_session(&self, id: SessionId) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        for delete in
            ["DELETE FROM sessions WHERE id = $1", "DELETE FROM answers WHERE session = $1"]
        {
            sqlx::query(delete).bind(id.to_string()).execute(&mut *transaction).await.at(self)?;
        }
        transaction.commit().await.at(self)
    }

    async fn see_session(&self, id: SessionId, at_unix_ms: u64) -> Result<(), CatalogError> {
        // Most calls write nothing: an idle page that asks for a list costs no disk access.
        let query = sqlx::query(
            "UPDATE sessions SET seen_unix_ms = $2 WHERE id = $1 AND seen_unix_ms < $3",
        );
        let query = query.bind(id.to_string()).bind(signed(at_unix_ms));
        let query = query.bind(signed(at_unix_ms) - SEEN_MS);
        query.execute(&self.pool).await.at(self).map(drop)
    }

    async fn promote_session(&self, id: SessionId, owner: OwnerId) -> Result<(), CatalogError> {
        let query = sqlx::query("UPDATE sessions SET owner = $2 WHERE id = $1");
        let query = query.bind(id.to_string()).bind(owner.to_string());
        query.execute(&self.pool).await.at(self).map(drop)
    }

    async fn name_session(&self, id: SessionId, name: &str, hue: u8) -> Result<(), CatalogError> {
        let query = sqlx::query("UPDATE sessions SET name = $2, hue = $3 WHERE id = $1");
        let query = query.bind(id.to_string()).bind(name).bind(i64::from(hue));
        query.execute(&self.pool).await.at(self).map(drop)
    }

    async fn grant(&self, session: SessionId, share: ShareId) -> Result<(), CatalogError> {
        // Whoever ended the session or deleted the machine meanwhile has the last word.
        let query = sqlx::query(
            "INSERT INTO grants (session, share)
             SELECT sessions.id, shares.id FROM sessions, shares
             WHERE sessions.id = $1 AND shares.id = $2
             ON CONFLICT (session, share) DO NOTHING",
        );
        let query = query.bind(session.to_string()).bind(share.to_string());
        query.execute(&self.pool).await.at(self).map(drop)
    }

    async fn ungrant(&self, session: SessionId, share: ShareId) -> Result<(), CatalogError> {
        let query = sqlx::query("DELETE FROM grants WHERE session = $1 AND share = $2");
        let query = query.bind(session.to_string()).bind(share.to_string());
        query.execute(&self.pool).await.at(self).map(drop)
    }

    async fn grants(&self, session: SessionId) -> Result<Vec<ShareRow>, CatalogError> {
        let query = sqlx::query(
            "SELECT shares.* FROM shares JOIN grants ON grants.share = shares.id
             WHERE grants.session = $1 ORDER BY shares.created_unix_ms DESC, shares.id",
        );
        let rows = query.bind(session.to_string()).fetch_all(&self.pool).await.at(self)?;
        rows.iter().map(columns::share).collect::<Result<_, _>>().at(self)
    }

    async fn audit(&self, row: &AuditRow) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        let last = sqlx::query("SELECT COALESCE(MAX(id), 0) FROM audit");
        let id = self.next(&mut transaction, last).await?;
        sqlx::query(
            "INSERT INTO audit (id, owner, at_unix_ms, actor, action, subject, detail)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id)
        .bind(self.owner.to_string())
        .bind(signed(row.at_unix_ms))
        .bind(&row.actor)
        .bind(&row.action)
        .bind(&row.subject)
        .bind(&row.detail)
        .execute(&mut *transaction)
        .await
        .at(self)?;
        let trim = sqlx::query("DELETE FROM audit WHERE id <= $1");
        let trim = trim.bind(id - signed(limits::AUDIT_MAX));
        trim.execute(&mut *transaction).await.at(self)?;
        transaction.commit().await.at(self)
    }

    async fn audits(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, CatalogError> {
        let query = sqlx::query("SELECT * FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let query = query.bind(before.map_or(i64::MAX, signed)).bind(i64::from(limit));
        let rows = query.fetch_all(&self.pool).await.at(self)?;
        rows.iter().map(columns::audit).collect::<Result<_, _>>().at(self)
    }

    async fn say(&self, machine: &str, said: &SaidRow) -> Result<u64, CatalogError> {
        let mut transaction = self.begin().await?;
        let last = sqlx::query("SELECT COALESCE(MAX(id), 0) FROM said WHERE machine = $1");
        let id = self.next(&mut transaction, last.bind(machine)).await?;
        sqlx::query(
            "INSERT INTO said (machine, id, owner, name, hue, body, at_unix_ms, instant_ns)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(machine)
        .bind(id)
        .bind(self.owner.to_string())
        .bind(&said.name)
        .bind(i64::from(said.hue))
        .bind(&said.text)
        .bind(signed(said.at_unix_ms))
        .bind(said.instant_ns.map(signed))
        .execute(&mut *transaction)
        .await
        .at(self)?;
        let trim = sqlx::query("DELETE FROM said WHERE machine = $1 AND id <= $2");
        let trim = trim.bind(machine).bind(id - signed(limits::SAID_MAX));
        trim.execute(&mut *transaction).await.at(self)?;
        transaction.commit().await.at(self)?;
        Ok(id.unsigned_abs())
    }

    async fn said(
        &self,
        machine: &str,
        after: u64,
        since_unix_ms: u64,
        limit: u32,
    ) -> Result<Vec<SaidRow>, CatalogError> {
        let query = sqlx::query(
            "SELECT * FROM said WHERE machine = $1 AND id > $2 AND at_unix_ms >= $3
             ORDER BY id DESC LIMIT $4",
        );
        let query = query.bind(machine).bind(signed(after)).bind(signed(since_unix_ms));
        let rows = query.bind(i64::from(limit)).fetch_all(&self.pool).await.at(self)?;
        rows.iter().rev().map(columns::said).collect::<Result<_, _>>().at(self)
    }

    async fn answer(
        &self,
        session: SessionId,
        key: &str,
    ) -> Result<Option<AnswerRow>, CatalogError> {
        let query = sqlx::query("SELECT * FROM answers WHERE session = $1 AND key = $2");
        let query = query.bind(session.to_string()).bind(key);
        let row = query.fetch_optional(&self.pool).await.at(self)?;
        row.as_ref().map(columns::answer).transpose().at(self)
    }

    async fn keep_answer(
        &self,
        session: SessionId,
        key: &str,
        answer: &AnswerRow,
        at_unix_ms: u64,
    ) -> Result<(), CatalogError> {
        let mut transaction = self.begin().await?;
        let trim = sqlx::query("DELETE FROM answers WHERE at_unix_ms < $1");
        let trim = trim.bind(signed(at_unix_ms) - signed(limits::ANSWERS_MS));
        trim.execute(&mut *transaction).await.at(self)?;
        let trim = sqlx::query(
            "DELETE FROM answers WHERE session = $1 AND key IN
                 (SELECT key FROM answers WHERE session = $1
                  ORDER BY at_unix_ms DESC, key LIMIT $3 OFFSET $2)",
        );
        let trim = trim.bind(session.to_string());
        let trim = trim.bind(signed(limits::ANSWERS_MAX - 1)).bind(signed(limits::ANSWERS_MAX));
        trim.execute(&mut *transaction).await.at(self)?;
        // The first answer stands: it is the one that somebody may have seen.
        sqlx::query(
            "INSERT INTO answers (session, key, request, status, body, at_unix_ms)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (session, key) DO NOTHING",
        )
        .bind(session.to_string())
        .bind(key)
        .bind(hex(&answer.request))
        .bind(i64::from(answer.status))
        .bind(hex(&answer.body))
        .bind(signed(at_unix_ms))
        .execute(&mut *transaction)
        .await
        .at(self)?;
        transaction.commit().await.at(self)
    }
}

/// How exactly the last visit of a session is known, in milliseconds.
const SEEN_MS: i64 = 3600 * 1000;

#[cfg(test)]
mod tests;
