"""What DescribeInstances and RunInstances tell of an instance, as plain data for `quick_xml`."""


def _tags(resource):
    return [{"Key": k, "Value": v} for k, v in resource.ec2_backend.tags.get(resource.id, {}).items()]


def _interface(index, interface):
    association = interface.public_ip and {
        "PublicIp": interface.public_ip, "IpOwnerId": interface.owner_id,
        "PublicDnsName": f"ip-{interface.public_ip.replace('.', '-')}.ec2.internal"}
    return {
        "NetworkInterfaceId": interface.id, "SubnetId": interface.subnet.id, "VpcId": interface.subnet.vpc_id,
        "Description": interface.description, "OwnerId": interface.owner_id, "Status": "in-use",
        "MacAddress": interface.mac_address, "InterfaceType": "interface",
        "SourceDestCheck": interface.source_dest_check, "PrivateIpAddress": interface.private_ip_address,
        "Groups": [{"GroupId": g.id, "GroupName": g.name} for g in interface.group_set],
        "Attachment": {"AttachmentId": interface.attachment_id, "DeviceIndex": index, "Status": "attached",
                       "AttachTime": interface.attach_time, "NetworkCardIndex": 0,
                       "DeleteOnTermination": bool(interface.delete_on_termination)},
        "Association": association or None,
        "PrivateIpAddresses": [{"PrivateIpAddress": interface.private_ip_address, "Primary": True,
                                "Association": association or None}],
    }


def instance(one):
    reason = one.state_reason
    options = one.metadata_options
    address = one.public_ip
    profile = one.iam_instance_profile
    return {
        "InstanceId": one.id, "ImageId": one.image_id, "State": {"Code": one.state_code, "Name": one.state},
        "PrivateDnsName": one.private_dns_name or "", "PublicDnsName": one.public_dns_name or "",
        "StateTransitionReason": one._reason or "", "KeyName": one.key_name, "AmiLaunchIndex": one.ami_launch_index,
        "InstanceType": one.instance_type, "LaunchTime": one.launch_time, "ClientToken": one.client_token,
        "Placement": {"AvailabilityZone": one._placement.zone, "Tenancy": "default", "GroupName": ""},
        "Monitoring": {"State": one.monitoring_state}, "Architecture": one.architecture,
        "SubnetId": one.subnet_id, "VpcId": one.vpc_id, "PrivateIpAddress": one.private_ip,
        "PublicIpAddress": address, "RootDeviceName": one.root_device_name, "RootDeviceType": "ebs",
        "VirtualizationType": "hvm", "Hypervisor": "xen", "EnaSupport": bool(getattr(one, "ena_support", True)),
        "EbsOptimized": one.ebs_optimized in (True, "true"), "SourceDestCheck": True,
        "InstanceLifecycle": one.lifecycle,
        "StateReason": {"Code": reason.code, "Message": reason.message} if reason.code else None,
        "IamInstanceProfile": {"Arn": profile.arn, "Id": profile.id} if hasattr(profile, "arn") else None,
        "MetadataOptions": {
            "State": options.state, "HttpTokens": options.http_tokens, "HttpEndpoint": options.http_endpoint,
            "HttpPutResponseHopLimit": options.http_put_response_hop_limit,
            "HttpProtocolIpv6": options.http_protocol_ipv6, "InstanceMetadataTags": options.instance_metadata_tags},
        "BlockDeviceMappings": [{"DeviceName": device, "Ebs": {
            "VolumeId": block.volume_id, "Status": "attached", "AttachTime": block.attach_time,
            "DeleteOnTermination": bool(block.delete_on_termination)}}
            for device, block in one.block_device_mapping.items()],
        "SecurityGroups": [{"GroupId": g.id, "GroupName": g.name} for g in _groups(one)],
        "NetworkInterfaces": [_interface(index, nic) for index, nic in one.nics.items()],
        "Tags": _tags(one) or None,
    }


def _groups(one):
    if one.security_groups:
        return one.security_groups
    return one.nics[0].group_set if 0 in one.nics else []


def reservation(whole, instances=None):
    return {"ReservationId": whole.id, "OwnerId": whole.owner_id, "Groups": [],
            "Instances": [instance(one) for one in (whole.instances if instances is None else instances)]}
