//! What receivers can do to the client, and what it says of it.

mod tls;

use std::io;
use std::sync::Mutex;

use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::outbound::Timing;
use crate::outbound::connector::{Lookup, Resolve};

const LOOPBACK: &str = "127.0.0.0/8";

/// Stands among a script's addresses for a look-up that does not come back.
const NEVER: &str = "never";

/// Answers each look-up with the last address left, then with an error.
struct Scripted(Mutex<Vec<&'static str>>);

impl Resolve for Scripted {
    fn resolve(&self, _: String) -> Lookup {
        let next = self.0.lock().unwrap().pop();
        Box::pin(async move {
            match next {
                Some(NEVER) => std::future::pending().await,
                Some(ip) => Ok(vec![ip.parse().unwrap()]),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        })
    }
}

fn guard(allow: &str) -> Arc<Guard> {
    Arc::new(Guard::new(vec![allow.parse().unwrap()]))
}

fn sockets() -> Sockets {
    Sockets::new(64)
}

fn scripted(allow: &str, addresses: &[&'static str]) -> Client {
    let resolver = Scripted(Mutex::new(addresses.to_vec()));
    let connector = Connector::new(guard(allow), resolver, sockets());
    Client::over(connector, trust_in_public_authorities().unwrap())
}

fn outgoing(url: &str) -> Outgoing {
    Outgoing {
        method: Method::POST,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
        timeout: Duration::from_secs(10),
    }
}

async fn post(url: &str) -> Result<Reply, SendError> {
    let client = Client::new(guard(LOOPBACK), sockets()).unwrap();
    client.send(outgoing(url)).await.reply
}

/// Runs `behave` for every connection; the channel gets what it returns.
async fn receiver<F, T>(
    behave: impl Fn(TcpStream) -> F + Send + 'static,
) -> (String, UnboundedReceiver<T>)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, results) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (sender, work) = (sender.clone(), behave(stream));
            tokio::spawn(async move { sender.send(work.await) });
        }
    });
    (url, results)
}

/// Reads one request, which ends with the body `{}`; empty if there is none.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"{}") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
    String::from_utf8_lossy(&request).into_owned()
}

/// A receiver that answers one request with `answer` and closes.
async fn answering(answer: &str) -> String {
    let answer = answer.to_owned();
    let answer_once = move |mut stream| {
        let answer = answer.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await
        }
    };
    receiver(answer_once).await.0
}

/// A receiver that says `start` and then `piece` at every `pace`, until it is
/// hung up on or a gigabyte is out; tells how many bytes it got rid of.
async fn endless(
    start: &'static str,
    piece: &str,
    pace: Duration,
) -> (String, UnboundedReceiver<usize>) {
    let piece = piece.to_owned();
    receiver(move |mut stream| {
        let piece = piece.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(start.as_bytes()).await.unwrap();
            let mut sent_bytes = 0;
            while sent_bytes < 1 << 30 && stream.write_all(piece.as_bytes()).await.is_ok() {
                sent_bytes += piece.len();
                tokio::time::sleep(pace).await;
            }
            sent_bytes
        }
    })
    .await
}

