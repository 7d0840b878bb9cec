//! What machines can start from.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use stackvm_images::BUILDABLE;

use super::extract::{Owner, Params};
use super::types::{ImageView, Page};
use crate::app::App;
use crate::problem::Problem;

/// The images: those that are there, and those that can be made.
#[utoipa::path(get, path = "/api/images", tag = "images",
    params(
        ("limit" = Option<u32>, Query, description = "At most so many, up to 500.", minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next` of the part before."),
    ),
    responses((status = 200, description = "A part of them.", body = Page<ImageView>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Owner(_): Owner,
    params: Params,
) -> Result<Json<Page<ImageView>>, Problem> {
    params.only(&["limit", "cursor"])?;
    let there = app.fleet.images().await?;
    let known = BUILDABLE.map(|name| {
        let image = there.iter().find(|image| image.name == name);
        ImageView {
            name: name.to_owned(),
            about: buildable(name).to_owned(),
            ready: image.is_some(),
            memory_bytes: image.map_or(DEFAULT_MEMORY_BYTES, |image| image.memory_bytes),
        }
    });
    let others = there.iter().filter(|image| !BUILDABLE.contains(&image.name.as_str()));
    let others = others.map(|image| ImageView {
        name: image.name.clone(),
        about: "Imported".to_owned(),
        ready: true,
        memory_bytes: image.memory_bytes,
    });
    let images: Vec<_> = known.into_iter().chain(others).collect();
    params.page(images, |image: &ImageView| image.name.clone()).map(Json)
}

/// RAM of an image that is not made yet.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;

fn buildable(name: &str) -> &'static str {
    match name {
        "tiny" => "Debian 13 kernel and busybox: at its prompt in a second",
        _ => "Debian 13 with systemd, apt, Python, Perl and gcc",
    }
}
