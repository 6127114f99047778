//! What every store must do: the same checks run against all implementations. Tests only.

use super::{Change, Error, SavedPosition, Store, Stores};

pub type Row = (Vec<u8>, Vec<u8>);

const AT: SavedPosition = SavedPosition {
    offset: 42,
    epoch: 7,
    nonce: 0xdead_beef_0000_0001,
};

/// Runs all checks; each uses tasks of its own.
pub fn check(stores: &dyn Stores) {
    rows_come_back(stores);
    scans_are_ordered_and_stay_in_their_prefix(stores);
    scans_stop_and_fail_with_their_visitor(stores);
    order_of_clear_and_put_is_kept(stores);
    clear_of_a_prefix_without_a_successor(stores);
    nodes_and_tasks_are_apart(stores);
    position_ends_a_save_and_survives(stores);
    recovering_loses_nothing(stores);
    wipe_removes_rows_and_position(stores);
    other_nodes_mean_another_store(stores);
    figures_count(stores);
    many_rows(stores);
}

pub fn put(store: &mut dyn Store, node: &str, rows: &[(&str, &str)]) {
    let mut changes = rows.iter().map(|(k, v)| Change::Put {
        key: k.as_bytes(),
        value: v.as_bytes(),
    });
    store.write(node, &mut changes).expect("write");
}

pub fn rows(rows: &[(&str, &str)]) -> Vec<Row> {
    rows.iter()
        .map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec()))
        .collect()
}

pub fn scan(store: &dyn Store, node: &str, prefix: &[u8], after: Option<&[u8]>) -> Vec<Row> {
    let mut rows = Vec::new();
    store
        .scan(node, prefix, after, &mut |k, v| {
            rows.push((k.to_vec(), v.to_vec()));
            Ok(true)
        })
        .expect("scan");
    rows
}

pub fn all(store: &dyn Store, node: &str) -> Vec<Row> {
    scan(store, node, b"", None)
}

fn keys(rows: &[Row]) -> Vec<&[u8]> {
    rows.iter().map(|(k, _)| &k[..]).collect()
}

fn rows_come_back(stores: &dyn Stores) {
    let mut store = stores.open("rows/0", &["n"]).expect("open");
    put(
        &mut *store,
        "n",
        &[("b", "2"), ("a", "1"), ("", "empty key"), ("c", "")],
    );
    put(&mut *store, "n", &[("a", "newer")]);
    store
        .write(
            "n",
            &mut [
                Change::Delete { key: b"b" },
                Change::Delete { key: b"never" },
            ]
            .into_iter(),
        )
        .expect("delete");
    let got = store
        .get_many("n", &[b"c", b"a", b"b", b"", b"a", b"x"])
        .expect("get");
    let text = |v: &str| Some(v.as_bytes().to_vec());
    assert_eq!(
        got,
        [
            text(""),
            text("newer"),
            None,
            text("empty key"),
            text("newer"),
            None
        ]
    );
    assert_eq!(
        store.get_many("n", &[]).expect("get nothing"),
        Vec::<Option<Vec<u8>>>::new()
    );
    assert!(matches!(
        store.get_many("unknown", &[b"a"]),
        Err(Error::Io(_))
    ));
    assert!(
        stores.open("rows/0", &["n"]).is_err(),
        "a store is open once"
    );
}

fn scans_are_ordered_and_stay_in_their_prefix(stores: &dyn Stores) {
    let mut store = stores.open("scan/0", &["n"]).expect("open");
    let written: [&[u8]; 9] = [
        b"b\xff",
        b"a",
        b"b",
        b"ba",
        b"c",
        b"\xff",
        b"b\xff\xff\x01",
        b"b\x00",
        b"\xff\xff\x02",
    ];
    store
        .write(
            "n",
            &mut written.iter().map(|key| Change::Put { key, value: b"v" }),
        )
        .expect("write");
    let of = |prefix: &[u8], after| scan(&*store, "n", prefix, after);
    assert_eq!(
        keys(&of(b"b", None)),
        [&b"b"[..], b"b\x00", b"ba", b"b\xff", b"b\xff\xff\x01"]
    );
    assert_eq!(
        keys(&of(b"b", Some(b"ba"))),
        [&b"b\xff"[..], b"b\xff\xff\x01"],
        "after is left out"
    );
    assert_eq!(
        keys(&of(b"b", Some(b"b\x01"))),
        [&b"ba"[..], b"b\xff", b"b\xff\xff\x01"],
        "after need not be a row"
    );
    assert_eq!(
        keys(&of(b"b", Some(b"a"))).len(),
        5,
        "after before the prefix"
    );
    assert!(of(b"b", Some(b"c")).is_empty(), "after behind the prefix");
    assert_eq!(keys(&of(b"b\xff", None)), [&b"b\xff"[..], b"b\xff\xff\x01"]);
    assert_eq!(
        keys(&of(b"\xff", None)),
        [&b"\xff"[..], b"\xff\xff\x02"],
        "a prefix without a successor"
    );
    assert_eq!(of(b"", None).len(), written.len());
    assert_eq!(
        keys(&of(b"", Some(b"b\xff"))),
        [&b"b\xff\xff\x01"[..], b"c", b"\xff", b"\xff\xff\x02"]
    );
}

