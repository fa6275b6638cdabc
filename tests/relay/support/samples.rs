//! Events that look like real ones, and events that look for trouble.

use std::path::Path;

/// The sample files of `data/samples`, each with its event type.
pub fn files() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/samples");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    assert!(
        files.len() >= 5,
        "the samples are gone from {}",
        dir.display()
    );
    files
}

/// Bodies that a relay which re-serialises would change.
pub fn tricky() -> Vec<(String, Vec<u8>)> {
    let bodies: [&[u8]; 9] = [
        br#"{"event":"tricky","data":null}"#,
        b" \t\r\n{ \"data\" : [ ] , \"event\" : \"tricky\" }\r\n\r\n",
        br#"{"data":{"b":1,"a":2,"b":3},"event":"tricky","extra":{"event":"other"}}"#,
        br#"{"event":"tricky","data":1e400}"#,
        br#"{"event":"tricky","data":[1.0,1,1.10,-0,0.1e-7,123456789012345678901234567890]}"#,
        br#"{"event":"tricky","data":"\ud800 \u0000 \/ \u00e9"}"#,
        "{\"event\":\"tricky\",\"data\":\"\u{1f469}\u{200d}\u{1f680} \u{202e} e\u{301} \u{feff} \u{7f}\"}"
            .as_bytes(),
        br#"{"\u0065vent":"tricky","data":{"event":5}}"#,
        br#"{"event":"tricky","data":{"":{"":{"":""}}}}"#,
    ];
    let mut all: Vec<_> = bodies.iter().map(|body| body.to_vec()).collect();
    all.push(deep(64));
    all.push(sized(256 << 10));
    all.into_iter()
        .map(|body| ("tricky".to_owned(), body))
        .collect()
}

/// A small event.
pub fn event(event_type: &str, n: u64) -> Vec<u8> {
    format!(r#"{{"event":"{event_type}","data":{{"n":{n}}}}}"#).into_bytes()
}

/// An event nested so deep, itself counting as one.
pub fn deep(levels: usize) -> Vec<u8> {
    let inner = levels - 1;
    let data = "[".repeat(inner) + &"]".repeat(inner);
    format!(r#"{{"event":"tricky","data":{data}}}"#).into_bytes()
}

/// An event of exactly so many bytes.
pub fn sized(bytes: usize) -> Vec<u8> {
    let (head, tail) = (r#"{"event":"tricky","data":""#, r#""}"#);
    let filling = "x".repeat(bytes - head.len() - tail.len());
    format!("{head}{filling}{tail}").into_bytes()
}
