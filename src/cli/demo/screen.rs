//! What the demo prints: aligned columns, colour on a terminal, plain in a pipe.

use std::time::Instant;

use super::receiver::Delivery;
use crate::cli::style::Style;
use crate::cli::{CliError, print};

/// Prints, with the time since the start.
pub struct Screen {
    style: Style,
    since: Instant,
}

impl Screen {
    /// A screen with or without colour.
    pub fn new(colour: bool) -> Self {
        Self {
            style: Style::new(colour),
            since: Instant::now(),
        }
    }

    /// What is running.
    pub fn opening(&self, relay: &str, receiver: &str) -> Result<(), CliError> {
        let style = self.style;
        print(&format!(
            "\n{}\n\n  relay      {relay}   {}\n  receiver   {receiver}  {}\n",
            style.strong("Postrider: an event comes in once and reaches everyone who wants it."),
            style.faint("on a fresh store that goes when you leave"),
            style.faint("checks every signature; /flaky fails twice before it recovers"),
        ))
    }

    /// The samples are about to be sent.
    pub fn sending(&self) -> Result<(), CliError> {
        let title = self
            .style
            .strong("Accepted, each one on disk before its uuid came back");
        let head = format!("  {:<20}{:>9}   {}", "EVENT", "BYTES", "UUID");
        print(&format!("\n{title}\n\n{}\n", self.style.faint(&head)))
    }

    /// An event was accepted.
    pub fn accepted(&self, event: &str, bytes: usize, uuid: &str) -> Result<(), CliError> {
        let uuid = self.style.faint(uuid);
        print(&format!("  {event:<20}{bytes:>9}   {uuid}\n"))
    }

    /// The deliveries are about to come.
    pub fn delivering(&self) -> Result<(), CliError> {
        let title = self.style.strong("Delivered, as the receiver saw it");
        let head = format!(
            "  {:>8}  {:<14}{:<20}{:>7}  {:<8}{:<12}{:>9}",
            "TIME", "SUBSCRIPTION", "EVENT", "ATTEMPT", "ANSWER", "SIGNATURE", "BYTES"
        );
        print(&format!("\n{title}\n\n{}\n", self.style.faint(&head)))
    }

    /// Something arrived.
    pub fn delivery(&mut self, delivery: &Delivery) -> Result<(), CliError> {
        let Delivery {
            subscription,
            event,
            attempt,
            bytes,
            ..
        } = delivery;
        // Padded before it is painted: colour codes have no width.
        let answer = format!("{:<8}", delivery.status);
        let answer = if delivery.status == 200 {
            self.style.good(&answer)
        } else {
            self.style.bad(&answer)
        };
        let signature = format!(
            "{:<12}",
            if delivery.verified {
                "verified"
            } else {
                "WRONG"
            }
        );
        let signature = if delivery.verified {
            self.style.good(&signature)
        } else {
            self.style.bad(&signature)
        };
        let time = format!(
            "{:.3}s",
            delivery.arrived.duration_since(self.since).as_secs_f64()
        );
        print(&format!(
            "  {time:>8}  {subscription:<14}{event:<20}{attempt:>7}  {answer}{signature}{bytes:>9}\n"
        ))
    }

    /// It went well.
    pub fn all_arrived(&self, expected: usize) -> Result<(), CliError> {
        let line =
            format!("All {expected} deliveries arrived, every signature verified by the receiver.");
        print(&format!("\n{}\n", self.style.good(&line)))
    }

    /// It was ended early.
    pub fn stopped(&self) -> Result<(), CliError> {
        print(&format!(
            "\n{}\n",
            self.style
                .faint("Stopped before all deliveries had arrived.")
        ))
    }

    /// How to go on by hand.
    pub fn your_turn(
        &self,
        relay: &str,
        integration_key: &str,
        api_key: &str,
    ) -> Result<(), CliError> {
        let title = self
            .style
            .strong("Your turn: paste this in another terminal and watch it arrive here");
        let hint = self.style.faint("Ctrl-C ends the demo.");
        print(&format!(
            "\n{title}\n\n  curl -X POST {relay}/api/webhooks/{integration_key} \\\n    \
             -H \"Content-Type: application/json\" \\\n    -H \"X-API-Key: {api_key}\" \\\n    \
             -d '{{\"event\": \"user.created\", \"data\": {{\"user_id\": 12345, \"email\": \"user@example.com\"}}}}'\n\n\
             {hint}\n\n"
        ))
    }
}
