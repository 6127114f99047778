//! Tests of the RocksDB stores: the contract, damage, formats, restarts.

use super::*;
use crate::state::contract;
use std::fs;

const BUDGET: StoreBudget = StoreBudget {
    block_cache_bytes: 8 << 20,
    write_buffer_bytes: 2 << 20,
};
const AT: SavedPosition = SavedPosition {
    offset: 5,
    epoch: 2,
    nonce: 3,
};

fn stores(at: &Path) -> RocksStores {
    RocksStores::open(at, BUDGET).expect("open")
}

#[test]
fn rocks_stores_keep_the_contract() {
    let at = tempfile::tempdir().expect("directory");
    contract::check(&stores(at.path()));
}

/// A store of 2000 rows, all in SST files, and then closed.
fn filled(at: &Path) -> Vec<contract::Row> {
    let rows: Vec<contract::Row> = (0..2000u32)
        .map(|i| {
            (
                i.to_be_bytes().to_vec(),
                i.wrapping_mul(0x9e37_79b9).to_le_bytes().repeat(8),
            )
        })
        .collect();
    let stores = stores(at);
    let mut store = stores.open("t/0", &["n"]).expect("open");
    store
        .write(
            "n",
            &mut rows.iter().map(|(key, value)| Change::Put { key, value }),
        )
        .expect("write");
    store.set_position(AT).expect("position");
    drop(store);
    let place = open::Place {
        path: at.join("t~0"),
        nodes: vec!["n".into()],
        shared: stores.shared.clone(),
    };
    let db = open::open_or_wipe(&place).expect("open");
    db.flush_cf(db.cf_handle("node.n").expect("family"))
        .expect("flush");
    db.flush().expect("flush");
    rows
}

fn files(at: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(at.join("t~0"))
        .expect("list")
        .map(|f| f.expect("file").path());
    all.filter(|f| f.extension().is_some_and(|e| e == extension))
        .collect()
}

/// What is read is what was written, or damage is reported, or the store is empty and without a position.
fn never_wrong(at: &Path, rows: &[contract::Row]) -> Result<()> {
    let stores = stores(at);
    let store = stores.open("t/0", &["n"])?;
    let position = store.position()?;
    let mut seen = Vec::new();
    store.scan("n", b"", None, &mut |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        Ok(true)
    })?;
    if position.is_none() {
        assert!(seen.is_empty(), "rows without a position");
    } else {
        assert_eq!(position, Some(AT));
        assert!(seen == rows, "{} rows, some of them wrong", seen.len());
    }
    let keys: Vec<&[u8]> = rows.iter().map(|(k, _)| &k[..]).collect();
    let got = store.get_many("n", &keys)?;
    let right = got
        .iter()
        .zip(rows)
        .all(|(got, (_, value))| match position {
            Some(_) => got.as_ref() == Some(value),
            None => got.is_none(),
        });
    assert!(right, "a lookup gave a wrong value");
    Ok(())
}

