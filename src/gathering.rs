//! Questions that many ask at about the same time, put together in one. Nobody gets an old answer: what is asked while an
//! answer is on its way waits for the next one, so each answer comes of asking that began after the question.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

/// Questions of one kind. Nothing runs in the background: whoever waits for an answer drives it, and when the last of them
/// gives up, so does the asking.
pub struct Gathering<Q, A> {
    /// From the beginning of one asking to the next.
    pause: Duration,
    /// What waits for the next asking.
    open: Mutex<Option<Open<Q, A>>>,
    /// Held by the asking under way; when the last one began.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

struct Open<Q, A> {
    questions: Vec<Q>,
    answer: Shared<BoxFuture<'static, A>>,
}

impl<Q, A> Gathering<Q, A>
where
    Q: Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    /// `pause`: at the least so long from the beginning of one asking to that of the next; the first is never late.
    #[must_use]
    pub fn new(pause: Duration) -> Arc<Self> {
        Arc::new(Self { pause, open: Mutex::default(), turn: tokio::sync::Mutex::default() })
    }

    /// The answer to this question and to all others that wait. `ask` gets them all, in the order in which they came; every
    /// caller's must do the same, because the one of the first is used.
    pub async fn ask<F>(self: &Arc<Self>, question: Q, ask: impl FnOnce(Vec<Q>) -> F + Send + 'static) -> A
    where
        F: Future<Output = A> + Send + 'static,
    {
        let answer = {
            let mut open = self.open();
            let waiting = open.get_or_insert_with(|| Open {
                questions: Vec::new(),
                answer: self.clone().when_due(ask).boxed().shared(),
            });
            waiting.questions.push(question);
            waiting.answer.clone()
        };
        answer.await
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open().is_none() && self.turn.try_lock().is_ok()
    }

    async fn when_due<F>(self: Arc<Self>, ask: impl FnOnce(Vec<Q>) -> F + Send + 'static) -> A
    where
        F: Future<Output = A> + Send + 'static,
    {
        let mut last = self.turn.lock().await;
        if let Some(began) = *last {
            tokio::time::sleep_until(began + self.pause).await;
        }
        *last = Some(Instant::now());
        // From here on questions wait for the next asking.
        let questions = self.open().take().map(|open| open.questions).unwrap_or_default();
        ask(questions).await
    }

    fn open(&self) -> MutexGuard<'_, Option<Open<Q, A>>> {
        // It is whole at every instant, so a panic elsewhere does not spoil it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    /// What was asked, each time; an answer takes 100 ms and is the number of askings so far.
    #[derive(Clone, Default)]
    struct Oracle(Arc<Mutex<Vec<Vec<u32>>>>);

    impl Oracle {
        async fn ask(&self, gathering: &Arc<Gathering<u32, usize>>, question: u32) -> usize {
            let asked = self.0.clone();
            let ask = |mut questions: Vec<u32>| async move {
                questions.sort_unstable();
                let number = {
                    let mut asked = asked.lock().unwrap();
                    asked.push(questions);
                    asked.len()
                };
                tokio::time::sleep(Duration::from_millis(100)).await;
                number
            };
            gathering.ask(question, ask).await
        }

        fn asked(&self) -> Vec<Vec<u32>> {
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_question_is_asked_at_once() {
        let (oracle, gathering) = (Oracle::default(), Gathering::new(PAUSE));
        let began = Instant::now();
        assert_eq!(oracle.ask(&gathering, 7).await, 1);
        assert_eq!(began.elapsed(), Duration::from_millis(100));
        assert!(gathering.is_idle());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_while_an_answer_is_on_its_way_is_asked_together_and_anew() {
        let (oracle, gathering) = (Oracle::default(), Gathering::new(PAUSE));
        let began = Instant::now();
        let late = async |question| {
            tokio::time::sleep(Duration::from_millis(50)).await;
            oracle.ask(&gathering, question).await
        };
        let answers = tokio::join!(oracle.ask(&gathering, 1), late(2), late(3));
        assert_eq!(answers, (1, 2, 2), "an answer that was on its way is none to a later question");
        assert_eq!(oracle.asked(), [vec![1], vec![2, 3]]);
        assert_eq!(began.elapsed(), PAUSE + Duration::from_millis(100));
    }

    #[tokio::test(start_paused = true)]
    async fn questions_are_answered_though_those_who_asked_first_gave_up() {
        let (oracle, gathering) = (Oracle::default(), Gathering::new(PAUSE));
        oracle.ask(&gathering, 1).await;
        // In its pause, and in the middle of being asked.
        for patience in [Duration::from_millis(10), PAUSE.saturating_sub(Duration::from_millis(60))] {
            tokio::time::timeout(patience, oracle.ask(&gathering, 2)).await.unwrap_err();
        }
        assert_eq!(oracle.ask(&gathering, 3).await, 3);
        assert_eq!(oracle.asked(), [vec![1], vec![2, 2], vec![3]]);
    }
}
