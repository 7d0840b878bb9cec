//! One file per command.

use anyhow::Result;

use crate::args::Command;

pub(crate) fn run(command: Command) -> Result<u8> {
    let _ = command;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let link = crate::session::Link::connect(std::path::Path::new("/tmp/x")).await?;
        let mut signals = crate::session::Signals::new()?;
        let _ = crate::session::run(
            link,
            crate::session::Target::Console(stackvm_machine::ConsoleId::Serial),
            crate::session::Watch::Nothing,
            &mut signals,
        )
        .await?;
        Ok(0)
    })
}
