"""Everything in any account and region that a user made and that still costs money, and what stands behind it."""


def collect(world):
    from moto.ec2 import ec2_backends

    found = {"instances": [], "volumes": [], "network_interfaces": [], "key_pairs": [], "security_groups": [],
             "snapshots": [], "images": [], "launch_templates": []}

    def add(kind, backend, identifier, **more):
        found[kind].append({"id": identifier, "account": backend.account_id, "region": backend.region_name, **more,
                            "tags": dict(backend.tags.get(identifier, {}))})

    with world.lock:
        for account in list(ec2_backends):
            for backend in list(ec2_backends[account].values()):
                for reservation in backend.reservations.values():
                    for instance in reservation.instances:
                        if instance.state != "terminated":
                            add("instances", backend, instance.id, state=instance.state)
                for volume in backend.volumes.values():
                    add("volumes", backend, volume.id, state=volume.status)
                for interface in backend.enis.values():
                    add("network_interfaces", backend, interface.id)
                for pair in backend.key_pairs.values():
                    add("key_pairs", backend, pair.id, name=pair.key_name)
                for groups in backend.groups.values():
                    for group in groups.values():
                        if group.name != "default":
                            add("security_groups", backend, group.id, name=group.name)
                for snapshot in backend.snapshots.values():
                    add("snapshots", backend, snapshot.id, state=snapshot.status)
                for template in backend.launch_templates.values():
                    add("launch_templates", backend, template.id, name=template.name)
        for image in world.images.values():
            add("images", image.ec2_backend, image.id, name=image.name, state=image.state,
                settled_at=image.settled_at)
    found.update(world.machines_kind.inventory())
    found["total"] = sum(len(items) for items in found.values())
    return found