#[test]
fn flipped_bytes_in_a_table_are_damage_or_nothing_but_never_wrong_rows() {
    let at = tempfile::tempdir().expect("directory");
    let rows = filled(at.path());
    never_wrong(at.path(), &rows).expect("undamaged");
    let mut damaged = 0;
    for part in 0..12u64 {
        let at = tempfile::tempdir().expect("directory");
        filled(at.path());
        // The file with the rows: one that holds little more than the position is read when the store is opened.
        let size = |file: &PathBuf| fs::metadata(file).map_or(0, |m| m.len());
        let file = files(at.path(), "sst").into_iter().max_by_key(size);
        let file = file.expect("a file");
        let mut bytes = fs::read(&file).expect("read");
        let place = bytes.len() as u64 * part / 12;
        bytes[place as usize] ^= 0x10;
        fs::write(&file, bytes).expect("write");
        match never_wrong(at.path(), &rows) {
            Ok(()) => {}
            Err(Error::Damaged { .. }) => damaged += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        damaged > 6,
        "only {damaged} flipped bytes were noticed while reading"
    );
}

#[test]
fn a_value_that_rocksdb_finds_good_but_is_not_ours_is_damage() {
    let at = tempfile::tempdir().expect("directory");
    let rows = filled(at.path());
    let stores = stores(at.path());
    let place = open::Place {
        path: at.path().join("t~0"),
        nodes: vec!["n".into()],
        shared: stores.shared.clone(),
    };
    let db = open::open_or_wipe(&place).expect("open");
    let family = db.cf_handle("node.n").expect("family");
    let other_row = db.get_cf(family, &rows[1].0).expect("get").expect("row");
    // Good bytes at another key: a checksum over the value alone would not notice.
    db.put_cf(family, &rows[0].0, other_row).expect("put");
    db.put_cf(family, &rows[2].0, [1, 2]).expect("put");
    drop(db);
    let store = stores.open("t/0", &["n"]).expect("open");
    for damaged in [0, 2] {
        assert!(matches!(
            store.get_many("n", &[&rows[damaged].0]),
            Err(Error::Damaged { .. })
        ));
    }
    assert!(matches!(
        store.scan("n", b"", None, &mut |_, _| Ok(true)),
        Err(Error::Damaged { .. })
    ));
    store
        .get_many("n", &[&rows[1].0])
        .expect("its neighbours are good");
}

#[test]
fn a_store_that_does_not_open_is_opened_empty() {
    for (what, damage) in [
        (
            "no CURRENT",
            (|at: &Path| fs::remove_file(at.join("t~0/CURRENT")))
                as fn(&Path) -> std::io::Result<()>,
        ),
        ("CURRENT of nothing", |at| {
            fs::write(at.join("t~0/CURRENT"), "MANIFEST-999999\n")
        }),
        ("a table is missing", |at| {
            files(at, "sst").iter().try_for_each(fs::remove_file)
        }),
        ("a table is cut", |at| {
            files(at, "sst")
                .iter()
                .try_for_each(|f| fs::write(f, b"cut"))
        }),
        ("an empty directory", |at| {
            fs::remove_dir_all(at.join("t~0")).and_then(|()| fs::create_dir(at.join("t~0")))
        }),
    ] {
        let at = tempfile::tempdir().expect("directory");
        filled(at.path());
        damage(at.path()).expect(what);
        let stores = stores(at.path());
        let mut store = stores
            .open("t/0", &["n"])
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(store.position().expect(what), None, "{what}");
        assert!(contract::all(&*store, "n").is_empty(), "{what}");
        contract::put(&mut *store, "n", &[("works", "again")]);
        assert_eq!(contract::all(&*store, "n").len(), 1, "{what}");
    }
}

#[test]
fn another_format_is_wiped() {
    for format in [Some(&[2u8, 1, 1][..]), Some(&[1]), None] {
        let at = tempfile::tempdir().expect("directory");
        filled(at.path());
        let stores = stores(at.path());
        let place = open::Place {
            path: at.path().join("t~0"),
            nodes: vec!["n".into()],
            shared: stores.shared.clone(),
        };
        let db = open::open_or_wipe(&place).expect("open");
        match format {
            Some(format) => db.put("format", format).expect("put"),
            None => db.delete("format").expect("delete"),
        }
        drop(db);
        let store = stores.open("t/0", &["n"]).expect("open");
        assert_eq!(store.position().expect("position"), None);
        assert!(contract::all(&*store, "n").is_empty());
    }
}

#[test]
fn a_disk_that_refuses_is_an_error_and_nothing_is_wiped() {
    let at = tempfile::tempdir().expect("directory");
    let rows = filled(at.path());
    let stores = stores(at.path());
    // A file where the directory of the task should be: neither readable nor writable as a directory.
    fs::rename(at.path().join("t~0"), at.path().join("aside")).expect("rename");
    fs::write(at.path().join("t~0"), "a file").expect("write");
    assert!(matches!(stores.open("t/0", &["n"]), Err(Error::Io(_))));
    assert_eq!(
        fs::read(at.path().join("t~0")).expect("still there"),
        b"a file"
    );
    fs::remove_file(at.path().join("t~0")).expect("remove");
    fs::rename(at.path().join("aside"), at.path().join("t~0")).expect("rename");
    never_wrong(at.path(), &rows).expect("undamaged");
    let store = stores
        .open("t/0", &["n"])
        .expect("a failed opening keeps no claim");
    assert_eq!(store.position().expect("position"), Some(AT));
}

#[test]
fn a_store_is_not_wiped_where_no_file_can_be_written() {
    let at = tempfile::tempdir().expect("directory");
    let rows = filled(at.path());
    let (current, aside) = (at.path().join("t~0/CURRENT"), at.path().join("aside"));
    fs::rename(&current, &aside).expect("rename");
    // Stands for a full disk: the probing file cannot be written.
    fs::create_dir(at.path().join("t~0/probe")).expect("create");
    assert!(matches!(
        stores(at.path()).open("t/0", &["n"]),
        Err(Error::Io(_))
    ));
    fs::remove_dir(at.path().join("t~0/probe")).expect("remove");
    fs::rename(&aside, &current).expect("rename");
    never_wrong(at.path(), &rows).expect("undamaged");
    let store = stores(at.path()).open("t/0", &["n"]).expect("open");
    assert_eq!(store.position().expect("position"), Some(AT));
}

#[test]
fn a_log_that_lost_its_end_leaves_a_store_that_holds_its_position() {
    let at = tempfile::tempdir().expect("directory");
    let stores = stores(at.path());
    let mut store = stores.open("t/0", &["n"]).expect("open");
    for save in 0..50i64 {
        let value = save.to_le_bytes();
        store
            .write(
                "n",
                &mut [Change::Put {
                    key: b"k",
                    value: &value,
                }]
                .into_iter(),
            )
            .expect("write");
        store
            .set_position(SavedPosition { offset: save, ..AT })
            .expect("position");
    }
    drop(store);
    drop(stores);
    let log = files(at.path(), "log")
        .into_iter()
        .max_by_key(|f| fs::metadata(f).map_or(0, |m| m.len()))
        .expect("a log");
    let whole = fs::read(&log).expect("read");
    let copy = tempfile::tempdir().expect("directory");
    let mut held = Vec::new();
    for keep in (1..=10).rev() {
        let to = copy.path().join(keep.to_string());
        fs::create_dir_all(to.join("t~0")).expect("create");
        for file in fs::read_dir(at.path().join("t~0"))
            .expect("list")
            .map(|f| f.expect("file").path())
        {
            fs::copy(&file, to.join("t~0").join(file.file_name().expect("name"))).expect("copy");
        }
        let cut = to.join("t~0").join(log.file_name().expect("name"));
        fs::write(cut, &whole[..whole.len() * keep / 10]).expect("cut");
        let store = RocksStores::open(&to, BUDGET)
            .expect("open")
            .open("t/0", &["n"])
            .expect("open");
        let Some(position) = store.position().expect("position") else {
            continue;
        };
        let value = store
            .get_many("n", &[b"k"])
            .expect("get")
            .remove(0)
            .expect("a row");
        let saved = i64::from_le_bytes(value.try_into().expect("8 bytes"));
        assert!(
            saved >= position.offset,
            "row of save {saved} behind position {}",
            position.offset
        );
        held.push(position.offset);
    }
    assert!(held.len() > 3 && held[0] == 49, "positions held: {held:?}");
}

#[test]
fn a_store_that_cannot_be_written_is_read_and_goes_on_when_it_can() {
    let at = tempfile::tempdir().expect("directory");
    let stores = stores(at.path());
    let mut store = stores.open("t/0", &["n"]).expect("open");
    contract::put(&mut *store, "n", &[("a", "1")]);
    store.set_position(AT).expect("position");
    contract::put(&mut *store, "n", &[("b", "behind the position")]);
    let rows = contract::rows(&[("a", "1"), ("b", "behind the position")]);
    // Stands for a disk that refuses: opening to write needs the lock, opening to read does not.
    let lock = at.path().join("t~0/LOCK");
    fs::remove_file(&lock).expect("remove");
    fs::create_dir(&lock).expect("create");
    for _ in 0..2 {
        assert!(matches!(store.recover(), Err(Error::Io(_))));
        assert_eq!(contract::all(&*store, "n"), rows);
        assert_eq!(store.position().expect("position"), Some(AT));
        assert!(matches!(store.set_position(AT), Err(Error::Io(_))));
    }
    fs::remove_dir(&lock).expect("remove");
    store.recover().expect("recover");
    assert_eq!(contract::all(&*store, "n"), rows);
    contract::put(&mut *store, "n", &[("c", "3")]);
    store.recover().expect("recover again");
    assert_eq!(contract::all(&*store, "n").len(), 3);
}

#[test]
fn a_store_that_comes_back_without_what_was_written_is_damaged() {
    let at = tempfile::tempdir().expect("directory");
    let stores = stores(at.path());
    let mut store = stores.open("t/0", &["n"]).expect("open");
    contract::put(&mut *store, "n", &[("a", "1")]);
    for log in files(at.path(), "log") {
        fs::OpenOptions::new()
            .write(true)
            .open(log)
            .and_then(|log| log.set_len(0))
            .expect("cut");
    }
    assert!(matches!(store.recover(), Err(Error::Damaged { .. })));
    store.wipe().expect("wipe");
    contract::put(&mut *store, "n", &[("b", "2")]);
    store.recover().expect("recover");
    assert_eq!(contract::all(&*store, "n"), contract::rows(&[("b", "2")]));
}
