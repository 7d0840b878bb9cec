//! `stackvm store`.

use anyhow::Result;

use crate::args::Store;

pub(crate) async fn run(_command: Store) -> Result<u8> {
    unimplemented!()
}
