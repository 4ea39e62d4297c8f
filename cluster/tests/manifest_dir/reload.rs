//! Loading and reloading, one step at a time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use seaway_cluster::manifests::{Error, ManifestDir};
use seaway_cluster::{ObjectName, Snapshot};
use tempfile::TempDir;

use super::{folder, service, services, warnings};

/// A folder that is edited and read again step by step.
struct Edited {
    dir: TempDir,
    manifests: ManifestDir,
}

impl Edited {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = folder(files);
        let manifests = ManifestDir::open(dir.path()).unwrap();
        Self { dir, manifests }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Reads the folder again and compares.
    fn check(&mut self, expected: &str, expected_warnings: &[&str]) -> Arc<Snapshot> {
        self.manifests.reload(SystemTime::now());
        let update = self.manifests.current();
        assert_eq!(warnings(update, self.dir.path()), expected_warnings);
        assert_eq!(services(&update.snapshot), expected);
        Arc::clone(&update.snapshot)
    }
}

fn check_open(dir: &Path, expected: &str) {
    let error: Error = ManifestDir::open(dir).unwrap_err();
    assert_eq!(error.to_string().replace(&dir.display().to_string(), "FOLDER"), expected);
}

#[test]
fn a_folder_that_says_nothing_is_an_error_at_the_start() {
    let dir = folder(&[]);
    check_open(&dir.path().join("absent"), "cannot list the manifest folder FOLDER");
    let none = "the manifest folder FOLDER holds no file named *.yaml, *.yml or *.json";
    check_open(dir.path(), none);
    check_open(folder(&[("readme.txt", "x"), (".hidden.yaml", &service("a", 1))]).path(), none);
    let kinds = "the manifest folder FOLDER holds no Service, EndpointSlice, Endpoints, Pod, Node, Namespace or \
         ServiceImport";
    check_open(folder(&[("a.yaml", "{apiVersion: v1, kind: Secret}")]).path(), kinds);
    check_open(
        folder(&[("a.yaml", "kind: [")]).path(),
        &format!(
            "{kinds} that can be read: FOLDER/a.yaml, document 1, line 1: kind: cannot be read: expected string scalar"
        ),
    );
}

#[test]
fn files_are_chosen_as_kubectl_chooses_them() {
    let json = "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"c\"},\"spec\":{\"clusterIP\":\
                \"10.96.0.3\",\"ports\":[{\"port\":3}]}}";
    let dir = folder(&[
        ("a.yaml", &service("a", 1)),
        ("b.yml", &service("b", 2)),
        ("c.json", json),
        ("d.txt", &service("d", 4)),
        ("e.yaml.swp", &service("e", 5)),
        (".f.yaml", &service("f", 6)),
    ]);
    fs::create_dir(dir.path().join("g.yaml")).unwrap();
    fs::write(dir.path().join("g.yaml/h.yaml"), service("h", 8)).unwrap();
    let (snapshot, warnings) = ManifestDir::load(dir.path()).unwrap();
    assert_eq!((services(&snapshot).as_str(), warnings.len()), ("a:1 b:2 c:3", 0));
}

#[test]
fn namespaces_that_are_used_exist() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}}";
    let (snapshot, _) = ManifestDir::load(folder(&[("a.yaml", pod)]).path()).unwrap();
    let names: Vec<_> = snapshot.namespaces.keys().map(AsRef::as_ref).collect();
    assert_eq!(names, ["default", "shop"]);
}

#[test]
fn a_broken_file_keeps_its_last_good_content() {
    let mut edited =
        Edited::new(&[("a.yaml", &(service("a", 1) + &service("b", 2))), ("c.yaml", &service("c", 3))]);
    edited.write("a.yaml", &(service("a", 10) + &service("b", 7777).replace("7777", "[")));
    edited.write("c.yaml", &service("c", 30));
    let stays = "a.yaml: the last good content of this file stays in force (2 objects) until it can be read";
    let line = "a.yaml, document 2, line 18: spec.ports[0].port: cannot be read: unclosed bracket '['";
    edited.check("a:1 b:2 c:30", &[stays, line]);
    edited.write("a.yaml", &service("a", 100));
    edited.check("a:100 c:30", &[]);
}