fn scans_stop_and_fail_with_their_visitor(stores: &dyn Stores) {
    let mut store = stores.open("stop/0", &["n"]).expect("open");
    put(&mut *store, "n", &[("a", "1"), ("b", "2"), ("c", "3")]);
    let mut seen = 0;
    let mut stop = |_: &[u8], _: &[u8]| {
        seen += 1;
        Ok(seen < 2)
    };
    store.scan("n", b"", None, &mut stop).expect("scan");
    assert_eq!(seen, 2);
    let failed = store.scan("n", b"", None, &mut |_, _| Err(Error::Io("visitor".into())));
    assert!(matches!(failed, Err(Error::Io(m)) if m == "visitor"));
}

fn order_of_clear_and_put_is_kept(stores: &dyn Stores) {
    let mut store = stores.open("clear/0", &["n", "m"]).expect("open");
    put(
        &mut *store,
        "n",
        &[("a", "old"), ("aa", "old"), ("b", "stays")],
    );
    put(&mut *store, "m", &[("a", "other node")]);
    let changes = [
        Change::Put {
            key: b"ab",
            value: b"cleared in the same write",
        },
        Change::Clear { prefix: b"a" },
        Change::Put {
            key: b"aa",
            value: b"after",
        },
    ];
    store.write("n", &mut changes.into_iter()).expect("write");
    assert_eq!(all(&*store, "n"), rows(&[("aa", "after"), ("b", "stays")]));
    assert_eq!(
        store.get_many("n", &[b"a", b"ab"]).expect("get"),
        [None, None]
    );
    assert_eq!(all(&*store, "m"), rows(&[("a", "other node")]));
}

fn clear_of_a_prefix_without_a_successor(stores: &dyn Stores) {
    let mut store = stores.open("clear-end/0", &["n"]).expect("open");
    let put = |key| Change::Put { key, value: b"v" };
    let first: [Change<'_>; 4] = [
        put(b"\xff"),
        put(b"\xff\xff\xff\x01"),
        put(b"a"),
        put(b"\xff\x00"),
    ];
    store.write("n", &mut first.into_iter()).expect("write");
    let second = [
        put(b"\xff\xff"),
        Change::Clear {
            prefix: b"\xff\xff",
        },
        put(b"\xff\xff\x07"),
    ];
    store.write("n", &mut second.into_iter()).expect("write");
    assert_eq!(
        keys(&all(&*store, "n")),
        [&b"a"[..], b"\xff", b"\xff\x00", b"\xff\xff\x07"]
    );
    store
        .write(
            "n",
            &mut [Change::Clear { prefix: b"" }, put(b"b")].into_iter(),
        )
        .expect("write");
    assert_eq!(keys(&all(&*store, "n")), [&b"b"[..]]);
    store
        .write(
            "n",
            &mut [Change::Clear { prefix: b"" }, Change::Clear { prefix: b"" }].into_iter(),
        )
        .expect("write");
    assert!(all(&*store, "n").is_empty());
}

fn nodes_and_tasks_are_apart(stores: &dyn Stores) {
    let mut one = stores.open("apart/1", &["n", "default"]).expect("open");
    let two = stores.open("apart/11", &["n", "default"]).expect("open");
    put(&mut *one, "n", &[("a", "1")]);
    assert!(
        all(&*one, "default").is_empty(),
        "a node of any name is only a node"
    );
    put(&mut *one, "default", &[("a", "2")]);
    assert_eq!(all(&*one, "n"), rows(&[("a", "1")]));
    assert!(all(&*two, "n").is_empty());
}

