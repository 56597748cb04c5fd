//! A Consul agent, asked by blocking queries (`?index=&wait=`): it answers when something has changed since an index, or when it has waited
//! long enough. Meanwhile it is asked for signs of life, because a connection on which nothing comes may be dead without anybody knowing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::standing::{AskError, Credential, Question, Server, pause};

/// An agent, and one question that it is asked again and again.
pub struct Consul {
    server: Server,
    token: Option<Credential>,
    /// All of the question but `index` and `wait`, with a `?` in it.
    question: String,
    wait: Duration,
    place: Mutex<Place>,
}

/// Where the last answer stood.
#[derive(Clone, Copy, Default)]
struct Place {
    /// 0 is answered at once.
    index: u64,
    /// Answers in a row that had none.
    unindexed: u32,
}

impl Consul {
    /// The token that Consul's own tools use, if there is one.
    pub fn token_of_environment() -> Option<Credential> {
        let token = Credential::Env(TOKEN_VARIABLE.to_owned());
        token.read().is_ok_and(|found| !found.is_empty()).then_some(token)
    }

    /// `question` is a path with a query; `wait` is how long the agent may wait for a change.
    pub fn new(server: Server, token: Option<Credential>, question: String, wait: Duration) -> Self {
        Self { server, token, question, wait, place: Mutex::default() }
    }

    /// What there is now.
    ///
    /// # Errors
    /// Any [`AskError`]. Then the next [`Self::change`] begins anew.
    pub async fn read(&self) -> Result<Bytes, AskError> {
        self.ask(0).await
    }

    /// What there is once it has changed, or may have.
    ///
    /// # Errors
    /// The same.
    pub async fn change(&self) -> Result<Bytes, AskError> {
        let Place { index, unindexed } = *self.place();
        if index == 0 {
            // A question without one is answered at once: not to be asked without end.
            tokio::time::sleep(pause(unindexed)).await;
            return self.ask(0).await;
        }
        let silence = tokio::select! {
            answer = self.ask(index) => return answer,
            silence = self.silence() => silence,
        };
        self.place().index = 0;
        silence?;
        self.ask(0).await
    }

    async fn ask(&self, index: u64) -> Result<Bytes, AskError> {
        let (question, wait) = match index {
            0 => (self.question.clone(), Duration::ZERO),
            _ => (format!("{}&index={index}&wait={}s", self.question, self.wait.as_secs()), longest(self.wait)),
        };
        let answer = self.answer(&question, wait).await;
        let mut place = self.place();
        match &answer {
            Ok((headers, _)) => {
                place.index = next_index(index, headers);
                place.unindexed = if place.index == 0 { place.unindexed.saturating_add(1) } else { 0 };
            }
            Err(_) => place.index = 0,
        }
        answer.map(|(_, body)| body)
    }

    async fn answer(&self, question: &str, wait: Duration) -> Result<(HeaderMap, Bytes), AskError> {
        let token = self.token.as_ref().map(Credential::read).transpose()?;
        let asked = Question::get(question).showing(TOKEN_FIELD, token.as_deref())?;
        self.server.ask(asked, wait).await
    }

    /// Comes when the agent gives no sign of life: well, where another one does in its place.
    async fn silence(&self) -> Result<(), AskError> {
        let turn = self.server.turn();
        while turn == self.server.turn() {
            tokio::time::sleep(self.server.patience()).await;
            self.answer("/v1/status/leader", Duration::ZERO).await?;
        }
        Ok(())
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index to ask by after this answer to a question by `last`. By Consul's own rules, one that is missing, 0 or goes backwards means
/// to begin anew.
fn next_index(last: u64, headers: &HeaderMap) -> u64 {
    let index = headers.get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok()).unwrap_or(0);
    if index < last { 0 } else { index }
}

/// How long Consul may take that is asked to wait: it adds up to a sixteenth, so that not all who ask come back at once.
fn longest(wait: Duration) -> Duration {
    wait + wait / 16
}

const TOKEN_VARIABLE: &str = "CONSUL_HTTP_TOKEN";
const TOKEN_FIELD: HeaderName = HeaderName::from_static("x-consul-token");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_backwards_begins_anew() {
        let answered = |index: &str| {
            HeaderMap::from_iter([("x-consul-index".parse().expect("a name"), index.parse().expect("a value"))])
        };
        for (last, told, next) in [(0, "7", 7), (7, "9", 9), (7, "7", 7), (9, "3", 0), (9, "x", 0)] {
            assert_eq!(next_index(last, &answered(told)), next);
        }
        assert_eq!(next_index(5, &HeaderMap::new()), 0);
    }
}
