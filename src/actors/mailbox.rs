//! The way to an actor: a mailbox that takes a bounded number of messages, and counts them.
//!
//! A full mailbox is an answer and never a loss: the message comes back to who sent it.

use std::fmt;

use actix::dev::ToEnvelope;
use actix::prelude::SendError;
use actix::{Actor, Addr, Handler, Message};

use super::metrics::{MailboxMeter, Waits};

/// See the module. Clones lead to the same actor.
pub struct Mailbox<A: Actor> {
    addr: Addr<A>,
    meter: MailboxMeter,
}

/// A message on its way.
#[derive(Debug)]
pub struct Mail<M> {
    message: M,
    _waits: Waits,
}

impl<A: Actor> Clone for Mailbox<A> {
    fn clone(&self) -> Self {
        Self {
            addr: self.addr.clone(),
            meter: self.meter.clone(),
        }
    }
}

impl<A: Actor> fmt::Debug for Mailbox<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mailbox").field(&self.meter).finish()
    }
}

impl<A: Actor> Mailbox<A> {
    /// That of this actor, counted by this meter.
    pub fn new(addr: Addr<A>, meter: MailboxMeter) -> Self {
        Self { addr, meter }
    }

    /// Posts a message. It comes back where the mailbox is full, or the actor has ended.
    pub fn post<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: Send + 'static,
        A: Handler<Mail<M>>,
        A::Context: ToEnvelope<A, Mail<M>>,
    {
        let mail = Mail {
            message,
            _waits: self.meter.waits(),
        };
        self.addr.try_send(mail).map_err(|error| match error {
            SendError::Full(mail) => {
                self.meter.refused();
                SendError::Full(mail.open())
            }
            SendError::Closed(mail) => SendError::Closed(mail.open()),
        })
    }

    /// Counts something that is not even posted, because what waits already is too much.
    pub fn refuse(&self) {
        self.meter.refused();
    }
}

impl<M> Mail<M> {
    /// The message, which waits no longer.
    pub fn open(self) -> M {
        self.message
    }
}

impl<M> Message for Mail<M> {
    type Result = ();
}

#[cfg(test)]
mod tests {
    use actix::{AsyncContext, Context};
    use tokio::sync::oneshot;

    use super::*;
    use crate::actors::metrics::{Mailed, Metrics};

    /// Takes one message, waits until it may go on, and counts those that come after.
    struct Slow(Option<oneshot::Receiver<()>>, usize);

    impl Actor for Slow {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.set_mailbox_capacity(1);
        }
    }

    struct Work;

    impl Handler<Mail<Work>> for Slow {
        type Result = ();

        fn handle(&mut self, mail: Mail<Work>, ctx: &mut Self::Context) {
            let Work = mail.open();
            self.1 += 1;
            if let Some(go_on) = self.0.take() {
                ctx.wait(actix::fut::wrap_future(async {
                    let _ = go_on.await;
                }));
            }
        }
    }

    #[actix::test]
    async fn what_waits_is_counted_until_it_is_handled_and_what_is_refused_comes_back() {
        let metrics = Metrics::new().unwrap();
        let meter = metrics.mailbox(Mailed::Queue);
        let (go_on, may_go_on) = oneshot::channel();
        let mailbox = Mailbox::new(Slow(Some(may_go_on), 0).start(), meter.clone());
        let waiting = || meter.counts().0;
        // The actor has not begun, and takes as many as there is room for.
        let mut taken = 0;
        let refused = loop {
            match mailbox.post(Work) {
                Ok(()) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, SendError::Full(Work)));
        assert_eq!(meter.counts(), (taken, 1));

        go_on.send(()).unwrap();
        while waiting() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(mailbox.post(Work).is_ok());
        assert_eq!(waiting(), 1);
        mailbox.refuse();
        assert_eq!(meter.counts().1, 2);
    }
}
