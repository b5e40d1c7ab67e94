use super::*;

fn deployment(vhost: &str, name: &str, project: &[u8]) -> Deployment {
    Deployment {
        identity: Identity {
            organization: "carbon.super".to_owned(),
            vhost: vhost.to_owned(),
            api_id: format!("id-{name}"),
        },
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        base_path: format!("/{name}/1.0.0"),
        kind: "HTTP".to_owned(),
        environments: BTreeSet::from(["Default".to_owned(), "Two".to_owned()]),
        origin: Origin::Rest,
        digest: digest(project),
    }
}

fn put(project: &'static [u8], deployments: Vec<Deployment>) -> Changes {
    Changes {
        projects: vec![(digest(project), Bytes::from_static(project))],
        put: deployments,
        remove: Vec::new(),
    }
}

#[tokio::test]
async fn what_is_stored_outlives_a_process_that_never_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let epoch = store.epoch();
    let stored = store
        .apply(&put(b"zip", vec![deployment("a", "pets", b"zip")]))
        .await
        .unwrap();
    // Killed: the connection isn't closed and nothing is flushed on our behalf.
    std::mem::forget(store);

    let store = Store::open(folder.path()).await.unwrap();
    assert_eq!(store.epoch(), epoch);
    assert_eq!(store.list().await.unwrap(), stored);
    assert_eq!(
        store.project(&digest(b"zip")).await.unwrap().as_deref(),
        Some(b"zip".as_slice())
    );
}

#[tokio::test]
async fn an_equal_put_keeps_the_counter_and_a_change_moves_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let first = put(b"zip", vec![deployment("a", "pets", b"zip")]);
    let one = store.apply(&first).await.unwrap();
    assert_eq!(store.apply(&first).await.unwrap(), one);

    let changed = put(b"zip2", vec![deployment("a", "pets", b"zip2")]);
    let two = store.apply(&changed).await.unwrap();
    assert_eq!(two[0].counter, one[0].counter + 1);
    assert_eq!(two[0].created, one[0].created);
    assert_eq!(
        store.project(&digest(b"zip")).await.unwrap(),
        None,
        "a project nobody refers to is dropped"
    );
}

#[tokio::test]
async fn a_failing_deployment_leaves_nothing_of_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    // The second one refers to a project that isn't there.
    let batch = put(
        b"zip",
        vec![
            deployment("a", "pets", b"zip"),
            deployment("b", "pets", b"missing"),
        ],
    );
    assert!(matches!(store.apply(&batch).await, Err(StoreError::Database(_))));
    assert_eq!(store.list().await.unwrap(), vec![]);
    assert_eq!(store.project(&digest(b"zip")).await.unwrap(), None);
}

#[tokio::test]
async fn a_taken_base_path_never_drops_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let owner = deployment("a", "pets", b"zip");
    let one = store.apply(&put(b"zip", vec![owner.clone()])).await.unwrap();
    let mut thief = deployment("a", "other", b"zip");
    thief.base_path = owner.base_path;
    assert!(matches!(
        store.apply(&put(b"zip", vec![thief])).await,
        Err(StoreError::Database(_))
    ));
    assert_eq!(store.list().await.unwrap(), one);
}

#[tokio::test]
async fn removal_comes_before_addition() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let old = deployment("a", "pets", b"zip");
    store.apply(&put(b"zip", vec![old.clone()])).await.unwrap();
    let mut renamed = old.clone();
    renamed.identity.api_id = "other".to_owned();
    let changes = Changes {
        remove: vec![old.identity],
        ..put(b"zip", vec![renamed.clone()])
    };
    store.apply(&changes).await.unwrap();
    let list = store.list().await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].deployment, renamed);
}

