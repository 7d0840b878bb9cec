//! The store's index in SQLite: packs, roots and pins, and every transaction over them.
//!
//! It has no row for each chunk. A 3 GiB disk has half a million, an insert of each costs more than
//! compressing it, and the packs' own indices say the same and cannot disagree with the packs. So
//! SQLite has what needs transactions, a few rows for each check-in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row};
use stackvm_machine::digest::Digest;
use tokio::runtime::Runtime;

use super::PackId;
use super::host::Host;
use crate::backend::{Root, RootKind, RootName, StoreError};
use crate::tree::Tree;

/// How long a transaction waits for others.
const BUSY_LIMIT: Duration = Duration::from_secs(60);

const VERSION: i64 = 1;

const SCHEMA: [&str; 4] = [
    "CREATE TABLE packs (id TEXT PRIMARY KEY, bytes INTEGER NOT NULL, chunks INTEGER NOT NULL, \
     quarantined INTEGER)",
    "CREATE TABLE roots (name TEXT PRIMARY KEY, kind TEXT NOT NULL, pages INTEGER NOT NULL, \
     root BLOB NOT NULL, size INTEGER NOT NULL, parent TEXT, created INTEGER NOT NULL)",
    "CREATE TABLE pins (owner TEXT NOT NULL, pack TEXT, pages INTEGER, root BLOB, \
     expires INTEGER NOT NULL)",
    "PRAGMA user_version = 1",
];

type Result<T> = std::result::Result<T, StoreError>;

/// The index.
#[derive(Debug)]
pub(super) struct Catalog {
    path: PathBuf,
    runtime: Runtime,
    connection: SqliteConnection,
    host: Host,
}

/// A pack that the index knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PackRow {
    pub(super) id: PackId,
    pub(super) bytes: u64,
    pub(super) chunks: u64,
    /// Since when it is in quarantine, in seconds since 1970.
    pub(super) quarantined: Option<u64>,
}

/// What keeps chunks for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PinRow {
    pub(super) owner: String,
    pub(super) pinned: Pinned,
    pub(super) expires_unix_s: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Pinned {
    Pack(PackId),
    Tree(Tree),
}

/// All of the index at one time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Snapshot {
    pub(super) packs: Vec<PackRow>,
    pub(super) roots: Vec<Root>,
    pub(super) pins: Vec<PinRow>,
}

/// What a sweep changes.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Sweep {
    pub(super) quarantine: Vec<PackId>,
    pub(super) rescue: Vec<PackId>,
    pub(super) forget: Vec<PackId>,
}

/// A transaction that has the only right to write.
struct Write<'a> {
    transaction: sqlx::Transaction<'a, sqlx::Sqlite>,
    host: Host,
}

impl Catalog {
    /// Opens the index, or makes it.
    pub(super) fn open(path: &Path, host: &Host) -> Result<Catalog> {
        let fail = |error: &dyn std::fmt::Display| StoreError::Index {
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().map_err(|error| fail(&error))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_LIMIT)
            .disable_statement_logging();
        let connection = runtime.block_on(options.connect()).map_err(|error| fail(&error))?;
        let mut catalog =
            Catalog { path: path.to_owned(), runtime, connection, host: host.clone() };
        catalog.prepare()?;
        Ok(catalog)
    }

    fn prepare(&mut self) -> Result<()> {
        let version = self.write(async |write| {
            let row = sqlx::query("PRAGMA user_version").fetch_one(write.connection()).await?;
            let version: i64 = row.try_get(0)?;
            if version == 0 {
                for statement in SCHEMA {
                    sqlx::query(statement).execute(write.connection()).await?;
                }
                return Ok(VERSION);
            }
            Ok(version)
        })?;
        if version == VERSION {
            return Ok(());
        }
        let problem = format!("its version is {version}, and only {VERSION} is known");
        Err(StoreError::Index { path: self.path.clone(), problem })
    }

    pub(super) fn snapshot(&mut self) -> Result<Snapshot> {
        self.write(async |write| write.snapshot().await)
    }

    pub(super) fn root(&mut self, name: &RootName) -> Result<Option<Root>> {
        self.write(async |write| write.root(name).await)
    }

    /// Begins a session: what it builds on is pinned in the transaction that reads it.
    pub(super) fn begin(
        &mut self,
        owner: &str,
        parent: Option<&RootName>,
        expires_unix_s: u64,
    ) -> Result<Option<Root>> {
        self.write(async |write| {
            let Some(name) = parent else { return Ok(None) };
            let root = write.root(name).await?;
            if let Some(root) = &root {
                let pinned = Pinned::Tree(root.tree);
                write.pin(&PinRow { owner: owner.to_owned(), pinned, expires_unix_s }).await?;
            }
            Ok(root)
        })
    }

    /// Pins a pack for as long as it is there; says whether it is.
    pub(super) fn pin_pack(
        &mut self,
        owner: &str,
        pack: PackId,
        expires_unix_s: u64,
    ) -> Result<bool> {
        self.write(async |write| {
            let live = write
                .packs()
                .await?
                .into_iter()
                .any(|row| row.id == pack && row.quarantined.is_none());
            if live {
                let pinned = Pinned::Pack(pack);
                write.pin(&PinRow { owner: owner.to_owned(), pinned, expires_unix_s }).await?;
            }
            Ok(live)
        })
    }

