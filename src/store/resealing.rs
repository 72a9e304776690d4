//! Sealing anew, with the current key, what older keys sealed; and which keys are still needed.

use super::Store;
use super::sealed::Sealed;
use crate::domain::error::Result;

/// How many secrets are sealed with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    pub key_id: String,
    pub builds: i64,
    pub schedules: i64,
}

impl Store {
    /// Counts the secrets of each key, by key id.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn secrets_by_key(&self) -> Result<Vec<KeyUse>> {
        sqlx::query_as!(
            KeyUse,
            r#"SELECT key_id AS "key_id!", sum(builds)::bigint AS "builds!", sum(schedules)::bigint AS "schedules!"
               FROM (SELECT key_id, 1 AS builds, 0 AS schedules FROM build_secrets
                     UNION ALL SELECT request_key_id, 0, 1 FROM schedules) AS sealed
               GROUP BY key_id ORDER BY key_id"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(Into::into)
    }

    /// Seals at most `limit` secrets of older keys anew; how many. 0: nothing that this process can open is left.
    ///
    /// # Errors
    /// When one of them does not open, or the database is away; none of the batch is changed then.
    pub async fn reseal(&self, limit: i64) -> Result<u64> {
        Ok(self.reseal_builds(limit).await? + self.reseal_schedules(limit).await?)
    }

    async fn reseal_builds(&self, limit: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            "SELECT build_id, kind, key_id, nonce, ciphertext FROM build_secrets
             WHERE key_id <> $1 AND key_id = ANY ($2)
             ORDER BY build_id, kind LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
            self.sealer.current_key_id(),
            &self.sealer.key_ids(),
            limit
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let sealed =
                Sealed { key_id: row.key_id.clone(), nonce: row.nonce.clone(), ciphertext: row.ciphertext.clone() };
            let anew = self.sealer.reseal_build(row.build_id, &row.kind, &sealed)?;
            sqlx::query!(
                "UPDATE build_secrets SET key_id = $3, nonce = $4, ciphertext = $5 WHERE build_id = $1 AND kind = $2",
                row.build_id,
                row.kind,
                anew.key_id,
                anew.nonce,
                anew.ciphertext
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    async fn reseal_schedules(&self, limit: i64) -> Result<u64> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query!(
            "SELECT id, request_key_id, request_nonce, request_ciphertext FROM schedules
             WHERE request_key_id <> $1 AND request_key_id = ANY ($2)
             ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
            self.sealer.current_key_id(),
            &self.sealer.key_ids(),
            limit
        )
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            let sealed = Sealed {
                key_id: row.request_key_id.clone(),
                nonce: row.request_nonce.clone(),
                ciphertext: row.request_ciphertext.clone(),
            };
            let anew = self.sealer.reseal_schedule(row.id, &sealed)?;
            sqlx::query!(
                "UPDATE schedules SET request_key_id = $2, request_nonce = $3, request_ciphertext = $4 WHERE id = $1",
                row.id,
                anew.key_id,
                anew.nonce,
                anew.ciphertext
            )
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }
}
