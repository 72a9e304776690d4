//! "Which image is approved?", the question every deployment asks, answered from memory and still never stale. An answer
//! takes into account every promotion that was committed, on any server, before the question came: the schema counts changes
//! of what is approved in one row, and each question waits for a look at that count which began after it. Questions that
//! wait at the same time share one look, so their number hardly matters to the database. `index` holds what the stages point
//! to and looks things up, `misses` says why nothing was found. See docs/decisions/0009.

pub mod index;
mod misses;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use super::Store;
use crate::domain::error::{Error, Result};
use crate::domain::ids::ImageId;
use index::{ApprovedQuery, Entry, Found, Index};

pub use misses::{Miss, Suggest};

/// Pointers that are read at once.
const CHUNK: usize = 1_000;

/// What the stages of this installation point to.
#[derive(Clone)]
pub struct ApprovedImages(Arc<Inner>);

struct Inner {
    store: Store,
    /// Counts questions.
    questions: AtomicU64,
    /// Held by whoever looks; has the number of the first question that no look covers yet.
    covered: Arc<Mutex<u64>>,
    index: RwLock<Index>,
}

impl ApprovedImages {
    #[must_use]
    pub fn new(store: Store) -> Self {
        let (questions, covered) = (AtomicU64::new(0), Arc::default());
        Self(Arc::new(Inner { store, questions, covered, index: RwLock::default() }))
    }

    /// The approved image: of those that match, the one that was promoted last.
    ///
    /// # Errors
    /// When the database is away. That nothing matches is no error: then the misses say why.
    pub async fn find(&self, query: &ApprovedQuery, suggest: Suggest) -> Result<Result<Found, Vec<Miss>>> {
        self.refresh().await?;
        let index = self.0.index.read().unwrap_or_else(PoisonError::into_inner);
        Ok(index.find(query).ok_or_else(|| misses::explain(&index, query, suggest)))
    }

    /// Waits for a look at the database that begins from now on, and takes over what has changed. Also done once at the start
    /// of a server, so that the first question does not wait for all pointers.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn refresh(&self) -> Result<()> {
        let question = self.0.questions.fetch_add(1, Ordering::SeqCst);
        let covered = self.0.covered.clone().lock_owned().await;
        if question < *covered {
            return Ok(());
        }
        // A task of its own: a client that does not wait for the answer must not undo a long look that others wait for.
        let look = tokio::spawn(self.0.clone().look(covered));
        look.await.map_err(|error| Error::internal(format!("a look at what is approved ended: {error}")))?
    }
}

impl Inner {
    async fn look(self: Arc<Self>, mut covered: OwnedMutexGuard<u64>) -> Result<()> {
        // All who asked until here are served by the look that begins now.
        let upto = self.questions.load(Ordering::SeqCst);
        let known = self.index.read().unwrap_or_else(PoisonError::into_inner).clock();
        let clock = sqlx::query_scalar!("SELECT value FROM approval_clock").fetch_one(&self.store.pool).await?;
        if clock < known {
            // The database was restored, or a standby that had not seen all took over: nothing known counts any more.
            tracing::warn!(known, clock, "the database has gone back in time; reading again what is approved");
            *self.index.write().unwrap_or_else(PoisonError::into_inner) = Index::default();
            self.take_over(0).await?;
        } else if clock != known {
            self.take_over(known).await?;
        }
        *covered = upto;
        Ok(())
    }

    /// Reads the pointers that changed after `known`. They were committed in the order of their numbers, so whoever sees one
    /// sees all before it.
    async fn take_over(&self, known: i64) -> Result<()> {
        let changed = sqlx::query!(
            "SELECT family, stage, image_id, generation, since, changed FROM stage_pointers
             WHERE changed > $1 ORDER BY changed",
            known
        )
        .fetch_all(&self.store.pool)
        .await?;
        let Some(newest) = changed.last().map(|pointer| pointer.changed) else { return Ok(()) };
        let ids: Vec<Uuid> = changed.iter().filter_map(|pointer| pointer.image_id).collect();
        let mut images = std::collections::HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(CHUNK) {
            let chunk: Vec<ImageId> = chunk.iter().copied().map(ImageId).collect();
            for image in self.store.images_by_id(&chunk).await? {
                images.insert(image.id.0, Arc::new(image));
            }
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for pointer in changed {
            let image = pointer.image_id.and_then(|id| images.get(&id).cloned());
            let entry = image.map(|image| Entry {
                stage: pointer.stage.clone(),
                generation: pointer.generation,
                since: pointer.since,
                image,
            });
            index.set(&pointer.stage, &pointer.family, entry);
        }
        index.set_clock(newest);
        Ok(())
    }
}
