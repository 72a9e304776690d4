"""Snapshots that take their time, and by owner; moto shows everybody's to everybody and ignores `OwnerIds`."""

from moto.ec2.responses import EC2Response

from .. import quick_xml
from .common import fail, page


class VolumeActions:
    def create_snapshot(self):
        snapshot = EC2Response.create_snapshot(self).result
        volume = snapshot.volume
        snapshot.kms_key_id = volume.kms_key_id if volume.encrypted else None
        # Volumes hold nothing here: an image of this snapshot boots what the volume's machine was made of.
        snapshot.source_image = volume.attachment.instance.image_id if volume.attachment else None
        snapshot.status = "pending"
        self.world.timeline.after(self.world.timing["image"], _finish, self.world, snapshot)
        return quick_xml.reply("CreateSnapshot", _shown(snapshot))

    def describe_snapshots(self):
        account = self.current_account
        wanted = self._get_param("SnapshotIds", [])
        known = self.ec2_backend.snapshots
        for snapshot_id in wanted:
            if snapshot_id not in known:
                fail("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
        owners = [account if owner == "self" else owner for owner in self._get_param("OwnerIds", [])]
        found = [s for s in EC2Response.describe_snapshots(self).result["Snapshots"]
                 if not owners or s.owner_id in owners]
        shown, token = page(self, found, lambda snapshot: snapshot.id)
        return quick_xml.reply("DescribeSnapshots", {"Snapshots": [_shown(s) for s in shown], "NextToken": token})

    def delete_snapshot(self):
        snapshot_id = self._get_param("SnapshotId")
        snapshot = self.ec2_backend.snapshots.get(snapshot_id)
        if snapshot is None:
            fail("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")
        # An image registered from it holds a snapshot just as the image that it was made for does.
        for (region, image_id), image in self.world.images.items():
            if region == self.region and snapshot_id in image.snapshot_ids():
                fail("InvalidSnapshot.InUse", f"The snapshot {snapshot_id} is currently in use by {image_id}")
        return EC2Response.delete_snapshot(self)

    def modify_snapshot_attribute(self):
        changes = self._get_param("CreateVolumePermission", {})
        if changes:
            self.error_on_dryrun()
            snapshot_id = self._get_param("SnapshotId")
            for kind, apply in (("Add", self.ec2_backend.add_create_volume_permission),
                                ("Remove", self.ec2_backend.remove_create_volume_permission)):
                entries = changes.get(kind, [])
                if entries:
                    apply(snapshot_id, user_ids=[e["UserId"] for e in entries if "UserId" in e],
                          groups=[e["Group"] for e in entries if "Group" in e])
        return EC2Response.modify_snapshot_attribute(self)


def _finish(world, snapshot):
    with world.lock:
        snapshot.status = "completed"


def _shown(snapshot):
    shown = {"SnapshotId": snapshot.id, "VolumeId": snapshot.volume.id, "VolumeSize": snapshot.volume.size,
             "Description": snapshot.description, "Encrypted": snapshot.encrypted, "OwnerId": snapshot.owner_id,
             "Progress": "100%" if snapshot.status == "completed" else "50%", "StartTime": snapshot.start_time,
             "State": snapshot.status, "StorageTier": "standard",
             "Tags": [{"Key": k, "Value": v} for k, v in snapshot.ec2_backend.tags.get(snapshot.id, {}).items()]}
    if snapshot.kms_key_id:
        shown["KmsKeyId"] = snapshot.kms_key_id
    return {key: value for key, value in shown.items() if value != []}
