//! `stackvm cast`.

use anyhow::Result;

use crate::args::Cast;

pub(crate) async fn run(_command: Cast) -> Result<u8> {
    unimplemented!()
}
