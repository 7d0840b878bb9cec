//! Twins of the fleet's running machines.

use stackvm_host::machines::MachineSpec;
use stackvm_host::protocol::ForkKind;

use super::{Fleet, Reserved};
use crate::problem::Problem;

impl Fleet {
    /// Takes a name for the twin of a running machine.
    pub(crate) async fn reserve_twin(
        &self,
        id: &str,
        label: Option<String>,
    ) -> Result<Reserved, Problem> {
        let name = self.free_folder(label.as_deref()).await?;
        let label = label.filter(|label| *label != name);
        let spec = self.with(id, move |machines, id| machines.twin_spec(id, &name)).await?;
        self.check_room(spec.memory_bytes).await?;
        self.hold(MachineSpec { label, ..spec })
    }

    /// Makes a machine's twin, which was reserved; in the end it is reserved no more.
    pub(crate) async fn fork(
        &self,
        id: &str,
        reserved: Reserved,
        kind: ForkKind,
    ) -> Result<(), Problem> {
        let fleet = self.clone();
        // It is this server's also when whoever asked has left meanwhile.
        self.with(id, move |machines, id| {
            machines.fork(id, reserved.spec(), kind)?;
            fleet.adopt(&reserved.spec().name);
            Ok(())
        })
        .await
    }
}
