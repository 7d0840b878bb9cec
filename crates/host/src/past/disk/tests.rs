use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use stackvm_machine::config::DiskConfig;
use stackvm_machine::devices::disk::MemorySource;

use super::*;

const DISK_BYTES: usize = 4 << 20;

/// An ext4 file system with these files.
fn ext4(files: &[(&str, &[u8])]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for (path, content) in files {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("etc/hostname", tree.join("name")).unwrap();
    let image = folder.path().join("image");
    fs::write(&image, vec![0; DISK_BYTES]).unwrap();
    let made = Command::new("/sbin/mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([&tree, &image])
        .output()
        .expect("mke2fs is in Debian's package e2fsprogs");
    assert!(made.status.success(), "{made:?}");
    fs::read(image).unwrap()
}

fn disks(contents: Vec<Vec<u8>>) -> Result<Disks, DiskError> {
    let disk = |content| DiskConfig {
        source: Arc::new(MemorySource::new(content)),
        read_only: false,
        serial: String::new(),
    };
    let config = MachineConfig {
        // `j .`: a program that does nothing.
        kernel: None,
        firmware: Some(stackvm_machine::config::Firmware::File(Arc::new(vec![0x6f, 0, 0, 0]))),
        disks: contents.into_iter().map(disk).collect(),
        ..MachineConfig::default()
    };
    Disks::new(Machine::new(&config).unwrap(), &config)
}

fn read(disks: &Disks, path: &str) -> Result<Vec<u8>, DiskError> {
    let mut bytes = Vec::new();
    disks.find(path)?.copy(&mut bytes)?;
    Ok(bytes)
}

#[test]
fn files_are_read_from_whole_disks_and_partitions() {
    let large: Vec<u8> = (0..700_001_u32).map(|n| (n / 3) as u8).collect();
    let first = ext4(&[("etc/hostname", b"first\n"), ("large", &large)]);
    let second = ext4(&[("etc/hostname", b"second\n"), ("only/here", b"x")]);
    let mut partitioned = vec![0; 4096];
    partitioned[510..512].copy_from_slice(&[0x55, 0xaa]);
    partitioned[446 + 4] = 0x83;
    partitioned[446 + 8] = 8;
    partitioned[446 + 12..446 + 16].copy_from_slice(&(DISK_BYTES as u32 / 512).to_le_bytes());
    partitioned.extend(second);
    let disks = disks(vec![vec![0; 4096], first, partitioned]).unwrap();
    let check = |path: &str, place: &str, content: &[u8]| {
        let found = disks.find(path).unwrap();
        assert_eq!(
            (found.place(), found.kind()),
            (place, Kind::File { bytes: content.len() as u64 })
        );
        assert_eq!(read(&disks, path).unwrap(), content, "{path}");
    };
    check("/etc/hostname", "vdb", b"first\n");
    check("/name", "vdb", b"first\n");
    check("/large", "vdb", &large);
    check("/only/here", "vdc1", b"x");
    let error = disks.find("/none").err().unwrap().to_string();
    assert!(
        error.contains("/none") && error.contains("vdb; ") && error.contains("vdc1"),
        "{error}"
    );
}

#[test]
fn folders_are_archives() {
    let disks = disks(vec![ext4(&[("a/b/c", b"deep"), ("a/top", b"flat"), ("other", b"")])]);
    let disks = disks.unwrap();
    assert_eq!(disks.find("/a").unwrap().kind(), Kind::Folder);
    let bytes = read(&disks, "/").unwrap();
    let folder = tempfile::tempdir().unwrap();
    tar::Archive::new(bytes.as_slice()).unpack(folder.path()).unwrap();
    let content = |path: &str| fs::read(folder.path().join(path)).unwrap();
    assert_eq!((content("a/b/c"), content("a/top")), (b"deep".to_vec(), b"flat".to_vec()));
    assert_eq!(fs::read_link(folder.path().join("name")).unwrap(), Path::new("etc/hostname"));
}

#[test]
fn what_is_no_file_system_is_said() {
    let check = |contents, words: &str| {
        let error = disks(contents).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    };
    check(vec![], "no disk");
    check(vec![vec![7; 8192]], "vda: ");
    check(vec![vec![0; 512]], "vda: ");
}

#[test]
fn damaged_file_systems_never_panic() {
    let whole = ext4(&[("a/b", &[3; 5000]), ("c", b"x")]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..150 {
        let mut image = whole.clone();
        for _ in 0..60 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Where a small file system has its tables.
            let at = 1024 + (state >> 33) as usize % (200 << 10);
            image[at] = (state >> 20) as u8;
        }
        if let Ok(disks) = disks(vec![image]) {
            let _ = (read(&disks, "/"), read(&disks, "/a/b"), read(&disks, "/c"));
        }
    }
}
