//! Edits of a live folder. Every wait is for a condition, with a deadline far beyond what it takes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use seaway_cluster::manifests::{FollowOptions, Update, follow};
use tokio::sync::watch::Receiver;
use tokio::time::timeout;

use super::{folder, service, services, warnings};

const DEADLINE: Duration = Duration::from_secs(60);

/// Without rescans within the test: only the kernel's events bring an edit.
const BY_EVENTS: FollowOptions = FollowOptions {
    quiet: Duration::from_millis(20),
    limit: Duration::from_secs(1),
    rescan: Duration::from_secs(3600),
};

/// Waits until these Services are in force.
async fn check(updates: &mut Receiver<Update>, expected: &str) {
    let reached = timeout(DEADLINE, updates.wait_for(|update| services(&update.snapshot) == expected)).await;
    let reached = reached.map(|result| result.map(|_| ()));
    assert!(
        matches!(reached, Ok(Ok(()))),
        "wanted {expected:?}, have {:?}",
        services(&updates.borrow().snapshot)
    );
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
}

#[tokio::test]
async fn edits_arrive_by_events() {
    let dir = folder(&[("a.yaml", &service("a", 1))]);
    let dir = dir.path();
    let mut updates = follow(dir, BY_EVENTS).unwrap();
    check(&mut updates, "a:1").await;
    write(dir, "a.yaml", &service("a", 2));
    check(&mut updates, "a:2").await;
    write(dir, "b.yaml", &service("b", 3));
    check(&mut updates, "a:2 b:3").await;
    write(dir, ".b.tmp", &service("b", 4));
    fs::rename(dir.join(".b.tmp"), dir.join("b.yaml")).unwrap();
    check(&mut updates, "a:2 b:4").await;
    fs::remove_file(dir.join("a.yaml")).unwrap();
    check(&mut updates, "b:4").await;
}

#[tokio::test]
async fn a_swapped_data_link_arrives_by_events() {
    let dir = folder(&[]);
    let dir = dir.path();
    for (version, port) in [("..v1", 1), ("..v2", 2)] {
        fs::create_dir(dir.join(version)).unwrap();
        fs::write(dir.join(version).join("m.yaml"), service("m", port)).unwrap();
    }
    symlink("..v1", dir.join("..data")).unwrap();
    symlink("..data/m.yaml", dir.join("m.yaml")).unwrap();
    let mut updates = follow(dir, BY_EVENTS).unwrap();
    check(&mut updates, "m:1").await;
    symlink("..v2", dir.join("..tmp")).unwrap();
    fs::rename(dir.join("..tmp"), dir.join("..data")).unwrap();
    check(&mut updates, "m:2").await;
}

#[tokio::test]
async fn a_folder_that_was_replaced_is_followed_on() {
    let parent = folder(&[]);
    let dir = parent.path().join("manifests");
    fs::create_dir(&dir).unwrap();
    write(&dir, "a.yaml", &service("a", 1));
    let mut updates = follow(&dir, BY_EVENTS).unwrap();
    fs::rename(&dir, parent.path().join("old")).unwrap();
    let gone = timeout(DEADLINE, updates.wait_for(|update| !update.warnings.is_empty())).await;
    let gone = gone.unwrap().unwrap().clone();
    assert_eq!(services(&gone.snapshot), "a:1");
    assert!(warnings(&gone, &dir)[0].starts_with("FOLDER: the folder cannot be listed"));
    fs::create_dir(parent.path().join("new")).unwrap();
    write(&parent.path().join("new"), "b.yaml", &service("b", 2));
    fs::rename(parent.path().join("new"), &dir).unwrap();
    check(&mut updates, "b:2").await;
    assert_eq!(updates.borrow().warnings[..], []);
    write(&dir, "b.yaml", &service("b", 3));
    check(&mut updates, "b:3").await;
}

#[tokio::test]
async fn what_events_miss_is_found_by_the_rescan() {
    let elsewhere = folder(&[("a.yaml", &service("a", 1))]);
    let dir = folder(&[]);
    symlink(elsewhere.path().join("a.yaml"), dir.path().join("a.yaml")).unwrap();
    let options = FollowOptions { rescan: Duration::from_millis(50), ..BY_EVENTS };
    let mut updates = follow(dir.path(), options).unwrap();
    check(&mut updates, "a:1").await;
    write(elsewhere.path(), "a.yaml", &service("a", 2));
    check(&mut updates, "a:2").await;
}

#[tokio::test]
async fn edits_made_together_arrive_together() {
    let dir = folder(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 1))]);
    let options = FollowOptions { quiet: Duration::from_millis(500), limit: DEADLINE, ..BY_EVENTS };
    let mut updates = follow(dir.path(), options).unwrap();
    for port in 2..=9 {
        write(dir.path(), "a.yaml", &service("a", port));
        write(dir.path(), "b.yaml", &service("b", port));
    }
    // The writes above take no await, so no reload can begin between them.
    timeout(DEADLINE, updates.changed()).await.unwrap().unwrap();
    assert_eq!(services(&updates.borrow().snapshot), "a:9 b:9");
}

#[tokio::test]
async fn the_task_ends_with_its_last_receiver() {
    let dir = folder(&[("a.yaml", &service("a", 1))]);
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let updates = follow(dir.path(), BY_EVENTS).unwrap();
    assert_eq!(metrics.num_alive_tasks(), before + 1);
    drop(updates);
    let ended = async {
        while metrics.num_alive_tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, ended).await.unwrap();
}