#[tokio::test]
async fn a_reply_carries_status_and_body_and_the_connection_is_used_again() {
    let (url, mut requests) = receiver(async |mut stream: TcpStream| {
        let mut seen = Vec::new();
        for _ in 0..2 {
            seen.push(read_request(&mut stream).await);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
            let _ = stream.write_all(answer).await;
        }
        seen
    })
    .await;
    let mut request = outgoing(&url);
    for (name, value) in [("webhook-id", "1"), ("content-length", "7")] {
        request.headers.insert(name, value.parse().unwrap());
    }
    let client = Client::new(guard(LOOPBACK), sockets()).unwrap();
    for is_first in [true, false] {
        let Sent { reply, timing } = client.clone().send(request.clone()).await;
        let reply = reply.unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.head, b"fine");
        let opened = timing.resolve.zip(timing.connect);
        assert_eq!(opened.is_some(), is_first, "{timing:?}");
        let before = opened.map_or(Duration::ZERO, |(resolve, connect)| resolve + connect);
        assert!(timing.first_byte.unwrap() >= before, "{timing:?}");
    }
    for seen in requests.recv().await.unwrap() {
        assert!(seen.starts_with("POST /hook HTTP/1.1\r\n"), "{seen}");
        assert!(seen.contains("webhook-id: 1\r\n"), "{seen}");
        assert!(seen.contains("content-length: 2\r\n"), "{seen}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off_and_its_connection_closed() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let (url, mut sent_bytes) = endless(head, &"x".repeat(1 << 16), Duration::ZERO).await;
    let reply = post(&url).await.unwrap();
    assert_eq!(reply.head.len(), KEPT_RESPONSE_BYTES);
    // What the kernel's socket buffers swallow, and no more.
    assert!(sent_bytes.recv().await.unwrap() < 64 << 20);
}

#[tokio::test]
async fn a_redirect_is_a_reply_and_not_followed() {
    let answer = "HTTP/1.1 307 Elsewhere\r\nlocation: /other\r\nretry-after: 7\r\n\r\nnever mind";
    let reply = post(&answering(answer).await).await.unwrap();
    assert_eq!(reply.status, 307);
    assert_eq!(reply.head, b"never mind");
    assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn drips_end_with_the_timeout() {
    for start in [
        "HTTP/1.1 200 OK\r\nx: ",
        "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n",
    ] {
        let (url, mut sent_bytes) = endless(start, "y", Duration::from_millis(20)).await;
        let mut request = outgoing(&url);
        request.timeout = Duration::from_millis(300);
        let client = Client::new(guard(LOOPBACK), sockets()).unwrap();
        let error = client.send(request).await.reply.unwrap_err();
        assert_eq!(error.class(), "timeout", "{start:?}");
        // The receiver noticed that it was hung up on.
        assert!(sent_bytes.recv().await.is_some());
    }
}

#[tokio::test]
async fn a_few_interim_responses_are_skipped_and_an_endless_run_is_hung_up_on() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let (few, end) = (
        interim.repeat(MAX_INTERIM_RESPONSES),
        "HTTP/1.1 204 Done\r\n\r\n",
    );
    let reply = post(&answering(&format!("{few}{end}")).await).await;
    assert_eq!(reply.unwrap().status, 204);
    let (url, mut sent_bytes) = endless("", &interim.repeat(9999), Duration::ZERO).await;
    let error = post(&url).await.unwrap_err();
    assert_eq!(error.class(), "invalid_response");
    assert!(sent_bytes.recv().await.unwrap() < 64 << 20);
}

#[tokio::test]
async fn broken_answers_have_their_class() {
    let long_head = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
        "y".repeat(MAX_HEAD_BYTES)
    );
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (answer, class) in [
        ("", "closed"),
        ("HTTP/1.1 200", "closed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123", "closed"),
        (&format!("{chunked}5\r\n12"), "closed"),
        (&format!("{chunked}nonsense\r\n"), "invalid_response"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "invalid_response"),
        ("HTTP/1.1 200 OK\r\nb\0d: x\r\n\r\n", "invalid_response"),
        (&long_head, "invalid_response"),
        (&many_headers, "invalid_response"),
    ] {
        let error = post(&answering(answer).await).await.unwrap_err();
        assert_eq!(error.class(), class, "{answer:.60}");
    }
}

#[tokio::test]
async fn each_way_of_not_connecting_has_its_class() {
    let (plain, _) =
        receiver(async |mut stream: TcpStream| stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await)
            .await;
    let client = scripted(LOOPBACK, &[]);
    for (url, class) in [
        (plain.replace("http:", "https:").as_str(), "tls"),
        (&plain.replace("127.0.0.1", "127.0.0.9"), "connect"),
        ("http://nowhere.example/", "resolve"),
        ("http://[::1]:8080/", "address_not_allowed"),
        ("ftp://127.0.0.1:8080/", "address_not_allowed"),
        ("/relative", "address_not_allowed"),
    ] {
        let error = client.send(outgoing(url)).await.reply.unwrap_err();
        assert_eq!(error.class(), class, "{url}");
    }
}

#[tokio::test]
async fn a_private_receiver_that_is_not_allowed_sees_no_connection() {
    let (url, mut connections) = receiver(async |_| ()).await;
    let client = Client::new(Arc::default(), sockets()).unwrap();
    let error = client.send(outgoing(&url)).await.reply.unwrap_err();
    assert_eq!(error.to_string(), "address not allowed");
    assert!(connections.try_recv().is_err());
}

