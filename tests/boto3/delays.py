"""With the usual delays: waiters end, views lag, buckets empty."""
from botocore.exceptions import ClientError

from world import check, listed, patiently, refused, same, until


def lag(w):
    """With the usual delays: waiters end, attachments pass through attaching, deletes fail at first."""
    c = w.client
    eni = c.create_network_interface(SubnetId=w.subnet, ClientToken="lag")["NetworkInterface"]["NetworkInterfaceId"]
    waiter = c.get_waiter("network_interface_available")
    waiter.config.delay, waiter.config.max_attempts = 0.2, 50
    patiently(lambda: waiter.wait(NetworkInterfaceIds=[eni]))
    attachment = patiently(lambda: c.attach_network_interface(NetworkInterfaceId=eni, InstanceId=w.node, DeviceIndex=1))
    status = lambda: c.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0].get("Attachment", {}).get("Status")
    until("attached in the end", lambda: status() == "attached")
    c.detach_network_interface(AttachmentId=attachment["AttachmentId"])
    refused("deleting too early", "InvalidParameterValue", c.delete_network_interface, NetworkInterfaceId=eni)
    waiter.wait(NetworkInterfaceIds=[eni])
    c.delete_network_interface(NetworkInterfaceId=eni)
    until("gone from lists in the end", lambda: not listed(c, eni))


def throttled(w):
    client = w.connect(retries={"max_attempts": 0, "mode": "standard"})
    codes = []
    for _ in range(80):
        try:
            client.describe_network_interfaces()
            codes.append("ok")
        except ClientError as error:
            codes.append((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]))
            break
    until_refused = codes[-1] == ("RequestLimitExceeded", 503)
    check("unfiltered describes are throttled, or were too slow to be", until_refused or len(codes) == 80, codes[-1])


def launch_and_end(w):
    """An instance is pending first; its end takes a while, and what it leaves is available."""
    c = w.client
    kept = c.create_network_interface(SubnetId=w.subnet)["NetworkInterface"]["NetworkInterfaceId"]
    made = c.run_instances(ImageId="ami-1", InstanceType="c5.large", MinCount=1, MaxCount=1, SubnetId=w.subnet)["Instances"][0]
    same("pending at first", made["State"]["Name"], "pending")
    instance = made["InstanceId"]
    quickly(c, "instance_exists", InstanceIds=[instance])
    quickly(c, "instance_running", InstanceIds=[instance])
    attached = patiently(lambda: c.attach_network_interface(NetworkInterfaceId=kept, InstanceId=instance, DeviceIndex=1))
    check("attached to the new instance", attached["AttachmentId"], attached)
    primary = made["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ending = c.terminate_instances(InstanceIds=[instance])["TerminatingInstances"][0]
    same("from running to shutting-down", (ending["PreviousState"]["Name"], ending["CurrentState"]["Name"]), ("running", "shutting-down"))
    quickly(c, "instance_terminated", InstanceIds=[instance])
    quickly(c, "network_interface_available", NetworkInterfaceIds=[kept])
    until("the primary interface goes with the instance", lambda: not listed(c, primary))
    c.delete_network_interface(NetworkInterfaceId=kept)


def late_groups(w):
    made = w.client.create_security_group(GroupName="late", Description="d", VpcId=w.vpc)["GroupId"]
    quickly(w.client, "security_group_exists", GroupIds=[made])
    w.client.delete_security_group(GroupId=made)


def quickly(client, name, **kwargs):
    """Wait with botocore's waiter, asking more often than it would."""
    waiter = client.get_waiter(name)
    waiter.config.delay, waiter.config.max_attempts = 0.2, 100
    waiter.wait(**kwargs)
    check(f"waiter {name}", True)


PARTS = [lag, launch_and_end, late_groups, throttled]
