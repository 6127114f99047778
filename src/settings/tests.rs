//! Layers, interpolation, refused properties and secrets, seen through `Settings::load`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::spec::yaml::{self, Content};

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load(text: &str, env: &[(&str, &str)], flags: &[&str]) -> Result<Settings, String> {
    let file = file(text);
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Settings::load(&[file.path().to_owned()], &environment(env), &flags).map_err(|errors| {
        errors
            .to_string()
            .replace(&file.path().display().to_string(), "FILE")
    })
}

fn shipped(name: &str) -> PathBuf {
    // Cargo runs unit tests in the package's folder; a path from compile time is another clone's when they share a target directory.
    Path::new("config").join(name)
}

#[test]
fn without_any_layer_the_defaults_stand() {
    let settings = Settings::load(&[], &BTreeMap::new(), &[]).unwrap();
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.kafka.bootstrap_servers, "localhost:9092");
    assert_eq!(settings.commit.interval, Duration::from_millis(500));
    assert_eq!(settings.memory.budget, 512_000_000);
    assert_eq!(
        settings.http.bind.map(|at| at.to_string()).as_deref(),
        Some("127.0.0.1:8080")
    );
}

#[test]
fn the_shipped_file_names_every_key_and_changes_nothing() {
    let path = shipped("worker.yaml");
    let settings = Settings::load(std::slice::from_ref(&path), &BTreeMap::new(), &[]).unwrap();
    assert_eq!(settings, Settings::default());
    let text = std::fs::read_to_string(path).unwrap();
    let root = yaml::parse(&text, &mut Vec::new()).unwrap();
    let mut named = BTreeMap::new();
    let Content::Mapping(sections) = &root.content else {
        panic!("no sections")
    };
    for section in sections {
        let Content::Mapping(entries) = &section.value.content else {
            panic!("no keys")
        };
        for entry in entries {
            let Content::Scalar(scalar) = &entry.value.content else {
                panic!("no value")
            };
            named.insert(
                format!("{}.{}", section.key.value, entry.key.value),
                scalar.text.clone(),
            );
        }
    }
    let table: BTreeMap<String, String> = keys::KEYS
        .iter()
        .map(|key| (key.path.to_owned(), (key.show)(&Settings::default())))
        .collect();
    assert_eq!(named, table);
}

#[test]
fn the_shipped_example_of_tls_and_sasl_loads_and_hides_the_password() {
    let env = environment(&[("KAFKA_PASSWORD", "hunter2")]);
    let settings = Settings::load(&[shipped("tls-sasl.yaml")], &env, &[]).unwrap();
    assert_eq!(settings.kafka.properties["sasl.password"], "hunter2");
    assert_eq!(settings.kafka.properties["security.protocol"], "SASL_SSL");
    assert!(
        settings
            .kafka
            .bootstrap_servers
            .contains("kafka-2.example.com:9093")
    );
    let error = Settings::load(&[shipped("tls-sasl.yaml")], &BTreeMap::new(), &[]).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("`kafka.sasl.password`") && error.contains("`KAFKA_PASSWORD`"),
        "{error}"
    );
}

#[test]
fn what_every_key_shows_it_also_takes() {
    let settings = load(
        "worker: { id: w1, threads: 3, static_membership: true, pin_threads: true }\n\
         commit: { interval: 1s, max_bytes: 1MiB, deadline: 1m, transaction_timeout: 15s }\n\
         group: { session_timeout: 6s, heartbeat_interval: 1s, release_deadline: 2s }\n\
         state: { dir: /var/x, store: memory, save_interval: 1m30s }\n\
         changelog: { keep: 0s, refresh_min_log: 1GB }\n\
         memory: { budget: 1GiB }\n\
         http: { bind: off }\n\
         topics: { replication: 3, min_insync_replicas: 2 }\n\
         kafka: { bootstrap_servers: [a:1, b:2], fetch: librdkafka }\n",
        &[],
        &[],
    )
    .unwrap();
    let flags: Vec<String> = keys::KEYS
        .iter()
        .map(|key| format!("{}={}", key.path, (key.show)(&settings)))
        .collect();
    let default = Settings::default();
    for key in keys::KEYS {
        assert_ne!((key.show)(&settings), (key.show)(&default), "{}", key.path);
    }
    assert_eq!(
        Settings::load(&[], &BTreeMap::new(), &flags).unwrap(),
        settings
    );
    assert_eq!(settings.http.bind, None);
    assert_eq!(settings.state.store, StoreKind::Memory);
    assert_eq!(settings.topics.replication, Some(3));
    assert_eq!(settings.changelog.keep, Duration::ZERO);
    assert_eq!(settings.kafka.bootstrap_servers, "a:1,b:2");
}