#[tokio::test]
async fn a_name_that_rebinds_between_two_look_ups_is_refused() {
    let url = answering("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
    let url = url.replace("127.0.0.1", "rebinds.example");
    // 127.0.0.1 stands in for a public address, 127.0.0.2 for a private one.
    let client = scripted("127.0.0.1/32", &["127.0.0.2", "127.0.0.1"]);
    let reply = client.send(outgoing(&url)).await.reply;
    assert_eq!(reply.unwrap().status, 200);
    let error = client.send(outgoing(&url)).await.reply.unwrap_err();
    assert_eq!(error.class(), "address_not_allowed");
}

/// A listener whose queue is full: whoever connects waits. It lives as long as what it is full of.
async fn full() -> (String, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (format!("http://{address}/"), waiting, listener)
}

#[tokio::test]
async fn a_failure_tells_how_far_it_got() {
    let (silent, _seen) = receiver(async |mut stream: TcpStream| {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n";
    let (drips, _sent) = endless(head, "y", Duration::from_millis(20)).await;
    let broken = answering("SSH-2.0-OpenSSH\r\n\r\n").await;
    let (full, _waiting, _listener) = full().await;
    let named = "http://receiver.example:8080/".to_owned();
    let nobody = broken.replace("127.0.0.1", "127.0.0.9");
    let (plain, _said) =
        receiver(async |mut stream: TcpStream| stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await)
            .await;
    let [tls, mute] = [&plain, &silent].map(|url| url.replace("http:", "https:"));
    let ftp = "ftp://127.0.0.1:8080/".to_owned();
    let private = "http://10.0.0.1/".to_owned();
    let (looked_up, dialled, answered) = ([true, false, false], [true, true, false], [true; 3]);
    for (url, addresses, class, expected) in [
        (&ftp, &[][..], "address_not_allowed", [false; 3]),
        (&private, &[], "address_not_allowed", looked_up),
        (&named, &[], "resolve", looked_up),
        (&named, &[NEVER], "timeout", looked_up),
        (&nobody, &[], "connect", dialled),
        (&full, &[], "timeout", dialled),
        (&tls, &[], "tls", dialled),
        (&mute, &[], "timeout", dialled),
        (&silent, &[], "timeout", dialled),
        (&broken, &[], "invalid_response", dialled),
        (&drips, &[], "timeout", answered),
    ] {
        let mut request = outgoing(url);
        if class == "timeout" {
            request.timeout = Duration::from_millis(500);
        }
        let Sent { reply, timing } = scripted(LOOPBACK, addresses).send(request).await;
        assert_eq!(reply.unwrap_err().class(), class, "{url}");
        let Timing {
            resolve,
            connect,
            first_byte,
        } = timing;
        let steps = [resolve, connect, first_byte];
        assert_eq!(steps.map(|it| it.is_some()), expected, "{url} {class}");
    }
}

#[tokio::test]
async fn a_step_that_is_never_over_counts_with_its_time_so_far() {
    let mut request = outgoing("http://silent.example/");
    request.timeout = Duration::from_millis(300);
    let sent = scripted(LOOPBACK, &[NEVER]).send(request).await;
    assert!(sent.timing.resolve.unwrap() > Duration::from_millis(1));
}

#[tokio::test]
async fn a_connection_that_came_free_meanwhile_was_open_already() {
    let (arrived, mut arrivals) = unbounded_channel();
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let (url, _ended) = receiver(move |mut stream: TcpStream| {
        let (arrived, gate) = (arrived.clone(), Arc::clone(&gate));
        async move {
            while !read_request(&mut stream).await.is_empty() {
                arrived.send(()).unwrap();
                gate.notified().await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    })
    .await;
    let url = url.replace("127.0.0.1", "receiver.example");
    // The second look-up, begun while the only connection is taken, never comes back.
    let client = scripted(LOOPBACK, &[NEVER, "127.0.0.1"]);
    let mut first = Box::pin(client.send(outgoing(&url)));
    let mut second = Box::pin(client.send(outgoing(&url)));
    tokio::select! { biased; _ = &mut first => panic!("not yet"), _ = arrivals.recv() => {} }
    tokio::select! { biased; _ = &mut second => panic!("not yet"), () = async {} => {} }
    go.notify_one();
    assert_eq!(first.await.reply.unwrap().status, 200);
    go.notify_one();
    let sent = second.await;
    assert_eq!(sent.reply.unwrap().status, 200);
    let Timing {
        resolve, connect, ..
    } = sent.timing;
    assert_eq!((resolve, connect), (None, None));
}
