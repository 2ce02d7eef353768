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
        Action::Assign { eni, ask } => ec2.assign(eni, *ask).await.map(Effect::Assigned),
        Action::AssignPrefix6 { eni } => ec2.assign_prefix6(eni).await.map(Effect::Assigned6),
        Action::Unassign { eni, blocks } => ec2.unassign(eni, blocks).await.map(|()| Effect::Done),
        Action::DetachEni { eni, attachment } => ec2.detach(eni, attachment).await.map(|()| Effect::Done),
        Action::DeleteEni { eni } | Action::DeleteLeak { eni } => {
            ec2.delete(eni).await.map(|()| Effect::Done)
        }
        Action::ReadEni { eni } => ec2.read(eni).await.map(Effect::Read),
        Action::ReadUnattached { vpc, cluster, only } => {
            let seen = ec2.read_unattached(vpc, cluster.as_deref(), only.as_ref()).await;
            seen.map(|seen| Effect::Unattached(seen, now))
        }
        Action::ReadSubnets { vpc, zone } => {
            let seen = ec2.read_subnets(vpc, zone).await;
            seen.map(|seen| Effect::Subnets(seen, now))
        }
        Action::ReadAll { scope, .. } => ec2.read_all(*scope, now).await.map(Effect::ReadAll),
    }
}
