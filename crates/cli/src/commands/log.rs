//! `stackvm log`.

use anyhow::Result;

use crate::args::Log;

pub(crate) async fn run(_args: Log) -> Result<u8> {
    unimplemented!()
}
