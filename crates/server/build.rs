//! Puts the built pages (`web/dist`) into the binary. Where they are not built, as in a plain
//! `cargo check`, a page that says so takes their place.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const PLACEHOLDER: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>StackVM</title><p>The pages are not built. Run <code>make</code>, which builds them and \
    then this program.</p></html>\n";

fn main() -> io::Result<()> {
    let crate_folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let built = crate_folder.join("../../web/dist");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", built.display());

    let mut files = Vec::new();
    if built.join("index.html").exists() {
        collect(&built, &mut files)?;
    } else {
        println!("cargo::warning=web/dist is missing: the pages are not built, run `make`");
        let page = out.join("index.html");
        fs::write(&page, PLACEHOLDER)?;
        files.push(page);
    }
    files.sort();

    let root = if built.join("index.html").exists() { &built } else { &out };
    let mut table = String::from("static PAGES: &[Page] = &[\n");
    for file in files.iter().filter(|file| file.extension().is_none_or(|it| it != "gz")) {
        let path = file.strip_prefix(root).expect("it was found below its root");
        let path = path.to_str().expect("pages have plain names");
        let zipped = PathBuf::from(format!("{}.gz", file.display()));
        let gzip = match files.contains(&zipped) {
            true => format!("Some(include_bytes!({zipped:?}))"),
            false => "None".to_owned(),
        };
        writeln!(
            table,
            "Page {{ path: {path:?}, bytes: include_bytes!({file:?}), gzip: {gzip} }},"
        )
        .expect("writing to a string succeeds");
    }
    table.push_str("];\n");
    fs::write(out.join("pages.rs"), table)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Cargo watches a folder's own entries only.
        println!("cargo::rerun-if-changed={}", path.display());
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