#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
    }
    store.close().await;
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_left_as_it_is() {
    struct Case {
        name: &'static str,
        damage: fn(&mut Vec<u8>),
    }
    let cases = [
        Case {
            name: "not a database",
            damage: |bytes| *bytes = b"this is no database, it is a text file of some length".to_vec(),
        },
        Case {
            name: "pages overwritten",
            damage: |bytes| bytes.iter_mut().skip(4096).for_each(|byte| *byte = 0xa5),
        },
    ];
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store
            .apply(&put(b"zip", vec![deployment("a", "pets", b"zip")]))
            .await
            .unwrap();
        store.close().await;
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        (case.damage)(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let error = Store::open(folder.path()).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Corrupt { .. }),
            "{}: {error:?}",
            case.name
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{}", case.name);
    }
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'")
        .execute(&store.pool)
        .await
        .unwrap();
    store.close().await;
    assert!(matches!(
        Store::open(folder.path()).await,
        Err(StoreError::Schema { .. })
    ));
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_last_state_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let one = store
        .apply(&put(b"zip", vec![deployment("a", "pets", b"zip")]))
        .await
        .unwrap();
    let pages: i64 = sqlx::query("PRAGMA page_count")
        .fetch_one(&store.pool)
        .await
        .unwrap()
        .get(0);
    sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")))
        .execute(&store.pool)
        .await
        .unwrap();
    let big: Bytes = vec![7; 1 << 20].into();
    let changes = Changes {
        put: vec![deployment("b", "big", &big)],
        projects: vec![(digest(&big), big)],
        remove: Vec::new(),
    };
    let error = store.apply(&changes).await.unwrap_err();
    let StoreError::Database(error) = error else {
        panic!("{error:?}")
    };
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(store.list().await.unwrap(), one);
    // There is room again.
    store.apply(&changes).await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 2);
}

/// SQLite rolls back by itself then, as it does when the disk is full.
async fn refuse_writes(store: &Store) {
    for change in ["INSERT", "UPDATE"] {
        let trigger = format!(
            "CREATE TRIGGER refuse_{change} BEFORE {change} ON meta \
             BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END"
        );
        sqlx::query(sqlx::AssertSqlSafe(trigger))
            .execute(&store.pool)
            .await
            .unwrap();
    }
}

