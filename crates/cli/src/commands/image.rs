//! `stackvm image`: what machines start from.

use std::path::Path;

use anyhow::Result;
use serde_json::json;
use stackvm_images::{BuildOptions, Image, ImageStore, Job, data_dir};

use crate::args;
use crate::format::Format;
use crate::session::Signals;
use crate::values::show_bytes;
use crate::work::with_progress;

/// Does what `stackvm image …` asks.
pub(crate) async fn run(command: args::Image) -> Result<u8> {
    let home = data_dir()?;
    match command {
        args::Image::Build { name, mirror } => {
            let image = build(name, mirror).await?;
            println!("{}  {}", image.name, image.hash);
        }
        args::Image::Ls { format } => list(&ImageStore::open(&home)?.list()?, format.format()),
        args::Image::Rm { names } => {
            let store = ImageStore::open(&home)?;
            for name in names {
                store.remove(&name)?;
            }
        }
        args::Image::Export { name, file } => {
            let to = file.clone();
            with_progress(&mut Signals::new()?, move |sink, cancel| {
                let store = ImageStore::open(&home)?;
                Ok(store.export(&name, &to, &mut Job::new(sink, cancel))?)
            })
            .await?;
            eprintln!("written: {}", file.display());
        }
        args::Image::Import { file } => {
            let image = with_progress(&mut Signals::new()?, move |sink, cancel| {
                let store = ImageStore::open(&home)?;
                Ok(store.import(&file, &mut Job::new(sink, cancel))?)
            })
            .await?;
            println!("{}  {}", image.name, image.hash);
        }
    }
    Ok(0)
}

/// The image `name`, built first if it can be and is missing.
pub(crate) async fn ensure(
    name: &str,
    mirror: Option<&str>,
    signals: &mut Signals,
) -> Result<Image> {
    let options = options(&data_dir()?, mirror.map(str::to_owned));
    let name = name.to_owned();
    with_progress(signals, move |sink, cancel| {
        Ok(stackvm_images::ensure(&name, &options, sink, cancel)?)
    })
    .await
}

async fn build(name: String, mirror: Option<String>) -> Result<Image> {
    let options = options(&data_dir()?, mirror);
    with_progress(&mut Signals::new()?, move |sink, cancel| {
        Ok(stackvm_images::build(&name, &options, sink, cancel)?)
    })
    .await
}

/// How images are built here.
pub(crate) fn options(home: &Path, mirror: Option<String>) -> BuildOptions {
    BuildOptions { data_dir: home.to_owned(), mirror }
}

fn list(images: &[Image], format: Format) {
    let row = |image: &Image| {
        json!({
            "name": image.name,
            "hash": image.hash.as_str(),
            "size_bytes": image.size_bytes,
            "memory_bytes": image.memory_bytes,
        })
    };
    let json = images.iter().map(row).collect();
    format.print(images.iter().map(|image| image.name.as_str()), &json, || table(images));
}

fn table(images: &[Image]) {
    if images.is_empty() {
        eprintln!("no images yet; `stackvm image build tiny` builds one");
        return;
    }
    println!("{:<16} {:>10}  HASH", "IMAGE", "SIZE");
    for image in images {
        let size = show_bytes(image.size_bytes);
        println!("{:<16} {size:>10}  {}", image.name, &image.hash.as_str()[..16]);
    }
}
