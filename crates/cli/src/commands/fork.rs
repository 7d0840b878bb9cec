//! `stackvm fork`.

use anyhow::Result;

use crate::args::Fork;

pub(crate) async fn run(_args: Fork) -> Result<u8> {
    unimplemented!()
}