async fn allow_writes(store: &Store) {
    for change in ["INSERT", "UPDATE"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TRIGGER refuse_{change}")))
            .execute(&store.pool)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_ended_a_transaction_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let change = put(b"zip", vec![deployment("a", "pets", b"zip")]);
    assert_eq!(store.writable().await, Ok(()));
    refuse_writes(&store).await;
    for attempt in 1..=3 {
        let error = store.apply(&change).await.unwrap_err();
        assert!(
            crate::event::chain(&error).contains("disk is full"),
            "attempt {attempt}: {error:?}"
        );
        let told = store.writable().await.unwrap_err();
        assert!(told.contains("disk is full"), "attempt {attempt}: {told}");
    }
    allow_writes(&store).await;
    assert_eq!(store.writable().await, Ok(()), "found out without a deployment");
    store.apply(&change).await.unwrap();
    assert_eq!(store.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_write_that_is_dropped_on_its_way_leaves_nothing_and_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    for polls in 0..12 {
        let name = format!("pets{polls}");
        let change = put(b"zip", vec![deployment("a", &name, b"zip")]);
        let mut write = Box::pin(store.apply(&change));
        let mut left = polls;
        let ended = std::future::poll_fn(|cx| {
            if left == 0 {
                return std::task::Poll::Ready(None);
            }
            left -= 1;
            write.as_mut().poll(cx).map(Some)
        })
        .await;
        drop(write);
        let listed = store.list().await.unwrap();
        let there = listed.iter().any(|record| record.deployment.name == name);
        assert!(
            there || !matches!(ended, Some(Ok(_))),
            "{polls} polls: stored and not there"
        );
        store.apply(&change).await.unwrap();
    }
    assert_eq!(store.list().await.unwrap().len(), 12);
}

/// Random changes, some on a disk that is too full for them, against a map.
#[tokio::test]
async fn a_store_on_a_disk_that_fills_up_and_empties_is_a_map() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let mut model: std::collections::BTreeMap<Identity, Deployment> = std::collections::BTreeMap::new();
    let mut failures = 0;
    for step in 0..150 {
        let mut changes = Changes::default();
        for _ in 0..random.usize(1..4) {
            let name = format!("api{}", random.u8(0..6));
            if random.u8(0..4) == 0 {
                changes.remove.push(deployment("a", &name, b"").identity);
                continue;
            }
            // Ever larger, so that the pages of what was removed don't do.
            let project: Bytes = vec![random.u8(..); random.usize(1..1_500 * (step + 2))].into();
            let one = deployment("a", &name, &project);
            changes.put.retain(|other| other.identity != one.identity);
            changes.projects.push((one.digest, project));
            changes.put.push(one);
        }
        // Room for that many pages more; the bound belongs to the connection and goes with it.
        let room = if random.bool() { random.i64(0..3) } else { 1 << 20 };
        let pages: i64 = sqlx::query("PRAGMA page_count")
            .fetch_one(&store.pool)
            .await
            .unwrap()
            .get(0);
        let bound = format!("PRAGMA max_page_count = {}", pages + room);
        sqlx::query(sqlx::AssertSqlSafe(bound))
            .execute(&store.pool)
            .await
            .unwrap();
        match store.apply(&changes).await {
            Ok(_) => {
                for identity in &changes.remove {
                    model.remove(identity);
                }
                for one in changes.put {
                    model.insert(one.identity.clone(), one);
                }
            }
            Err(error) => {
                failures += 1;
                let text = crate::event::chain(&error);
                assert!(text.contains("disk is full"), "seed {seed} step {step}: {text}");
            }
        }
        let stored: std::collections::BTreeMap<Identity, Deployment> = store
            .list()
            .await
            .unwrap()
            .into_iter()
            .map(|record| (record.deployment.identity.clone(), record.deployment))
            .collect();
        assert_eq!(stored, model, "seed {seed} step {step}");
        for one in model.values() {
            let project = store.project(&one.digest).await.unwrap();
            assert!(project.is_some(), "seed {seed} step {step}");
        }
    }
    println!("{failures} of 150 writes met a full disk");
    // Eleven to fifteen as a rule.
    assert!(
        failures > 1,
        "seed {seed}: the disk was full {failures} times only"
    );
}

#[tokio::test]
async fn a_store_that_was_cut_to_nothing_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store
        .apply(&put(b"zip", vec![deployment("a", "pets", b"zip")]))
        .await
        .unwrap();
    store.close().await;
    let path = folder.path().join(FILE);
    std::fs::write(&path, "").unwrap();
    let error = Store::open(folder.path()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt { reason, .. } if reason.starts_with("it is empty")),
        "{error:?}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "left as it is");
    // What an earlier start left half-made is not in the way.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(folder.path().join(format!("{FILE}.new")), "half").unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    assert!(store.volatile().is_none() && store.list().await.unwrap().is_empty());
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("new"))
        .collect();
    left.sort();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn without_a_place_to_write_the_store_is_in_memory() {
    // /sys takes no folders, whoever asks.
    let store = Store::open(Path::new("/sys/trireme")).await;
    let Ok(store) = store else {
        panic!("{:?}", store.unwrap_err());
    };
    assert!(store.volatile().unwrap().contains("/sys/trireme"));
    let stored = store
        .apply(&put(b"zip", vec![deployment("a", "pets", b"zip")]))
        .await
        .unwrap();
    assert_eq!(store.list().await.unwrap(), stored);
    // A write that fails closes its connection, and loses nothing.
    let unknown = Changes {
        put: vec![deployment("a", "other", b"never stored")],
        ..Changes::default()
    };
    store.apply(&unknown).await.unwrap_err();
    assert_eq!(store.list().await.unwrap(), stored);
}
