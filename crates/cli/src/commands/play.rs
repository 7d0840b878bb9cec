//! `stackvm play`.

use anyhow::Result;

use crate::args::Play;

pub(crate) async fn run(_args: Play) -> Result<u8> {
    unimplemented!()
}
