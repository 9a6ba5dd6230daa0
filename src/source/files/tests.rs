use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

fn steps(root: &Path, options: &Options) -> Vec<Step> {
    walk(root, options).unwrap().collect()
}

/// The paths that a walk without failures finds.
fn paths(root: &Path, options: &Options) -> Vec<String> {
    steps(root, options).iter().map(|step| String::from_utf8(expect_found(step).path.clone()).unwrap()).collect()
}

fn expect_found(step: &Step) -> &Found {
    match step {
        Step::Found(found) => found,
        Step::Failed(failure) => panic!("{failure:?}"),
    }
}

/// The entry at this path.
fn find(root: &Path, path: &str) -> Found {
    walk(root, &Options::default())
        .unwrap()
        .find_map(|step| match step {
            Step::Found(found) if found.path == path.as_bytes() => Some(found),
            _ => None,
        })
        .unwrap()
}

#[test]
fn a_directory_stands_directly_before_its_subtree() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["a", "a.b", "a/x", "a-"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    for file in ["a/x/1", "a/y", "a.b/z", "b", "a-/q"] {
        fs::write(root.path().join(file), file).unwrap();
    }
    let found = paths(root.path(), &Options::default());
    assert_eq!(found, ["", "a", "a/x", "a/x/1", "a/y", "a-", "a-/q", "a.b", "a.b/z", "b"]);
    let slash_as_zero = |path: &String| path.replace('/', "\0");
    assert!(found.is_sorted_by_key(slash_as_zero));
}

#[test]
fn a_single_file_is_a_tree_of_one() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("one"), "1").unwrap();
    symlink("one", root.path().join("link")).unwrap();
    for name in ["one", "link"] {
        let steps = steps(&root.path().join(name), &Options::default());
        assert_eq!(steps.len(), 1);
        let found = expect_found(&steps[0]);
        assert_eq!(found.path, name.as_bytes());
        let mut content = [0; 2];
        assert_eq!(found.open().unwrap().read_at(0, &mut content).unwrap(), 1);
        assert_eq!(found.xattrs().unwrap(), []);
    }
}

#[test]
fn a_link_is_read_and_never_followed() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    fs::write(root.path().join("d/f"), "").unwrap();
    symlink("d", root.path().join("l")).unwrap();
    assert_eq!(paths(root.path(), &Options::default()), ["", "d", "d/f", "l"]);
    assert_eq!(find(root.path(), "l").link_target().unwrap(), b"d");
}