    pub(super) fn pin_tree(&mut self, owner: &str, tree: Tree, expires_unix_s: u64) -> Result<()> {
        let pin = PinRow { owner: owner.to_owned(), pinned: Pinned::Tree(tree), expires_unix_s };
        self.write(async |write| write.pin(&pin).await)
    }

    /// Removes all pins of an owner.
    pub(super) fn unpin(&mut self, owner: &str) -> Result<()> {
        self.write(async |write| write.unpin(owner).await)
    }

    /// Names a tree, together with the pack that it came in; ends the session. `false` if the
    /// name is taken.
    pub(super) fn adopt(
        &mut self,
        owner: &str,
        pack: Option<&PackRow>,
        root: &Root,
    ) -> Result<bool> {
        self.write(async |write| {
            if write.root(&root.name).await?.is_some() {
                return Ok(false);
            }
            if let Some(pack) = pack {
                write.put_pack(pack).await?;
            }
            write.put_root(root).await?;
            write.unpin(owner).await?;
            Ok(true)
        })
    }

    /// A second name for a tree; `None` if there is no such root, `false` if the name is taken.
    pub(super) fn clone_root(
        &mut self,
        name: &RootName,
        new: &RootName,
        created_unix_s: u64,
    ) -> Result<Option<bool>> {
        self.write(async |write| {
            let Some(root) = write.root(name).await? else { return Ok(None) };
            if write.root(new).await?.is_some() {
                return Ok(Some(false));
            }
            let parent = Some(name.clone());
            write.put_root(&Root { name: new.clone(), parent, created_unix_s, ..root }).await?;
            Ok(Some(true))
        })
    }

    /// Says whether there was such a root.
    pub(super) fn remove_root(&mut self, name: &RootName) -> Result<bool> {
        self.write(async |write| {
            let done = sqlx::query("DELETE FROM roots WHERE name = ?")
                .bind(name.as_str())
                .execute(write.connection())
                .await?;
            Ok(done.rows_affected() > 0)
        })
    }

    /// Adds a pack as one in quarantine, unless it is known.
    pub(super) fn add_stray(&mut self, pack: &PackRow) -> Result<()> {
        self.write(async |write| {
            if !write.packs().await?.iter().any(|row| row.id == pack.id) {
                write.put_pack(pack).await?;
            }
            Ok(())
        })
    }

    /// Reads everything again, lets `decide` say what is to happen, and does it, without anybody
    /// else writing in between.
    pub(super) fn sweep(
        &mut self,
        now_unix_s: u64,
        decide: &mut dyn FnMut(&Snapshot) -> Result<Sweep>,
    ) -> Result<Sweep> {
        let mut refused = None;
        let sweep = self.write(async |write| {
            let snapshot = write.snapshot().await?;
            let sweep = match decide(&snapshot) {
                Ok(sweep) => sweep,
                Err(error) => {
                    refused = Some(error);
                    return Ok(Sweep::default());
                }
            };
            let set = "UPDATE packs SET quarantined = ? WHERE id = ?";
            let since = i64::try_from(now_unix_s).unwrap_or(i64::MAX);
            for (ids, since) in [(&sweep.quarantine, Some(since)), (&sweep.rescue, None)] {
                for id in ids {
                    let query = sqlx::query(set).bind(since).bind(id.to_string());
                    query.execute(write.connection()).await?;
                }
            }
            for id in &sweep.forget {
                let query = sqlx::query("DELETE FROM packs WHERE id = ?").bind(id.to_string());
                query.execute(write.connection()).await?;
            }
            Ok(sweep)
        })?;
        refused.map_or(Ok(sweep), Err)
    }

    fn write<T>(&mut self, work: impl AsyncFnOnce(&mut Write<'_>) -> sqlx::Result<T>) -> Result<T> {
        let (host, connection) = (self.host.clone(), &mut self.connection);
        let done = self.runtime.block_on(async {
            host.step()?;
            let transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
            let mut write = Write { transaction, host: host.clone() };
            let value = work(&mut write).await?;
            write.host.step()?;
            write.transaction.commit().await?;
            Ok(value)
        });
        done.map_err(|error: sqlx::Error| StoreError::Index {
            path: self.path.clone(),
            problem: error.to_string(),
        })
    }
}

impl Write<'_> {
    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    async fn snapshot(&mut self) -> sqlx::Result<Snapshot> {
        let (packs, pins) = (self.packs().await?, self.pins().await?);
        let rows = sqlx::query(
            "SELECT name, kind, pages, root, size, parent, created FROM roots ORDER BY name",
        )
        .fetch_all(self.connection())
        .await?;
        let roots = rows.iter().map(root_of).collect::<sqlx::Result<_>>()?;
        Ok(Snapshot { packs, roots, pins })
    }

