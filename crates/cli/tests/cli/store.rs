//! `stackvm store`: in, out, compared, checked, removed.

use std::fs;

use super::common::Home;

#[test]
fn disks_go_into_the_store_and_come_out() {
    let home = Home::new();
    let file = |name: &str| home.path().join(name).display().to_string();
    let mut disk: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(file("disk"), &disk).expect("room");
    let run = |args: &[&str]| {
        let ran = home.run(&[&["store"], args].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran
    };
    let refused = |args: &[&str], expected: &str| {
        let ran = home.run(&[&["store"], args].concat());
        assert_eq!(ran.code, Some(1), "{args:?}: {ran:?}");
        assert!(ran.err.contains(expected), "{args:?}: {ran:?}");
        assert!(ran.err.contains("help: "), "{args:?}: {ran:?}");
    };
    assert!(run(&["ls"]).err.contains("empty"));
    run(&["put", &file("disk"), "--name", "one"]);
    disk[9_000] ^= 1;
    fs::write(file("disk"), &disk).expect("room");
    run(&["put", &file("disk"), "--parent", "one"]);
    run(&["clone", "disk", "twin"]);
    let listed: serde_json::Value =
        serde_json::from_str(&run(&["ls", "--json"]).out).expect("JSON");
    let names: Vec<_> = listed.as_array().expect("a list").iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["disk", "one", "twin"]);
    let changes: serde_json::Value =
        serde_json::from_str(&run(&["diff", "one", "twin", "--json"]).out).expect("JSON");
    assert_eq!(changes, serde_json::json!([{ "offset": 8192, "bytes": 4096 }]));

    run(&["get", "twin", &file("out")]);
    assert!(fs::read(file("out")).expect("written") == disk);
    refused(&["get", "twin", &file("out")], "is there already");
    refused(&["get", "nothing", &file("new")], "there is no `nothing`");
    refused(&["put", &file("disk")], "there is a `disk`");
    refused(&["put", &file("disk"), "--name", "x", "--parent", "y"], "there is no `y`");

    run(&["rm", "one", "disk"]);
    run(&["gc", "--grace", "0s"]);
    run(&["gc", "--grace", "0s"]);
    assert!(run(&["verify", "--all"]).out.contains("twin  whole"));
    assert!(run(&["scrub"]).out.contains("nothing is damaged"));
    assert!(run(&["stats"]).out.contains("content"));

    for pack in fs::read_dir(home.path().join("store/packs")).expect("listed") {
        let path = pack.expect("entry").path();
        let mut bytes = fs::read(&path).expect("there");
        bytes[20..40].fill(0);
        fs::write(&path, bytes).expect("ours");
    }
    let ran = home.run(&["store", "scrub"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("needed by twin"), "{ran:?}");
    let ran = home.run(&["store", "verify", "twin"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("damaged"), "{ran:?}");
}
