//! Moving images through the stages. A move is one transaction: history, pointer, events, audit, and what the tag
//! reconciler has to do. Moves of one family go one after the other, by the lock of its row. Who decided on the ground of
//! something that has changed meanwhile is told so, and nothing happens.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::audit::{self, Deed};
use super::error::violated_unique;
use super::idempotency::AnswerKey;
use super::stages::{StageChange, one_change};
use super::text::{parse, storable, storable_json};
use super::transition::image_event;
use super::{Actor, Store};
use crate::domain::error::{Error, ErrorKind, Result};
use crate::domain::ids::ImageId;
use crate::domain::stage::{Candidate, HistoryLine, StageAction, StageOrder, check_promotion, rollback_target};

/// What goes with a move.
#[derive(Clone, Copy, Default)]
pub struct MoveRequest<'a> {
    pub comment: Option<&'a str>,
    /// The pointer's generation that the caller decided on; 0: there has been none. `None`: the one at the request's begin.
    pub expected_generation: Option<i64>,
    pub idempotency: Option<&'a AnswerKey<'a, StageChange>>,
}

/// A pointer as it is under the family's lock.
#[derive(Debug, Default)]
struct Pointer {
    /// 0: the stage never held anything of this family.
    generation: i64,
    image: Option<ImageId>,
    number: Option<i64>,
}

/// A move that was decided on.
struct Move<'a> {
    action: StageAction,
    family: &'a str,
    stage: &'a str,
    image: Option<ImageId>,
    restores: Option<i64>,
}

impl Store {
    /// Promotes an image (by its id or an AMI's) to a stage.
    ///
    /// # Errors
    /// `image-not-found`, `stage-unknown`; as conflicts what [`check_promotion`] says and `stage-moved`, when the stage
    /// changed in between; or the database is away.
    pub async fn promote(
        &self,
        order: &StageOrder,
        image: &str,
        to: &str,
        request: MoveRequest<'_>,
        actor: &Actor,
    ) -> Result<StageChange> {
        order.position(to)?;
        let image = self.image(image).await?;
        let seen = self.seen_generation(&image.family, to, request).await?;
        let mut tx = self.begin().await?;
        let pointer = begin_move(&mut tx, &image.family, to, seen, request, actor, self.now()).await?;
        let candidate = candidate(&mut tx, image.id).await?;
        check_promotion(order, &candidate, to, pointer.number)?;
        let wanted = Move {
            action: StageAction::Promote,
            family: &image.family,
            stage: to,
            image: Some(image.id),
            restores: None,
        };
        let change = carry_out(&mut tx, &wanted, &pointer, request, actor, self.now()).await?;
        tx.commit().await?;
        Ok(change)
    }

    /// Takes an image out of a stage, which then holds nothing of its family. `from` `None`: the highest that holds it.
    ///
    /// # Errors
    /// `image-not-found`, `stage-unknown`; `stage-not-held`, `stage-moved`; or the database is away.
    pub async fn demote(
        &self,
        order: &StageOrder,
        image: &str,
        from: Option<&str>,
        request: MoveRequest<'_>,
        actor: &Actor,
    ) -> Result<StageChange> {
        let image = self.image(image).await?;
        let name = format!("{} #{}", image.family, image.number);
        let held = order.sort(&image.stages);
        let stage = match from {
            Some(stage) => {
                order.position(stage)?;
                stage.to_owned()
            }
            None => held.last().cloned().ok_or_else(|| {
                Error::conflict("stage-not-held", format!("{name} is in no stage, so it can't be demoted."))
            })?,
        };
        let seen = self.seen_generation(&image.family, &stage, request).await?;
        let mut tx = self.begin().await?;
        let pointer = begin_move(&mut tx, &image.family, &stage, seen, request, actor, self.now()).await?;
        if pointer.image != Some(image.id) {
            let holds = pointer.number.map_or_else(|| "nothing".to_owned(), |number| format!("#{number}"));
            let public = format!("{name} is not in {stage}, which holds {holds} of {}.", image.family);
            return Err(Error::conflict("stage-not-held", public));
        }
        let wanted =
            Move { action: StageAction::Demote, family: &image.family, stage: &stage, image: None, restores: None };
        let change = carry_out(&mut tx, &wanted, &pointer, request, actor, self.now()).await?;
        tx.commit().await?;
        Ok(change)
    }

