"""What is said of an AMI after it is made: permissions, description, deprecation, protection, fast launch."""

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.responses import EC2Response

from .common import fail, page


class ImageAttributeActions:
    def modify_image_attribute(self):
        image = self._own_image()
        attribute = self._get_param("Attribute")
        self.error_on_dryrun()
        done = False
        description = self._get_param("Description.Value")
        if description is None and attribute == "description":
            description = self._get_param("Value")
        if description is not None:
            image.description, done = description, True
        imds_support = self._get_param("ImdsSupport.Value")
        if imds_support is None and attribute == "imdsSupport":
            imds_support = self._get_param("Value")
        if imds_support is not None:
            image.imds_support, done = imds_support, True
        codes = self._get_param("ProductCodes", [])
        if codes:
            image.product_codes, done = set(codes), True
        if done:
            return EmptyResult()
        encrypted = any(m["Ebs"].get("Encrypted") for m in image.mappings)
        if encrypted and self._get_param("UserGroups", []):
            fail("InvalidParameterValue", "Images with encrypted snapshots cannot be made public")
        return EC2Response.modify_image_attribute(self)

    def describe_image_attribute(self):
        image = self._own_image()
        attribute = self._get_param("Attribute")
        single = {"description": ("Description", image.description),
                  "imdsSupport": ("ImdsSupport", image.imds_support),
                  "bootMode": ("BootMode", image.boot_mode),
                  "tpmSupport": ("TpmSupport", image.tpm_support),
                  "sriovNetSupport": ("SriovNetSupport", "simple"),
                  "deregistrationProtection": ("DeregistrationProtection", image.protection)}
        if attribute in single:
            name, value = single[attribute]
            return ActionResult({"ImageId": image.id, name: {"Value": value} if value is not None else {}})
        if attribute == "launchPermission":
            return ActionResult({"ImageId": image.id, "LaunchPermissions": image.launch_permissions})
        if attribute == "blockDeviceMapping":
            return ActionResult({"ImageId": image.id, "BlockDeviceMappings": image.mappings})
        return EC2Response.describe_image_attribute(self)

    def reset_image_attribute(self):
        self._own_image().launch_permissions.clear()
        return EmptyResult()

    def _set(self, **values):
        image = self._own_image()
        self.error_on_dryrun()
        for name, value in values.items():
            setattr(image, name, value)
        return image

    def enable_image_deprecation(self):
        at = self._get_param("DeprecateAt")
        at = at if isinstance(at, str) else at.strftime("%Y-%m-%dT%H:%M:00.000Z")
        self._set(deprecation_time=at)
        return ActionResult({"Return": True})

    def disable_image_deprecation(self):
        self._set(deprecation_time=None)
        return ActionResult({"Return": True})

    def disable_image(self):
        if self._own_image().state not in ("available", "disabled"):
            fail("IncorrectState", "Only an available image can be disabled")
        # EC2 takes the launch permissions away and does not give them back.
        self._set(state="disabled", launch_permissions=[])
        return ActionResult({"Return": True})

    def enable_image(self):
        if self._own_image().state == "disabled":
            self._set(state="available")
        return ActionResult({"Return": True})

    def enable_image_deregistration_protection(self):
        cooldown = self._get_bool_param("WithCooldown", False)
        self._set(protection="enabled-with-cooldown" if cooldown else "enabled-without-cooldown")
        return ActionResult({"Return": "true"})

    def disable_image_deregistration_protection(self):
        # A cooldown lasts 24 hours at EC2; tests would not wait for it, so it ends at once here.
        self._set(protection="disabled")
        return ActionResult({"Return": "true"})

    def _fast_launch(self, image, state):
        return {"ImageId": image.id, "ResourceType": "snapshot", "OwnerId": self.current_account, "State": state,
                "MaxParallelLaunches": int(self._get_param("MaxParallelLaunches", 6)),
                "StateTransitionReason": "Client.UserInitiated"}

    def enable_fast_launch(self):
        image = self._own_image()
        image.fast_launch = self._fast_launch(image, "enabled")
        return ActionResult({**image.fast_launch, "State": "enabling"})

    def disable_fast_launch(self):
        image = self._own_image()
        image.fast_launch = None
        return ActionResult(self._fast_launch(image, "disabling"))

    def describe_fast_launch_images(self):
        wanted = self._get_param("ImageIds", [])
        found = [image.fast_launch for image in self._own_images()
                 if getattr(image, "fast_launch", None) and (not wanted or image.id in wanted)]
        shown, token = page(self, found, lambda entry: entry["ImageId"])
        return ActionResult({"FastLaunchImages": shown, "NextToken": token})
