//! What the layers of a configuration make of each other, and what is refused of them.

use std::time::Duration;

use super::*;

/// The layers above the defaults, as short as a test wants them.
fn sources(
    file: &str,
    env: &[(&str, &str)],
    overrides: &[(&str, &str)],
) -> (Sources, tempfile::TempDir) {
    let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relay.toml");
    std::fs::write(&path, file).unwrap();
    (
        Sources {
            file: Some(path),
            env: owned(env),
            overrides: owned(overrides),
        },
        dir,
    )
}

fn loaded(file: &str, env: &[(&str, &str)], overrides: &[(&str, &str)]) -> Loaded {
    let (sources, _dir) = sources(file, env, overrides);
    Config::load(sources).unwrap()
}

/// What the user reads, with the file's path cut down to its name.
fn refusal(file: &str, env: &[(&str, &str)], overrides: &[(&str, &str)]) -> String {
    let (sources, dir) = sources(file, env, overrides);
    let refusal = Config::load(sources).unwrap_err().to_string();
    refusal.replace(&format!("{}/", dir.path().display()), "")
}

fn setting<'a>(loaded: &'a Loaded, key: &str) -> (&'a str, String) {
    let setting = loaded
        .settings
        .iter()
        .find(|setting| setting.key == key)
        .unwrap();
    (&setting.value, setting.origin.to_string())
}

#[test]
fn without_anything_the_contract_s_defaults_apply() {
    let Loaded { config, settings } = Config::load(Sources::default()).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("data/store"));
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        config.ingest,
        Ingest {
            max_body_bytes: 262_144,
            max_batch_bytes: 4 * 1024 * 1024
        }
    );
    let window = Duration::from_mins(15);
    assert_eq!(
        config.rate_limit.manage,
        Limit::Window { limit: 100, window }
    );
    assert_eq!(config.rate_limit.ingest, Limit::Off);
    assert_eq!(config.delivery.timeout, Duration::from_secs(15));
    assert_eq!(config.delivery.retry_schedule.len(), 10);
    assert!(config.outbound.allow.is_empty() && !config.outbound.https_only);
    assert!(
        settings
            .iter()
            .all(|setting| setting.origin == Origin::Default)
    );
    let secret = settings.iter().filter(|setting| setting.secret);
    let secret: Vec<&str> = secret.map(|setting| setting.key.as_str()).collect();
    assert_eq!(secret, ["secrets.key"]);
}

#[test]
fn each_layer_wins_over_the_one_below_it() {
    let loaded = loaded(
        "[queue]\ncapacity = 1\n[delivery]\nmax_in_flight = 2\n[server]\nlisten = \"[::1]:1\"",
        &[
            ("POSTRIDER_DELIVERY__MAX_IN_FLIGHT", "3"),
            ("POSTRIDER_SERVER__LISTEN", "127.0.0.1:2"),
        ],
        &[("server.listen", "127.0.0.1:3")],
    );
    assert_eq!(loaded.config.queue.capacity, 1);
    assert_eq!(loaded.config.delivery.max_in_flight, 3);
    assert_eq!(loaded.config.server.listen.port(), 3);

    assert!(setting(&loaded, "queue.capacity").1.ends_with("relay.toml"));
    let origin = "environment POSTRIDER_DELIVERY__MAX_IN_FLIGHT".to_owned();
    assert_eq!(setting(&loaded, "delivery.max_in_flight"), ("3", origin));
    assert_eq!(
        setting(&loaded, "server.listen"),
        ("\"127.0.0.1:3\"", "command line".to_owned())
    );
    assert_eq!(
        setting(&loaded, "store.cache_bytes"),
        ("16777216", "default".to_owned())
    );
}

#[test]
fn lists_in_the_environment_are_separated_by_commas() {
    let loaded = loaded(
        "outbound.allow = [\"192.168.0.0/16\"]",
        &[
            ("POSTRIDER_OUTBOUND__ALLOW", "127.0.0.0/8, fd00::/8"),
            ("POSTRIDER_DELIVERY__RETRY_SCHEDULE", "0s,5s"),
        ],
        &[],
    );
    let allow: Vec<String> = loaded
        .config
        .outbound
        .allow
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(allow, ["127.0.0.0/8", "fd00::/8"]);
    assert_eq!(
        setting(&loaded, "delivery.retry_schedule").0,
        "[\"0s\", \"5s\"]"
    );
}

#[test]
fn a_flag_is_true_or_false_in_every_layer() {
    let variable = "POSTRIDER_OUTBOUND__HTTPS_ONLY";
    for (file, env, expected) in [
        ("outbound.https_only = true", None, true),
        ("outbound.https_only = true", Some("false"), false),
        ("", Some("true"), true),
    ] {
        let env: Vec<_> = env.map(|text| (variable, text)).into_iter().collect();
        let loaded = loaded(file, &env, &[]);
        assert_eq!(
            loaded.config.outbound.https_only, expected,
            "{file} {env:?}"
        );
        assert_eq!(
            setting(&loaded, "outbound.https_only").0,
            expected.to_string()
        );
    }
    for text in ["yes", "1", "TRUE", ""] {
        let refusal = refusal("", &[(variable, text)], &[]);
        assert!(refusal.ends_with("must be true or false"), "{refusal}");
    }
}

#[test]
fn an_empty_variable_empties_a_list() {
    let loaded = loaded(
        "outbound.allow = [\"10.0.0.0/8\"]",
        &[("POSTRIDER_OUTBOUND__ALLOW", "")],
        &[],
    );
    assert!(loaded.config.outbound.allow.is_empty());
}