#[test]
fn an_invalid_object_keeps_the_last_good_content_of_its_file() {
    let mut edited = Edited::new(&[("a.yaml", &(service("a", 1) + &service("b", 2)))]);
    edited.write("a.yaml", &(service("a", 10) + &service("b", 0)));
    edited.check("a:1 b:2", &[
        "a.yaml: the last good content of this file stays in force (2 objects) until it can be read",
        "a.yaml, document 2, line 11: Service default/b: spec.ports[0].port: 0 is not a port (1 to 65535)",
    ]);
}

#[test]
fn a_new_file_with_one_bad_document_counts_as_far_as_it_is_sound() {
    let text = format!("{}---\n: bad: [\n{}", service("a", 1), service("c", 3));
    let mut edited = Edited::new(&[("a.yaml", &text)]);
    let found = edited.manifests.current().warnings.clone();
    assert_eq!(found.len(), 1);
    let place = found[0].place.as_ref().unwrap();
    assert_eq!((place.document, place.line), (2, 11));
    let same: Vec<_> = found
        .iter()
        .map(|w| w.to_string().replace(&format!("{}/", edited.dir.path().display()), ""))
        .collect();
    edited.check("a:1 c:3", &same.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_file_that_became_blank_or_unreadable_keeps_its_objects() {
    let mut edited = Edited::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    let stays = "a.yaml: the last good content of this file stays in force (1 objects) until it can be read";
    edited.write("a.yaml", "");
    edited.check("a:1 b:2", &["a.yaml: is blank", stays]);
    fs::write(edited.path("a.yaml"), [0xff, 0xfe]).unwrap();
    edited.check("a:1 b:2", &["a.yaml: cannot be read (stream did not contain valid UTF-8)", stays]);
    fs::remove_file(edited.path("a.yaml")).unwrap();
    symlink("nowhere", edited.path("a.yaml")).unwrap();
    edited.check("a:1 b:2", &["a.yaml: cannot be read (No such file or directory (os error 2))", stays]);
    fs::remove_file(edited.path("a.yaml")).unwrap();
    edited.check("b:2", &[]);
}

#[test]
fn the_first_of_two_equal_names_counts() {
    let mut edited = Edited::new(&[("b.yaml", &service("x", 2)), ("c.yaml", &service("x", 3))]);
    let second = |file: &str, first: &str| {
        format!("{file}, document 1, line 2: Service default/x: is left out: the one in FOLDER/{first}, document 1, line 2 counts")
            .replace("FOLDER/", "")
    };
    edited.check("x:2", &[&second("c.yaml", "b.yaml")]);
    edited.write("a.yaml", &service("x", 1));
    edited.check("x:1", &[&second("b.yaml", "a.yaml"), &second("c.yaml", "a.yaml")]);
    fs::remove_file(edited.path("a.yaml")).unwrap();
    fs::remove_file(edited.path("b.yaml")).unwrap();
    edited.check("x:3", &[]);
}

#[test]
fn a_deleted_file_takes_its_objects_but_an_emptied_folder_keeps_all() {
    let mut edited = Edited::new(&[("a.yaml", &service("a", 1)), ("b.yaml", &service("b", 2))]);
    fs::remove_file(edited.path("a.yaml")).unwrap();
    edited.check("b:2", &[]);
    fs::remove_file(edited.path("b.yaml")).unwrap();
    edited.check("b:2", &["FOLDER: the folder holds no manifest any more; the last snapshot stays in force"]);
    edited.write("c.yaml", "{apiVersion: v1, kind: Secret}");
    edited.check("b:2", &["FOLDER: the folder holds no object any more; the last snapshot stays in force"]);
    fs::remove_dir_all(edited.dir.path()).unwrap();
    edited.check(
        "b:2",
        &["FOLDER: the folder cannot be listed (No such file or directory (os error 2)); the last \
                           snapshot stays in force"],
    );
    fs::create_dir(edited.dir.path()).unwrap();
    edited.write("d.yaml", &service("d", 4));
    edited.check("d:4", &[]);
}

#[test]
fn a_rename_over_and_a_swapped_link_are_seen() {
    let mut edited = Edited::new(&[("a.yaml", &service("a", 1))]);
    edited.write("a.yaml.tmp", &service("a", 2));
    fs::rename(edited.path("a.yaml.tmp"), edited.path("a.yaml")).unwrap();
    edited.check("a:2", &[]);
    for (version, port) in [("..v1", 3), ("..v2", 4)] {
        fs::create_dir(edited.path(version)).unwrap();
        fs::write(edited.path(version).join("m.yaml"), service("m", port)).unwrap();
    }
    symlink("..v1", edited.path("..data")).unwrap();
    symlink("..data/m.yaml", edited.path("m.yaml")).unwrap();
    edited.check("a:2 m:3", &[]);
    symlink("..v2", edited.path("..tmp")).unwrap();
    fs::rename(edited.path("..tmp"), edited.path("..data")).unwrap();
    edited.check("a:2 m:4", &[]);
}

#[test]
fn an_edit_of_the_same_length_within_one_clock_tick_is_seen() {
    let mut edited = Edited::new(&[("a.yaml", &service("a", 1))]);
    let modified = fs::metadata(edited.path("a.yaml")).unwrap().modified().unwrap();
    for port in 2..9 {
        edited.write("a.yaml", &service("a", port));
        fs::File::options().write(true).open(edited.path("a.yaml")).unwrap().set_modified(modified).unwrap();
        edited.check(&format!("a:{port}"), &[]);
    }
}

#[test]
fn unchanged_objects_and_snapshots_are_shared() {
    let slice = |name: &str| {
        format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, labels: \
             {{kubernetes.io/service-name: a}}}}, addressType: IPv4}}\n"
        )
    };
    let text = service("a", 1) + &slice("s") + "---\n{apiVersion: v1, kind: Node, metadata: {name: n}}\n";
    let mut edited = Edited::new(&[("a.yaml", &text)]);
    let before = Arc::clone(&edited.manifests.current().snapshot);
    assert!(!edited.manifests.reload(SystemTime::now()));
    edited.write("a.yaml", &format!("# a comment\n{text}"));
    assert!(!edited.manifests.reload(SystemTime::now()));
    assert!(Arc::ptr_eq(&before, &edited.manifests.current().snapshot));
    edited.write("a.yaml", &(text + &service("b", 2) + &slice("t")));
    let after = edited.check("a:1 b:2", &[]);
    let (web, own) = (ObjectName::new("default", "a"), ObjectName::new("default", "s"));
    assert!(Arc::ptr_eq(&before.services[&web], &after.services[&web]));
    assert!(Arc::ptr_eq(before.slices[&web].get(&own).unwrap(), after.slices[&web].get(&own).unwrap()));
    assert!(Arc::ptr_eq(&before.nodes["n"], &after.nodes["n"]));
    assert!(Arc::ptr_eq(&before.namespaces["default"], &after.namespaces["default"]));
    assert_eq!(after.slices[&web].len(), 2);
}

#[test]
fn the_example_manifests_are_sound() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/manifests");
    let (snapshot, warnings) = ManifestDir::load(dir).unwrap();
    assert_eq!(warnings, []);
    let name = ObjectName::new("default", "nginx-svc");
    let port = &snapshot.services[&name].ports[0];
    let endpoints = snapshot.endpoints_of(&name, port, seaway_cluster::AddressFamily::Ipv4);
    let addresses: Vec<_> = endpoints.iter().map(|joined| joined.address.to_string()).collect();
    assert_eq!(addresses, ["10.1.1.111:80", "10.1.1.112:80", "10.1.1.114:80"]);
    assert_eq!(snapshot.local_ready(&name, seaway_cluster::AddressFamily::Ipv4, "node-1"), 3);
    assert_eq!(snapshot.nodes["node-1"].zone.as_deref(), Some("zone-a"));
}