#[test]
fn flags_win_over_the_environment_over_later_files_over_earlier_ones() {
    let first =
        file("commit: { interval: 1s, deadline: 11s, max_bytes: 1MB }\nworker: { threads: 3 }");
    let second = file("commit: { interval: 2s, deadline: 12s, max_bytes: 2MB }");
    let settings = Settings::load(
        &[first.path().to_owned(), second.path().to_owned()],
        &environment(&[
            ("MILLSTREAM__COMMIT__INTERVAL", "3s"),
            ("MILLSTREAM__COMMIT__DEADLINE", "13s"),
            ("MILLSTREAM_CONFIG", "no setting"),
        ]),
        &["commit.interval=4s".to_owned()],
    )
    .unwrap();
    assert_eq!(settings.commit.interval, Duration::from_secs(4));
    assert_eq!(settings.commit.deadline, Duration::from_secs(13));
    assert_eq!(settings.commit.max_bytes, 2_000_000);
    assert_eq!(settings.worker.threads, 3);
}

#[test]
fn a_kafka_property_is_the_same_key_however_it_is_written() {
    let written = [
        ("kafka: { security.protocol: SSL }", vec![], vec![]),
        ("kafka:\n  security:\n    protocol: SSL", vec![], vec![]),
        ("kafka.security.protocol: SSL", vec![], vec![]),
        (
            "",
            vec![("MILLSTREAM__KAFKA__SECURITY_PROTOCOL", "SSL")],
            vec![],
        ),
        (
            "",
            vec![("MILLSTREAM__KAFKA__SECURITY__PROTOCOL", "SSL")],
            vec![],
        ),
        ("", vec![], vec!["kafka.security.protocol=SSL"]),
        // A stronger layer in one form replaces a weaker one in another.
        (
            "kafka: { security.protocol: WRONG }",
            vec![("MILLSTREAM__KAFKA__SECURITY_PROTOCOL", "WRONG")],
            vec!["kafka.security.protocol=SSL"],
        ),
        (
            "kafka: { security: { protocol: WRONG } }",
            vec![("MILLSTREAM__KAFKA__SECURITY_PROTOCOL", "SSL")],
            vec![],
        ),
    ];
    for (text, env, flags) in written {
        let kafka = load(text, &env, &flags).unwrap().kafka;
        let expected = BTreeMap::from([("security.protocol".to_owned(), "SSL".to_owned())]);
        assert_eq!(kafka.properties, expected, "{text} {env:?} {flags:?}");
    }
    let servers = [
        ("kafka: { bootstrap_servers: h:1 }", vec![]),
        ("kafka: { bootstrap.servers: h:1 }", vec![]),
        ("", vec![("MILLSTREAM__KAFKA__BOOTSTRAP_SERVERS", "h:1")]),
    ];
    for (text, env) in servers {
        let kafka = load(text, &env, &[]).unwrap().kafka;
        assert_eq!(
            (kafka.bootstrap_servers.as_str(), kafka.properties.len()),
            ("h:1", 0),
            "{text}"
        );
    }
}

#[test]
fn texts_are_taken_as_they_are_written() {
    let text = "kafka: { sasl.password: 0012, a: 1.10, b: true, c: 1e3, d: 'null' }";
    let properties = load(text, &[], &[]).unwrap().kafka.properties;
    let values: Vec<_> = properties.values().map(String::as_str).collect();
    assert_eq!(values, ["1.10", "true", "1e3", "null", "0012"]);
}

