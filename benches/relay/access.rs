//! What it costs to know who is asking and whether he may ask now: one thread, in a relay with many keys.

use std::hint::black_box;
use std::time::Instant;

use actix::System;
use postrider::actors::directory::View;
use postrider::actors::rate_limit::{self, Class, Quotas};
use postrider::actors::{auth, now_ms};
use postrider::domain::api_key::{self, Environment, KeyHash};
use postrider::domain::directory::{Change, Directory, KeyRecord};
use postrider::domain::ids::{AccountId, KeyId};
use postrider::domain::permission::Permissions;
use postrider::domain::rate::Quota;
use secrecy::ExposeSecret;

const KEYS: u64 = 100_000;
const REQUESTS: usize = 1_000_000;
const ROUNDS: usize = 5;

pub fn run(_: &str) {
    let (view, keys) = view();
    let quota = Some(Quota {
        limit: u32::MAX,
        window_ms: 3_600_000,
    });
    let quotas = Quotas {
        manage: quota,
        ingest: quota,
        auth_failures: quota,
    };
    let system = System::new();
    let limit = system.block_on(async { rate_limit::start(&actix::Arbiter::current(), quotas) });
    let mut micros = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for key in keys.iter().cycle().take(REQUESTS) {
            let (record, _) = auth::recognise(&view, key, now_ms()).expect("it is known");
            black_box(limit.take(record.id, record.quota, Class::Ingest, 1));
        }
        micros.push(began.elapsed().as_secs_f64() * 1e6 / REQUESTS as f64);
    }
    let spread = format!(
        "{:.2} to {:.2}",
        micros.iter().copied().fold(f64::INFINITY, f64::min),
        micros.iter().copied().fold(0.0, f64::max)
    );
    println!(
        "access      {:.2} µs to authenticate and limit a request, with {KEYS} keys (median of {ROUNDS}; {spread})",
        super::median(&mut micros)
    );
}

/// A view of many keys, and the keys themselves.
fn view() -> (View, Vec<String>) {
    let mut directory = Directory::default();
    let keys = (0..KEYS).map(|number| {
        let key = api_key::generate(Environment::Live, getrandom::fill).expect("random numbers");
        let record = KeyRecord {
            id: KeyId::from_bits(number),
            account: AccountId::from_bits(1),
            name: format!("key {number}"),
            hash: KeyHash::of(key.expose_secret()),
            previous: None,
            permissions: Permissions::ALL,
            integration: None,
            environment: Environment::Live,
            quota: None,
            created_at_ms: 0,
            expires_at_ms: None,
            last_used_at_ms: None,
        };
        directory.apply(&Change::PutKey(record.into()));
        key.expose_secret().to_owned()
    });
    let keys = keys.collect();
    (View::new(directory), keys)
}
