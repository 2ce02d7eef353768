//! One `Action` to one call to EC2 and its outcome. No decision.

use ec2::Ec2;
use ipamd_core::action::{Action, Effect, Fault};
use ipamd_core::moment::Moment;

/// Makes the call.
pub(crate) async fn execute(ec2: &Ec2, action: &Action, now: Moment) -> Result<Effect, Fault> {
    match action {
        Action::CreateEni(new) => ec2.create_eni(new).await.map(Effect::Created),
        Action::AttachEni {
            eni, device_index, ..
        } => ec2.attach(eni, *device_index).await.map(Effect::Attached),
        Action::DeleteOnTermination { eni, attachment } => ec2
            .delete_on_termination(eni, attachment)
            .await
            .map(|()| Effect::Done),
        Action::AssignAddresses { eni, count } => ec2.assign(eni, *count).await.map(Effect::Assigned),
        Action::UnassignAddresses { eni, addresses } => {
            ec2.unassign(eni, addresses).await.map(|()| Effect::Done)
        }
        Action::DetachEni { eni, attachment } => ec2.detach(eni, attachment).await.map(|()| Effect::Done),
        Action::DeleteEni { eni } => ec2.delete(eni).await.map(|()| Effect::Done),
        Action::ReadEni { eni } => ec2.read(eni).await.map(Effect::Read),
        Action::ReadAll { .. } => ec2.read_all(now).await.map(Effect::ReadAll),
    }
}