#[test]
fn variables_and_files_are_put_in() {
    let secret = file("s3cret $ {x}\n");
    let reference = format!("${{file:{}}}", secret.path().display());
    let cases = [
        ("${A}", "1"),
        ("x${A}y${B}z", "x1y${A}z"),
        ("$${A}", "${A}"),
        ("$A {A} $", "$A {A} $"),
        (reference.as_str(), "s3cret $ {x}"),
    ];
    for (text, expected) in cases {
        let flag = format!("kafka.p={text}");
        let env = [("A", "1"), ("B", "${A}")];
        let settings = load("", &env, &[&flag]).unwrap();
        assert_eq!(settings.kafka.properties["p"], expected, "{text}");
    }
    let settings = load("commit: { interval: '${T}' }", &[("T", "2s")], &[]).unwrap();
    assert_eq!(settings.commit.interval, Duration::from_secs(2));
}

/// A file, and a part of the one error that it gives.
const MISTAKES: &str = r#"
comit: { interval: 1s }
=> FILE:1:20: there is no setting `comit.interval`; did you mean `commit.interval`?
commit: { intervall: 1s }
=> FILE:1:22: there is no setting `commit.intervall`; did you mean `commit.interval`?
commit: 5s
=> FILE:1:9: there is no setting `commit`
kafka: x
=> FILE:1:8: there is no setting `kafka`
commit: { interval: { a: 1s } }
=> FILE:1:26: there is no setting `commit.interval.a`
commit: { interval: }
=> FILE:1:11: `commit.interval`: the value is missing
commit: { interval: 5 }
=> FILE:1:21: `commit.interval`: `5` has no unit
commit: { interval: 0s }
=> FILE:1:21: `commit.interval`: must be longer than 0s
commit: { max_bytes: many }
=> FILE:1:22: `commit.max_bytes`: `many` is not a size
worker: { threads: 0 }
=> FILE:1:20: `worker.threads`: `0` is not a number from 1 to 256
worker: { id: 'a b' }
=> FILE:1:15: `worker.id`: `a b` is not `auto`
worker: { pin_threads: yes }
=> FILE:1:24: `worker.pin_threads`: `yes` is not true or false
state: { store: rocks }
=> FILE:1:17: `state.store`: `rocks` is not `rocksdb` or `memory`
memory: { budget: 1MB }
=> FILE:1:19: `memory.budget`: the least budget is 128MB
http: { bind: 8080 }
=> FILE:1:15: `http.bind`: `8080` is not `off` and not an address with a port
topics: { replication: 0 }
=> FILE:1:24: `topics.replication`: `0` is not `broker`
kafka: { bootstrap_servers: '' }
=> FILE:1:29: `kafka.bootstrap_servers`: the value is empty
kafka: { bootstrap_servers: a:1, bootstrap.servers: b:1 }
=> FILE:1:53: `kafka.bootstrap_servers`: also set by FILE:1:29
kafka: { a: [[b]] }
=> FILE:1:13: `kafka.a`: a list of this kind is not a setting
kafka: { p: '${NO_SUCH}' }
=> FILE:1:13: `kafka.p`: the environment has no variable `NO_SUCH`
kafka: { p: '${file:/no/such/file}' }
=> FILE:1:13: `kafka.p`: the file `/no/such/file` cannot be read
kafka: { p: '${OPEN' }
=> FILE:1:13: `kafka.p`: `${` is never closed by `}`
kafka: { p: '${}' }
=> FILE:1:13: `kafka.p`: `${}` names no variable
worker: { threads: 2, threads: 3 }
=> FILE:1:23: `threads` stands here for a second time
worker: [
=> FILE:1:10: broken YAML
[a]
=> a list of this kind is not a setting
group: { heartbeat_interval: 4s }
=> `group.heartbeat_interval` must be at most a third
commit: { interval: 10s }
=> `commit.interval` must be shorter than `commit.transaction_timeout`
topics: { replication: 1, min_insync_replicas: 2 }
=> `topics.min_insync_replicas` is more than
"#;

#[test]
fn mistakes_name_key_and_place() {
    let mut text = "";
    for line in MISTAKES.lines().skip(1) {
        let Some(expected) = line.strip_prefix("=> ") else {
            text = line;
            continue;
        };
        let error = load(text, &[], &[]).unwrap_err();
        let one = error.lines().count() == 1;
        assert!(one && error.contains(expected), "{text}:\n{error}");
    }
}

#[test]
fn mistakes_outside_files_name_the_variable_or_override() {
    let error = load(
        "",
        &[("MILLSTREAM__COMMIT__INTERVAL", "x")],
        &["no equals sign", "=x"],
    )
    .unwrap_err();
    assert!(
        error.contains("environment variable MILLSTREAM__COMMIT__INTERVAL: `commit.interval`"),
        "{error}"
    );
    assert!(
        error.contains("--set, the one of number 1: not of the form key=value"),
        "{error}"
    );
    assert!(
        error.contains("--set, the one of number 2: not of the form key=value"),
        "{error}"
    );
    let missing = Settings::load(&[PathBuf::from("/no/such.yaml")], &BTreeMap::new(), &[]);
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .starts_with("/no/such.yaml: ")
    );
}

