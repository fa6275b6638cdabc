//! Keys that are pressed while it listens, and signals that end it.
//!
//! In a terminal a key counts at once and is not shown; what the terminal was set to comes back at the end.

use std::io::{IsTerminal, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Keys that nobody has looked at yet.
const MAX_KEYS: usize = 8;

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The last delivery once more.
    Again,
    /// All there is to see of it.
    Details,
    /// To end.
    End,
}

/// Where they come from.
pub struct Keys {
    pressed: mpsc::Receiver<Key>,
    signals: Vec<Signal>,
    _before: Option<Before>,
}

/// What the terminal was set to.
struct Before(Termios);

impl Drop for Before {
    fn drop(&mut self) {
        // There is nobody to tell if it fails.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

impl Keys {
    /// Listens to the keyboard, if there is one, and to signals.
    pub fn listen() -> Self {
        let (press, pressed) = mpsc::channel(MAX_KEYS);
        let before = std::io::stdin().is_terminal().then(key_by_key).flatten();
        if before.is_some() {
            std::thread::spawn(move || read(&press));
        }
        let signals = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        Self {
            pressed,
            // Without one, the system ends the program as it ends any.
            signals: signals
                .into_iter()
                .filter_map(|kind| signal(kind).ok())
                .collect(),
            _before: before,
        }
    }

    /// The next one.
    pub async fn next(&mut self) -> Key {
        let signals = &mut self.signals;
        let pressed = &mut self.pressed;
        std::future::poll_fn(|context| {
            let is_signalled = signals
                .iter_mut()
                .any(|signal| signal.poll_recv(context).is_ready());
            if is_signalled {
                return std::task::Poll::Ready(Key::End);
            }
            match pressed.poll_recv(context) {
                std::task::Poll::Ready(Some(key)) => std::task::Poll::Ready(key),
                // Without a keyboard there are signals.
                _ => std::task::Poll::Pending,
            }
        })
        .await
    }

    /// When it is to end.
    pub async fn end(&mut self) {
        while self.next().await != Key::End {}
    }
}

/// Has each key count at once; says what it was like before.
fn key_by_key() -> Option<Before> {
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut now = before.clone();
    now.local_modes
        .remove(LocalModes::ICANON | LocalModes::ECHO);
    tcsetattr(std::io::stdin(), OptionalActions::Now, &now).ok()?;
    Some(Before(before))
}

fn read(press: &mpsc::Sender<Key>) {
    for byte in std::io::stdin().lock().bytes().map_while(Result::ok) {
        let key = match byte {
            b'r' => Key::Again,
            b'd' => Key::Details,
            b'q' => Key::End,
            _ => continue,
        };
        if press.blocking_send(key).is_err() {
            return;
        }
    }
}
