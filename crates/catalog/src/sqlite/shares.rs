//! Writing links.

use sqlx::{Row, Sqlite, Transaction};

use super::columns::{hex, signed};
use crate::rows::{Publication, ShareRow, limits};

/// How many links of an owner are good when a new one is made.
pub(super) async fn good(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &ShareRow,
) -> Result<u64, sqlx::Error> {
    let good = sqlx::query(
        "SELECT COUNT(*) FROM shares WHERE owner = $1 AND revoked_unix_ms IS NULL
         AND (expires_unix_ms IS NULL OR expires_unix_ms > $2)",
    );
    let good = good.bind(new.owner.to_string()).bind(signed(new.created_unix_ms));
    let good: i64 = good.fetch_one(&mut **transaction).await?.try_get(0)?;
    Ok(good.unsigned_abs())
}

/// Links that are over stay for a while, so that whoever opens one learns why; the oldest go.
pub(super) async fn trim(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &ShareRow,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM shares WHERE id IN
             (SELECT id FROM shares WHERE owner = $1 AND
                  (revoked_unix_ms IS NOT NULL OR expires_unix_ms <= $2)
              ORDER BY created_unix_ms DESC, id LIMIT $4 OFFSET $3)",
    )
    .bind(new.owner.to_string())
    .bind(signed(new.created_unix_ms))
    .bind(signed(limits::SHARES_OVER_MAX))
    .bind(signed(limits::SHARES_OVER_MAX))
    .execute(&mut **transaction)
    .await
    .map(drop)
}

/// How a recording is published, as it is written.
pub(super) fn published(how: &Publication) -> Result<String, sqlx::Error> {
    serde_json::to_string(how).map_err(json)
}

fn json(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Encode(error.into())
}

pub(super) async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    share: &ShareRow,
) -> Result<(), sqlx::Error> {
    let visits = share.visits.map(|visits| serde_json::to_string(&visits).map_err(json));
    sqlx::query(
        "INSERT INTO shares (id, owner, machine, role, label, secret, password, past_from_ns,
             created_unix_ms, expires_unix_ms, revoked_unix_ms, opened, visits, visit_of,
             published)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(share.id.to_string())
    .bind(share.owner.to_string())
    .bind(&share.machine)
    .bind(&share.role)
    .bind(&share.label)
    .bind(hex(&share.secret.0))
    .bind(share.password.as_ref())
    .bind(share.past_from_ns.map(signed))
    .bind(signed(share.created_unix_ms))
    .bind(share.expires_unix_ms.map(signed))
    .bind(share.revoked_unix_ms.map(signed))
    .bind(signed(share.opened))
    .bind(visits.transpose()?)
    .bind(share.visit_of.map(|link| link.to_string()))
    .bind(share.published.as_ref().map(published).transpose()?)
    .execute(&mut **transaction)
    .await
    .map(drop)
}