fn position_ends_a_save_and_survives(stores: &dyn Stores) {
    let mut store = stores.open("position/0", &["n"]).expect("open");
    assert_eq!(store.position().expect("position"), None);
    put(&mut *store, "n", &[("a", "1")]);
    assert_eq!(
        store.position().expect("position"),
        None,
        "a write is no position"
    );
    store.set_position(AT).expect("set");
    let newer = SavedPosition {
        offset: 43,
        epoch: 8,
        nonce: 1,
    };
    store.set_position(newer).expect("set");
    put(&mut *store, "n", &[("b", "ahead of the position")]);
    drop(store);
    let store = stores.open("position/0", &["n"]).expect("open");
    assert_eq!(store.position().expect("position"), Some(newer));
    assert_eq!(
        all(&*store, "n"),
        rows(&[("a", "1"), ("b", "ahead of the position")])
    );
}

fn recovering_loses_nothing(stores: &dyn Stores) {
    let mut store = stores.open("recover/0", &["n", "m"]).expect("open");
    put(&mut *store, "n", &[("a", "1"), ("b", "2")]);
    store.set_position(AT).expect("set");
    put(&mut *store, "m", &[("c", "ahead of the position")]);
    store.recover().expect("recover");
    assert_eq!(store.position().expect("position"), Some(AT));
    assert_eq!(all(&*store, "n"), rows(&[("a", "1"), ("b", "2")]));
    put(&mut *store, "n", &[("a", "newer")]);
    store.recover().expect("recover again");
    assert_eq!(all(&*store, "n"), rows(&[("a", "newer"), ("b", "2")]));
    assert_eq!(all(&*store, "m").len(), 1);
}

fn wipe_removes_rows_and_position(stores: &dyn Stores) {
    let mut store = stores.open("wipe/0", &["n", "m"]).expect("open");
    put(&mut *store, "n", &[("a", "1")]);
    put(&mut *store, "m", &[("a", "1")]);
    store.set_position(AT).expect("set");
    store.wipe().expect("wipe");
    assert_eq!(store.position().expect("position"), None);
    assert!(all(&*store, "n").is_empty() && all(&*store, "m").is_empty());
    put(&mut *store, "n", &[("b", "2")]);
    drop(store);
    let store = stores.open("wipe/0", &["n", "m"]).expect("open");
    assert_eq!(store.position().expect("position"), None);
    assert_eq!(all(&*store, "n"), rows(&[("b", "2")]));
}

fn other_nodes_mean_another_store(stores: &dyn Stores) {
    // A position says that every change of every node is there: it cannot stand for a node that was not kept.
    let mut store = stores.open("nodes/0", &["a", "b"]).expect("open");
    put(&mut *store, "a", &[("k", "1")]);
    store.set_position(AT).expect("set");
    drop(store);
    let store = stores.open("nodes/0", &["b", "a"]).expect("open");
    assert_eq!(
        store.position().expect("position"),
        Some(AT),
        "order of nodes is nothing"
    );
    drop(store);
    let store = stores.open("nodes/0", &["a"]).expect("open");
    assert_eq!(store.position().expect("position"), None);
    assert!(all(&*store, "a").is_empty());
    drop(store);
    let mut store = stores.open("nodes/1", &["a"]).expect("open");
    put(&mut *store, "a", &[("k", "1")]);
    store.set_position(AT).expect("set");
    drop(store);
    let store = stores.open("nodes/1", &["a", "b"]).expect("open");
    assert_eq!(
        store.position().expect("position"),
        None,
        "a node was added"
    );
    assert!(all(&*store, "a").is_empty());
}

fn figures_count(stores: &dyn Stores) {
    let mut store = stores.open("figures/0", &["n"]).expect("open");
    put(&mut *store, "n", &[("a", "1"), ("b", "2")]);
    store.get_many("n", &[b"a", b"x"]).expect("get");
    all(&*store, "n");
    let figures = store.figures();
    assert_eq!((figures.rows, figures.reads, figures.writes), (2, 4, 2));
    assert!(figures.bytes > 0);
}

fn many_rows(stores: &dyn Stores) {
    // More than one write batch, and more than one batch of reads.
    let value = [b'x'; 500];
    let keys: Vec<[u8; 4]> = (0..6_000u32).map(u32::to_be_bytes).collect();
    let mut store = stores.open("many/0", &["n"]).expect("open");
    store
        .write(
            "n",
            &mut keys
                .iter()
                .rev()
                .map(|key| Change::Put { key, value: &value }),
        )
        .expect("write");
    assert_eq!(
        all(&*store, "n")
            .iter()
            .map(|(k, _)| &k[..])
            .collect::<Vec<_>>(),
        keys
    );
    let wanted: Vec<&[u8]> = keys.iter().rev().map(|k| &k[..]).collect();
    assert!(
        store
            .get_many("n", &wanted)
            .expect("get")
            .iter()
            .all(|v| v.as_deref() == Some(&value[..]))
    );
}
