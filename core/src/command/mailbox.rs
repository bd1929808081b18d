// SPDX-License-Identifier: Apache-2.0
//! The way to the controller.

use std::fmt;

use futures_channel::{mpsc, oneshot};
use futures_util::SinkExt;
use tracing::Span;

use super::{Answer, Failure, Terms, Wish};

/// A wish on its way to the controller.
pub struct Request {
    /// The wish.
    pub wish: Wish,
    /// What is asked beside it.
    pub terms: Terms,
    /// What log lines about it belong to.
    pub span: Span,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Answer, Failure>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("wish", &self.wish).finish_non_exhaustive()
    }
}

/// The way to the controller, for any number of senders.
#[derive(Clone, Debug)]
pub struct Mailbox(mpsc::Sender<Request>);

/// How many requests may wait before senders wait too.
const MAILBOX_CAPACITY: usize = 1024;

/// A mailbox and the end that the main loop reads.
#[must_use]
pub fn mailbox() -> (Mailbox, mpsc::Receiver<Request>) {
    let (sender, receiver) = mpsc::channel(MAILBOX_CAPACITY);
    (Mailbox(sender), receiver)
}

impl Mailbox {
    /// Asks and waits for the answer: it comes once the wish is durable and carried out, or has failed. Dropping the future takes
    /// back the interest in the answer, not the wish.
    ///
    /// # Errors
    /// Why the wish was not granted.
    pub async fn ask(&self, wish: impl Into<Wish>) -> Result<Answer, Failure> {
        self.ask_on(Terms::default(), wish).await
    }

    /// The same on terms.
    ///
    /// # Errors
    /// Why the wish was not granted.
    pub async fn ask_on(&self, terms: Terms, wish: impl Into<Wish>) -> Result<Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        let request = Request { wish: wish.into(), terms, span: Span::current(), answer };
        self.0.clone().send(request).await.map_err(|_| Failure::Stopping)?;
        answered.await.map_err(|_| Failure::Stopping)?
    }
}