    async fn packs(&mut self) -> sqlx::Result<Vec<PackRow>> {
        let rows = sqlx::query("SELECT id, bytes, chunks, quarantined FROM packs ORDER BY rowid")
            .fetch_all(self.connection())
            .await?;
        let pack = |row: &SqliteRow| {
            Ok(PackRow {
                id: pack_id(&row.try_get::<String, _>(0)?)?,
                bytes: number(row, 1)?,
                chunks: number(row, 2)?,
                quarantined: row.try_get::<Option<i64>, _>(3)?.map(|since| since.max(0) as u64),
            })
        };
        rows.iter().map(pack).collect()
    }

    async fn pins(&mut self) -> sqlx::Result<Vec<PinRow>> {
        let rows = sqlx::query("SELECT owner, pack, pages, root, expires FROM pins ORDER BY rowid")
            .fetch_all(self.connection())
            .await?;
        let pin = |row: &SqliteRow| {
            let pinned = match row.try_get::<Option<String>, _>(1)? {
                Some(pack) => Pinned::Pack(pack_id(&pack)?),
                None => Pinned::Tree(tree(row, 2)?),
            };
            Ok(PinRow { owner: row.try_get(0)?, pinned, expires_unix_s: number(row, 4)? })
        };
        rows.iter().map(pin).collect()
    }

    async fn root(&mut self, name: &RootName) -> sqlx::Result<Option<Root>> {
        let row = sqlx::query(
            "SELECT name, kind, pages, root, size, parent, created FROM roots WHERE name = ?",
        )
        .bind(name.as_str())
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(root_of).transpose()
    }

    async fn put_pack(&mut self, pack: &PackRow) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT OR REPLACE INTO packs (id, bytes, chunks, quarantined) VALUES (?,?,?,?)",
        )
        .bind(pack.id.to_string())
        .bind(signed(pack.bytes)?)
        .bind(signed(pack.chunks)?)
        .bind(pack.quarantined.map(signed).transpose()?)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn put_root(&mut self, root: &Root) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO roots (name, kind, pages, root, size, parent, created) \
             VALUES (?,?,?,?,?,?,?)",
        )
        .bind(root.name.as_str())
        .bind(root.kind.label())
        .bind(signed(root.tree.pages)?)
        .bind(&root.tree.root.as_bytes()[..])
        .bind(signed(root.size_bytes)?)
        .bind(root.parent.as_ref().map(RootName::as_str))
        .bind(signed(root.created_unix_s)?)
        .execute(self.connection())
        .await?;
        Ok(())
    }

    async fn pin(&mut self, pin: &PinRow) -> sqlx::Result<()> {
        let (pack, tree) = match &pin.pinned {
            Pinned::Pack(pack) => (Some(pack.to_string()), None),
            Pinned::Tree(tree) => (None, Some(tree)),
        };
        sqlx::query("INSERT INTO pins (owner, pack, pages, root, expires) VALUES (?,?,?,?,?)")
            .bind(&pin.owner)
            .bind(pack)
            .bind(tree.map(|tree| signed(tree.pages)).transpose()?)
            .bind(tree.map(|tree| &tree.root.as_bytes()[..]))
            .bind(signed(pin.expires_unix_s)?)
            .execute(self.connection())
            .await?;
        Ok(())
    }

    async fn unpin(&mut self, owner: &str) -> sqlx::Result<()> {
        let query = sqlx::query("DELETE FROM pins WHERE owner = ?").bind(owner);
        query.execute(self.connection()).await?;
        Ok(())
    }
}

fn root_of(row: &SqliteRow) -> sqlx::Result<Root> {
    let name = |text: String| text.parse::<RootName>().map_err(|error| bad(&error));
    Ok(Root {
        name: name(row.try_get(0)?)?,
        kind: match row.try_get::<String, _>(1)?.as_str() {
            "disk" => RootKind::Disk,
            "ram" => RootKind::Ram,
            other => return Err(bad(&format!("a root of kind {other}"))),
        },
        tree: tree(row, 2)?,
        size_bytes: number(row, 4)?,
        parent: row.try_get::<Option<String>, _>(5)?.map(name).transpose()?,
        created_unix_s: number(row, 6)?,
    })
}

fn tree(row: &SqliteRow, column: usize) -> sqlx::Result<Tree> {
    let root: Vec<u8> = row.try_get(column + 1)?;
    let root = root.try_into().map_err(|_| bad(&"a digest that is not 32 bytes"))?;
    Ok(Tree { pages: number(row, column)?, root: Digest::from_bytes(root) })
}

fn pack_id(text: &str) -> sqlx::Result<PackId> {
    PackId::parse(text).ok_or_else(|| bad(&format!("a pack called {text}")))
}

fn number(row: &SqliteRow, column: usize) -> sqlx::Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|error| bad(&error))
}

fn signed(value: u64) -> sqlx::Result<i64> {
    i64::try_from(value).map_err(|error| bad(&error))
}

fn bad(problem: &dyn std::fmt::Display) -> sqlx::Error {
    sqlx::Error::Decode(problem.to_string().into())
}