    /// Goes back to what the stage held before.
    ///
    /// # Errors
    /// `stage-unknown`, `family-not-found`; `rollback-impossible`, `stage-moved`; or the database is away.
    pub async fn rollback(
        &self,
        order: &StageOrder,
        stage: &str,
        family: &str,
        request: MoveRequest<'_>,
        actor: &Actor,
    ) -> Result<StageChange> {
        order.position(stage)?;
        let seen = self.seen_generation(family, stage, request).await?;
        let mut tx = self.begin().await?;
        let pointer = begin_move(&mut tx, family, stage, seen, request, actor, self.now()).await?;
        let (history, usable) = history(&mut tx, family, stage).await?;
        let target = rollback_target(&history, |image| usable.contains(&image.0));
        let Some((line, image)) = target else {
            let public = format!(
                "There is nothing to go back to: {stage} held no other image of {family} before that still has an AMI."
            );
            return Err(Error::conflict("rollback-impossible", public));
        };
        let wanted =
            Move { action: StageAction::Rollback, family, stage, image: Some(image), restores: Some(line.generation) };
        let change = carry_out(&mut tx, &wanted, &pointer, request, actor, self.now()).await?;
        tx.commit().await?;
        Ok(change)
    }

    /// The generation that the caller decides on: what it says, or what it would see now, before it waits for anybody.
    async fn seen_generation(&self, family: &str, stage: &str, request: MoveRequest<'_>) -> Result<i64> {
        if let Some(expected) = request.expected_generation {
            return Ok(expected);
        }
        let seen = sqlx::query_scalar!(
            "SELECT generation FROM stage_pointers WHERE family = $1 AND stage = $2",
            family,
            stage
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(seen.unwrap_or(0))
    }
}

/// Promotes an image that has just been built to the stages that its run names, from the first of the order to the last. Where
/// it may not go, its history says why, and that ends it: later stages would be skipped to.
pub(super) async fn follow_channels(
    connection: &mut PgConnection,
    image: ImageId,
    stages: &[String],
    actor: &Actor,
    at: DateTime<Utc>,
) -> Result<()> {
    let order = StageOrder::new(stages.to_vec()).map_err(Error::internal)?;
    let request = MoveRequest { comment: Some("channels of the template"), ..MoveRequest::default() };
    let family =
        sqlx::query_scalar!("SELECT family FROM images WHERE id = $1", image.0).fetch_one(&mut *connection).await?;
    for stage in stages {
        let (pointer, _) = locked_pointer(connection, &family, stage).await?;
        let candidate = candidate(connection, image).await?;
        if let Err(refused) = check_promotion(&order, &candidate, stage, pointer.number) {
            let data = storable_json(json!({"stage": stage, "code": refused.code, "comment": refused.public}));
            return image_event(connection, image.0, at, "not_promoted", &actor.principal, &data).await;
        }
        let wanted = Move { action: StageAction::Promote, family: &family, stage, image: Some(image), restores: None };
        carry_out(connection, &wanted, &pointer, request, actor, at).await?;
    }
    Ok(())
}

/// Takes the idempotency key and the family's lock, and reads the pointer.
async fn begin_move(
    connection: &mut PgConnection,
    family: &str,
    stage: &str,
    seen: i64,
    request: MoveRequest<'_>,
    actor: &Actor,
    now: DateTime<Utc>,
) -> Result<Pointer> {
    if let Some(key) = request.idempotency {
        key.reserve(connection, &actor.principal, now).await?;
    }
    let (pointer, moved_by) = locked_pointer(connection, family, stage).await?;
    if pointer.generation != seen {
        let now_there = moved_by.map_or_else(
            || "it never held anything".to_owned(),
            |(action, principal)| {
                let holds = pointer.number.map_or_else(|| "nothing".to_owned(), |number| format!("#{number}"));
                format!("it holds {holds} since a {action} by {principal}")
            },
        );
        let public = format!(
            "{stage} of {family} has moved on: generation {}, not {seen}; {now_there}. \
             Look at it, and ask again if you still want this.",
            pointer.generation
        );
        return Err(Error::conflict("stage-moved", public));
    }
    Ok(pointer)
}

/// Takes the family's lock and reads the pointer, and by what and whom it was moved last.
async fn locked_pointer(
    connection: &mut PgConnection,
    family: &str,
    stage: &str,
) -> Result<(Pointer, Option<(String, String)>)> {
    sqlx::query_scalar!("SELECT name FROM families WHERE name = $1 FOR NO KEY UPDATE", family)
        .fetch_optional(&mut *connection)
        .await?
        .ok_or_else(|| Error::not_found("family-not-found", format!("There is no image family {family:?}.")))?;
    let pointer = sqlx::query!(
        r#"SELECT p.generation, p.image_id, i.number AS "number?", h.principal, h.action
           FROM stage_pointers p
           JOIN stage_history h ON h.family = p.family AND h.stage = p.stage AND h.generation = p.generation
           LEFT JOIN images i ON i.id = p.image_id
           WHERE p.family = $1 AND p.stage = $2"#,
        family,
        stage
    )
    .fetch_optional(connection)
    .await?;
    Ok(match pointer {
        None => (Pointer::default(), None),
        Some(row) => {
            let (image, number) = (row.image_id.map(ImageId), row.number);
            (Pointer { generation: row.generation, image, number }, Some((row.action, row.principal)))
        }
    })
}

async fn candidate(connection: &mut PgConnection, image: ImageId) -> Result<Candidate> {
    let row = sqlx::query!(
        r#"SELECT family, number, state,
                  EXISTS (SELECT 1 FROM image_copies WHERE image_id = $1 AND state = 'available') AS "available!",
                  ARRAY(SELECT stage FROM stage_pointers WHERE image_id = $1) AS "holds!",
                  ARRAY(SELECT DISTINCT stage FROM stage_history WHERE image_id = $1) AS "held!"
           FROM images WHERE id = $1"#,
        image.0
    )
    .fetch_one(connection)
    .await?;
    Ok(Candidate {
        family: row.family,
        number: row.number,
        state: parse("image state", &row.state)?,
        available: row.available,
        holds: row.holds,
        held: row.held,
    })
}

/// A stage's history in order, and which of its images still have an AMI.
async fn history(connection: &mut PgConnection, family: &str, stage: &str) -> Result<(Vec<HistoryLine>, Vec<Uuid>)> {
    let rows = sqlx::query!(
        r#"SELECT h.generation, h.action, h.image_id, h.restores,
                  EXISTS (SELECT 1 FROM image_copies c WHERE c.image_id = h.image_id AND c.state = 'available') AS "usable!"
           FROM stage_history h
           WHERE h.family = $1 AND h.stage = $2
           ORDER BY h.generation"#,
        family,
        stage
    )
    .fetch_all(connection)
    .await?;
    let usable = rows.iter().filter(|row| row.usable).filter_map(|row| row.image_id).collect();
    let lines = rows.into_iter().map(|row| {
        Ok(HistoryLine {
            generation: row.generation,
            action: parse("stage action", &row.action)?,
            image: row.image_id.map(ImageId),
            restores: row.restores,
        })
    });
    Ok((lines.collect::<Result<_>>()?, usable))
}

async fn carry_out(
    connection: &mut PgConnection,
    wanted: &Move<'_>,
    before: &Pointer,
    request: MoveRequest<'_>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> Result<StageChange> {
    let generation = before.generation + 1;
    let comment = request.comment.map(storable);
    sqlx::query!(
        "INSERT INTO stage_history (family, stage, generation, action, image_id, previous_image_id, restores, principal,
                                    comment, request_id, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        wanted.family,
        wanted.stage,
        generation,
        wanted.action.as_str(),
        wanted.image.map(|image| image.0),
        before.image.map(|image| image.0),
        wanted.restores,
        actor.principal,
        comment.as_deref(),
        actor.request_id,
        at
    )
    .execute(&mut *connection)
    .await
    .map_err(|error| match violated_unique(&error) {
        // The family's lock prevents it; the schema has the last word.
        Some("stage_history_pkey") => Error::new(
            ErrorKind::Conflict,
            "stage-moved",
            format!(
                "{} of {} was moved by somebody else at the same time; look at it first.",
                wanted.stage, wanted.family
            ),
        ),
        _ => error.into(),
    })?;
    set_pointer(connection, wanted, generation, at).await?;
    note_events(connection, wanted, before, generation, request, actor, at).await?;
    let change = one_change(connection, wanted.family, wanted.stage, generation).await?;
    let change = change.ok_or_else(|| Error::internal("a stage's change is not in its history"))?;
    let describe = |image: Option<(ImageId, i64)>| match image {
        Some((id, number)) => json!({"image_id": id, "number": number}),
        None => json!(null),
    };
    let after = change.image.as_ref().map(|image| (image.id, image.number));
    let deed = Deed {
        action: &format!("image.{}", wanted.action),
        subject: format!("stage/{}/{}", wanted.stage, wanted.family),
        before: Some(json!({"generation": before.generation, "image": describe(before.image.zip(before.number))})),
        after: Some(json!({"generation": generation, "image": describe(after), "comment": comment})),
    };
    audit::write(connection, at, actor, deed).await?;
    if let Some(key) = request.idempotency {
        key.fill(connection, &actor.principal, &change).await?;
    }
    Ok(change)
}

/// Two statements and no upsert: the guard looks at inserts before their conflict is known.
async fn set_pointer(
    connection: &mut PgConnection,
    wanted: &Move<'_>,
    generation: i64,
    at: DateTime<Utc>,
) -> Result<()> {
    let image = wanted.image.map(|image| image.0);
    let moved = sqlx::query!(
        "UPDATE stage_pointers SET image_id = $3, generation = $4, since = $5 WHERE family = $1 AND stage = $2",
        wanted.family,
        wanted.stage,
        image,
        generation,
        at
    )
    .execute(&mut *connection)
    .await?;
    if moved.rows_affected() == 0 {
        sqlx::query!(
            "INSERT INTO stage_pointers (family, stage, image_id, generation, since, changed)
             VALUES ($1, $2, $3, $4, $5, 0)",
            wanted.family,
            wanted.stage,
            image,
            generation,
            at
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Says in both images' histories what happened, and queues both for the tag reconciler.
async fn note_events(
    connection: &mut PgConnection,
    wanted: &Move<'_>,
    before: &Pointer,
    generation: i64,
    request: MoveRequest<'_>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> Result<()> {
    let data = json!({"stage": wanted.stage, "generation": generation, "comment": request.comment});
    let data = storable_json(data);
    if let Some(image) = wanted.image {
        let event = if wanted.action == StageAction::Rollback { "restored" } else { "promoted" };
        image_event(connection, image.0, at, event, &actor.principal, &data).await?;
        queue_tags(connection, image, at).await?;
    }
    if let Some(image) = before.image {
        let event = match wanted.action {
            StageAction::Promote => "replaced",
            StageAction::Demote => "demoted",
            StageAction::Rollback => "rolled_back",
        };
        image_event(connection, image.0, at, event, &actor.principal, &data).await?;
        queue_tags(connection, image, at).await?;
    }
    Ok(())
}

async fn queue_tags(connection: &mut PgConnection, image: ImageId, at: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "INSERT INTO image_tag_sync (image_id, since, next_try_at) VALUES ($1, $2, $2)
         ON CONFLICT (image_id) DO UPDATE
         SET wanted = image_tag_sync.wanted + 1, tries = 0, last_error = NULL, next_try_at = EXCLUDED.next_try_at",
        image.0,
        at
    )
    .execute(connection)
    .await?;
    Ok(())
}
