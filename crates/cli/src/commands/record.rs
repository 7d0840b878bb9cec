//! `stackvm record`.

use anyhow::Result;

use crate::args::Record;

pub(crate) async fn run(_args: Record) -> Result<u8> {
    unimplemented!()
}
