//! Someone else's server: remembers everything that is delivered to it, and answers as it is told.

use std::fmt::Write as _;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Instant;

use http::HeaderMap;
use standardwebhooks::Webhook;

use super::http::{read_body, read_head};
use super::{PATIENCE, eventually};

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Delivery {
    /// A header that must be there, once.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().unwrap_or_else(|| panic!("no {name}"));
        assert!(values.next().is_none(), "{name} comes twice");
        &value.1
    }

    /// The event's uuid.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// Which attempt of its delivery this is.
    pub fn attempt(&self) -> u32 {
        self.header("x-postrider-attempt").parse().unwrap()
    }

    /// Checks the signature with a verifier that is not ours.
    #[track_caller]
    pub fn verify(&self, secret: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let webhook = Webhook::new(secret).unwrap();
        webhook.verify(&self.body, &headers).unwrap();
        let mut forged = self.body.clone();
        forged.push(b' ');
        assert!(webhook.verify(&forged, &headers).is_err());
    }
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A status and further headers.
    Answer(u16, Vec<(&'static str, String)>),
    /// A status and a body.
    Says(u16, Vec<u8>),
    /// The same, but not before [`Receiver::release`].
    Held(u16),
    /// Nothing: the connection is closed.
    HangUp,
    /// Nothing, ever.
    Silence,
}

impl Reply {
    /// A plain status.
    pub fn status(code: u16) -> Self {
        Self::Answer(code, Vec::new())
    }
}

type Script = Box<dyn Fn(&Delivery) -> Reply + Send + Sync>;

struct Shared {
    script: Mutex<Arc<Script>>,
    state: Mutex<State>,
    changed: Condvar,
    remembers: bool,
}

#[derive(Default)]
struct State {
    arrived: Vec<Delivery>,
    released: bool,
    closed: bool,
}

/// A server that listens until it is dropped; its port stays the same however often the relay is
/// restarted.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub fn start() -> Self {
        Self::answering(|_| Reply::status(200))
    }

    /// The same at an address of its own, as soon as nobody else listens there.
    pub fn at(address: SocketAddr) -> Self {
        let listener = eventually(&format!("{address} to be free"), || {
            TcpListener::bind(address).ok()
        });
        Self::on(listener, |_| Reply::status(200), true)
    }

    /// Answers as the script says.
    pub fn answering(script: impl Fn(&Delivery) -> Reply + Send + Sync + 'static) -> Self {
        Self::new(script, true)
    }

    /// The same, and remembers nothing: for loads that would not fit into memory.
    pub fn forgetful(script: impl Fn(&Delivery) -> Reply + Send + Sync + 'static) -> Self {
        Self::new(script, false)
    }

    fn new(script: impl Fn(&Delivery) -> Reply + Send + Sync + 'static, remembers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, script, remembers)
    }

    fn on(
        listener: TcpListener,
        script: impl Fn(&Delivery) -> Reply + Send + Sync + 'static,
        remembers: bool,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(Box::new(script))),
            state: Mutex::default(),
            changed: Condvar::new(),
            remembers,
        });
        let server = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if server.state().closed {
                    break;
                }
                let server = Arc::clone(&server);
                thread::spawn(move || server.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// From now on answers like this.
    pub fn now_answers(&self, script: impl Fn(&Delivery) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(Box::new(script));
    }

    /// Lets go of everything that is held, now and later.
    pub fn release(&self) {
        self.shared.state().released = true;
        self.shared.changed.notify_all();
    }

    /// How many requests have arrived.
    pub fn count(&self) -> usize {
        self.shared.state().arrived.len()
    }

    /// All that has arrived, in the order of arrival.
    pub fn arrived(&self) -> Vec<Delivery> {
        self.shared.state().arrived.clone()
    }

    /// Waits until so many have arrived, and returns all that have.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Delivery> {
        let waited =
            self.shared
                .changed
                .wait_timeout_while(self.shared.state(), PATIENCE, |state| {
                    state.arrived.len() < count
                });
        // Let go of before anything can fail: the receiver is still to be dropped.
        let arrived = waited.unwrap().0.arrived.clone();
        let found = arrived.len();
        assert!(found >= count, "{found} of {count} deliveries arrived");
        arrived
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_all();
        // Wakes the thread that accepts, so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait_while(&self, hold: impl Fn(&State) -> bool) {
        let waited = self
            .changed
            .wait_while(self.state(), |state| hold(state) && !state.closed);
        drop(waited.unwrap());
    }

    /// Serves a connection until it ends.
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(stream);
        while let Some(delivery) = read(&mut stream) {
            let script = Arc::clone(&self.script.lock().unwrap());
            let reply = script(&delivery);
            if self.remembers {
                self.state().arrived.push(delivery);
                self.changed.notify_all();
            }
            let mut body = Vec::new();
            let (status, headers) = match reply {
                Reply::Answer(status, headers) => (status, headers),
                Reply::Says(status, says) => {
                    body = says;
                    (status, Vec::new())
                }
                Reply::Held(status) => {
                    self.wait_while(|state| !state.released);
                    (status, Vec::new())
                }
                Reply::HangUp => return,
                Reply::Silence => return self.wait_while(|_| true),
            };
            let length = body.len();
            let mut head = format!("HTTP/1.1 {status} As told\r\ncontent-length: {length}\r\n");
            for (name, value) in headers {
                write!(head, "{name}: {value}\r\n").unwrap();
            }
            head.push_str("\r\n");
            let answer = [head.as_bytes(), &body].concat();
            if stream.get_mut().write_all(&answer).is_err() {
                return;
            }
        }
    }
}

/// The next request; `None` at the end, or when it was cut off.
fn read(stream: &mut BufReader<TcpStream>) -> Option<Delivery> {
    let (first, headers) = read_head(stream).ok()?;
    let body = read_body(stream, &headers).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    Some(Delivery {
        method: words.next()?,
        path: words.next()?,
        headers,
        body,
        at: Instant::now(),
    })
}