#[test]
fn every_problem_is_reported_at_once_with_its_place_and_what_is_allowed() {
    let refusal = refusal(
        "[queue]\ncapasity = 5\n[store]\ncache_bytes = \"big\"",
        &[("POSTRIDER_QUEUE__CAPACITY", "lots")],
        &[("server.listen", "localhost")],
    );
    let mut lines: Vec<&str> = refusal.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "queue.capacity = \"lots\" (environment POSTRIDER_QUEUE__CAPACITY): \
             must be a whole number from 1 to 1000000",
            "queue.capasity (file relay.toml): unknown setting; did you mean queue.capacity; \
             [queue] has capacity, max_bytes",
            "server.listen = \"localhost\" (command line): \
             must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080",
            "store.cache_bytes = \"big\" (file relay.toml): \
             must be a number of bytes from 1048576 (1 MiB) to 17179869184 (16 GiB)",
        ]
    );
}

#[test]
fn a_bad_value_is_refused_even_where_a_higher_layer_hides_it() {
    let refusal = refusal(
        "queue.capacity = 0",
        &[("POSTRIDER_QUEUE__CAPACITY", "7")],
        &[],
    );
    assert!(
        refusal.starts_with("queue.capacity = 0 (file relay.toml): must be"),
        "{refusal}"
    );
}

#[test]
fn values_outside_their_bounds_or_of_another_type_are_refused() {
    for line in [
        "data_dir = \"\"",
        "data_dir = \"nul\\u0000byte\"",
        "shutdown_timeout = 10",
        "shutdown_timeout = \"1d\"",
        "server.workers = -1",
        "server.workers = 257",
        "server.listen = 8080",
        "ingest.max_body_bytes = 1023",
        "ingest.max_body_bytes = 1e6",
        "ingest.max_batch_bytes = 33554433",
        "queue.capacity = \"5\"",
        "queue.capacity = {}",
        "rate_limit.manage = \"0/15m\"",
        "delivery.retry_schedule = []",
        "delivery.retry_schedule = \"0s\"",
        "delivery.retry_schedule = [\"31d\"]",
        "delivery.retry_schedule = [0]",
        "delivery.timeout = \"6m\"",
        "delivery.max_in_flight = 1001",
        "outbound.allow = [\"10.0.0.1\"]",
        "outbound.allow = [\"10.0.0.0/33\"]",
        "outbound.https_only = \"true\"",
        "outbound.https_only = 1",
        "log.level = \"loud\"",
        "log.format = \"xml\"",
    ] {
        let refusal = refusal(line, &[], &[]);
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
        let key = line.split(' ').next().unwrap();
        assert!(
            refusal.starts_with(&format!("{key} = ")) && refusal.contains("must be"),
            "{refusal}"
        );
    }
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let refusal = refusal(
        "queue.max_bytes = 1048576\ningest.max_batch_bytes = 200000",
        &[],
        &[],
    );
    assert_eq!(
        refusal,
        "ingest.max_batch_bytes = 200000 (file relay.toml): \
         must be at least ingest.max_body_bytes = 262144 (default)"
    );
    let (key, value) = ("POSTRIDER_QUEUE__MAX_BYTES", "1048576");
    let refusal = self::refusal("", &[(key, value)], &[]);
    assert!(
        refusal.contains("must be at least ingest.max_batch_bytes = 4194304"),
        "{refusal}"
    );
}

#[test]
fn what_is_no_setting_is_named_with_what_there_is() {
    for (line, expected) in [
        (
            "[store]\ncache_byte = 1",
            "store.cache_byte (file relay.toml): unknown setting; did you mean store.cache_bytes",
        ),
        (
            "[nonsense]",
            "nonsense (file relay.toml): unknown setting; there are data_dir, shutdown_timeout, server,",
        ),
        (
            "queue = 5",
            "queue (file relay.toml): is a section, with capacity, max_bytes",
        ),
        (
            "queue.capacity.more = 5",
            "queue.capacity.more (file relay.toml): unknown setting; [queue] has capacity",
        ),
        (
            "\"two\\nlines\" = 5",
            "two\\nlines (file relay.toml): unknown setting; there are",
        ),
    ] {
        let refusal = refusal(line, &[], &[]);
        assert!(
            refusal.starts_with(expected) && refusal.lines().count() == 1,
            "{refusal}"
        );
    }
}

#[test]
fn an_empty_section_is_no_mistake() {
    assert_eq!(
        loaded("[queue]\n[log]", &[], &[]).config,
        Config::load(Sources::default()).unwrap().config
    );
}

#[test]
fn a_misspelt_variable_is_refused_without_showing_its_value() {
    let refusal = refusal("", &[("POSTRIDER_BOOTSTRAPKEY", "hush")], &[]);
    assert!(
        refusal.starts_with("bootstrapkey (environment POSTRIDER_BOOTSTRAPKEY): unknown"),
        "{refusal}"
    );
    assert!(!refusal.contains("hush"), "{refusal}");
}

#[test]
fn a_secret_is_shown_in_no_setting_and_no_problem() {
    let (mut sources, _dir) = sources("", &[("POSTRIDER_LOG__LEVEL", "debug")], &[]);
    let shown = load(sources.clone(), &["log.level"]).unwrap();
    let setting = shown
        .settings
        .iter()
        .find(|setting| setting.secret)
        .unwrap();
    assert_eq!(
        (setting.key.as_str(), setting.value.as_str()),
        ("log.level", "\"********\"")
    );
    assert_eq!(
        shown.config.log.levels,
        LogLevels::of(log::LevelFilter::Debug)
    );

    sources.env = vec![("POSTRIDER_LOG__LEVEL".to_owned(), "hush".to_owned())];
    let refusal = load(sources, &["log.level"]).unwrap_err();
    assert!(
        !format!("{refusal} {refusal:?}").contains("hush"),
        "{refusal:?}"
    );
}