#[test]
fn properties_of_the_protocol_are_refused_with_the_reason() {
    let names = [
        "group.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "isolation.level",
        "transactional.id",
        "enable.idempotence",
        "auto.offset.reset",
        "partition.assignment.strategy",
        "group.protocol",
        "group.instance.id",
        "max.in.flight.requests.per.connection",
        "max.in.flight",
        "acks",
        "request.required.acks",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "transaction.timeout.ms",
        "enable.partition.eof",
        "client.id",
        "delivery.report.only.error",
        "plugin.library.paths",
        "rebalance_cb",
        "offset.store.method",
        "stats_cb",
        "metadata.broker.list",
    ];
    for name in names {
        let error = load(&format!("kafka: {{ {name}: x }}"), &[], &[]).unwrap_err();
        assert!(
            error.contains(&format!("`kafka.{name}` cannot be set: ")),
            "{error}"
        );
    }
    let error = load("", &[("MILLSTREAM__KAFKA__SESSION_TIMEOUT_MS", "1")], &[]).unwrap_err();
    assert!(error.ends_with("set `group.session_timeout`"), "{error}");
    for name in ["fetch.min.bytes", "linger.ms", "debug", "ssl.ca.location"] {
        assert!(
            load(&format!("kafka: {{ {name}: x }}"), &[], &[]).is_ok(),
            "{name}"
        );
    }
}

#[test]
fn secrets_are_in_the_properties_and_in_nothing_that_is_printed() {
    let secret_names = [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.jaas.config",
        "some.token",
        "sasl.oauthbearer.assertion.private.key.passphrase",
    ];
    let flags: Vec<String> = secret_names
        .iter()
        .map(|name| format!("kafka.{name}=hunter2"))
        .collect();
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.extend(["kafka.sasl.username=${USER_NAME}", "kafka.linger.ms=7"]);
    let settings = load("", &[("USER_NAME", "hunter2")], &flags).unwrap();
    assert_eq!(settings.kafka.properties["ssl.key.pem"], "hunter2");
    for printed in [
        format!("{settings}"),
        format!("{settings:?}"),
        format!("{settings:#?}"),
    ] {
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(
            printed.contains("***") && printed.contains("linger.ms"),
            "{printed}"
        );
    }
    assert!(settings.to_string().contains("kafka.linger.ms = 7\n"));
    assert_eq!(
        settings.kafka.hidden,
        BTreeSet::from(["sasl.username".to_owned()])
    );
}

#[test]
fn errors_repeat_no_secret() {
    let cases = [
        ("commit: { interval: '${P}' }", vec![]),
        ("worker: { id: 'a ${P}' }", vec![]),
        ("kafka: { group.id: '${P}' }", vec![]),
        ("kafka: { group.id: hunter2 }", vec![]),
        ("kafka:\n  sasl.password: hunter2: x", vec![]),
        (
            "kafka: { sasl.password: hunter2, sasl.password: hunter2 }",
            vec![],
        ),
        ("", vec!["kafka.sasl.password:hunter2"]),
    ];
    for (text, flags) in cases {
        let error = load(text, &[("P", "hunter2")], &flags).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
