//! Rows as columns: the one place that knows how a type is written into the database.
//!
//! Reading checks: a row that this program cannot have written is an error, not a guess.

use std::error::Error;
use std::str::FromStr;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::ids::SecretHash;
use crate::rows::{AnswerRow, AuditRow, MachineRow, SaidRow, SessionRow, ShareRow};

/// The database counts in signed numbers; what is above (a time in 292 million years) is clamped.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn machine(row: &SqliteRow) -> Result<MachineRow, sqlx::Error> {
    let tags: String = row.try_get("tags")?;
    Ok(MachineRow {
        notes: row.try_get("notes")?,
        tags: serde_json::from_str(&tags).map_err(bad)?,
        clipboard: row.try_get("clipboard")?,
        version: number(row, "version")?,
    })
}

pub(super) fn share(row: &SqliteRow) -> Result<ShareRow, sqlx::Error> {
    let visits: Option<String> = row.try_get("visits")?;
    let visit_of: Option<String> = row.try_get("visit_of")?;
    let published: Option<String> = row.try_get("published")?;
    Ok(ShareRow {
        id: parsed(row, "id")?,
        owner: parsed(row, "owner")?,
        machine: row.try_get("machine")?,
        role: row.try_get("role")?,
        label: row.try_get("label")?,
        secret: SecretHash(hash(row, "secret")?),
        password: row.try_get("password")?,
        past_from_ns: optional_number(row, "past_from_ns")?,
        created_unix_ms: number(row, "created_unix_ms")?,
        expires_unix_ms: optional_number(row, "expires_unix_ms")?,
        revoked_unix_ms: optional_number(row, "revoked_unix_ms")?,
        opened: number(row, "opened")?,
        visits: visits.map(|json| serde_json::from_str(&json).map_err(bad)).transpose()?,
        visit_of: visit_of.map(|id| id.parse().map_err(bad)).transpose()?,
        published: published.map(|json| serde_json::from_str(&json).map_err(bad)).transpose()?,
    })
}

pub(super) fn session(row: &SqliteRow) -> Result<SessionRow, sqlx::Error> {
    let owner: Option<String> = row.try_get("owner")?;
    Ok(SessionRow {
        id: parsed(row, "id")?,
        secret: SecretHash(hash(row, "secret")?),
        owner: owner.map(|owner| owner.parse()).transpose().map_err(bad)?,
        name: row.try_get("name")?,
        hue: number(row, "hue")?,
        created_unix_ms: number(row, "created_unix_ms")?,
        seen_unix_ms: number(row, "seen_unix_ms")?,
    })
}

pub(super) fn audit(row: &SqliteRow) -> Result<AuditRow, sqlx::Error> {
    Ok(AuditRow {
        id: number(row, "id")?,
        at_unix_ms: number(row, "at_unix_ms")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        subject: row.try_get("subject")?,
        detail: row.try_get("detail")?,
    })
}

pub(super) fn said(row: &SqliteRow) -> Result<SaidRow, sqlx::Error> {
    Ok(SaidRow {
        id: number(row, "id")?,
        name: row.try_get("name")?,
        hue: number(row, "hue")?,
        text: row.try_get("body")?,
        at_unix_ms: number(row, "at_unix_ms")?,
        instant_ns: optional_number(row, "instant_ns")?,
    })
}

pub(super) fn answer(row: &SqliteRow) -> Result<AnswerRow, sqlx::Error> {
    let body: String = row.try_get("body")?;
    Ok(AnswerRow {
        request: hash(row, "request")?,
        status: number(row, "status")?,
        body: unhex(&body).ok_or_else(|| bad("the body is not hexadecimal"))?,
    })
}

/// A number that is not negative and fits.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error>
where
    T::Error: Error + Send + Sync + 'static,
{
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(bad)
}

fn optional_number(row: &SqliteRow, column: &str) -> Result<Option<u64>, sqlx::Error> {
    let number: Option<i64> = row.try_get(column)?;
    number.map(u64::try_from).transpose().map_err(bad)
}

pub(super) fn parsed<T: FromStr>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error>
where
    T::Err: Error + Send + Sync + 'static,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(bad)
}

fn hash(row: &SqliteRow, column: &str) -> Result<[u8; 32], sqlx::Error> {
    let text: String = row.try_get(column)?;
    let bytes = unhex(&text).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| bad("a hash is not 64 hexadecimal digits"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}

fn bad(error: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
