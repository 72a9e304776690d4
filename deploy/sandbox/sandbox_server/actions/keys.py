"""Key pairs by name or by id, with filters; moto knows names alone."""

import base64
import hashlib

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response

from .. import matching
from .common import fail, filters_of


class KeyActions:
    def import_key_pair(self):
        answer = EC2Response.import_key_pair(self)
        pair = self.ec2_backend.key_pairs[self._get_param("KeyName")]
        if pair.key_type == "ed25519":
            # EC2 shows what `ssh-keygen -l` does, in Base64; moto hashes another form of the key.
            key = base64.b64decode(pair.public_key.split()[1])
            pair.key_fingerprint = base64.b64encode(hashlib.sha256(key).digest()).decode()
        return answer

    def delete_key_pair(self):
        name, identifier = self._get_param("KeyName"), self._get_param("KeyPairId")
        self.error_on_dryrun()
        for pair in list(self.ec2_backend.key_pairs.values()):
            if pair.key_name == name or (identifier and pair.id == identifier):
                self.ec2_backend.delete_key_pair(pair.key_name)
                return ActionResult({"Return": True, "KeyPairId": pair.id})
        # Deleting what is not there is success at EC2, too.
        return ActionResult({"Return": True})

    def describe_key_pairs(self):
        self.error_on_dryrun()
        names, identifiers = self._get_param("KeyNames", []), self._get_param("KeyPairIds", [])
        filters = filters_of(self)
        pairs = list(self.ec2_backend.key_pairs.values())
        for name in names:
            if name not in self.ec2_backend.key_pairs:
                fail("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
        for identifier in identifiers:
            if not any(pair.id == identifier for pair in pairs):
                fail("InvalidKeyPair.NotFound", f"The key pair ID '{identifier}' does not exist")
        found = [p for p in pairs if (not names or p.key_name in names) and (not identifiers or p.id in identifiers)
                 and matching.matches(filters, lambda name, p=p: _values(p, name))]
        public = self._get_bool_param("IncludePublicKey", False)
        return ActionResult({"KeyPairs": [{
            "KeyPairId": p.id, "KeyName": p.key_name, "KeyFingerprint": p.key_fingerprint, "KeyType": p.key_type,
            "Tags": [{"Key": k, "Value": v} for k, v in p.ec2_backend.tags.get(p.id, {}).items()],
            "CreateTime": p.create_time, **({"PublicKey": p.public_key} if public else {})} for p in found]})


def _values(pair, name):
    tagged = matching.tag_values(name, pair.ec2_backend.tags.get(pair.id, {}))
    if tagged is not None:
        return tagged
    simple = {"key-name": pair.key_name, "key-pair-id": pair.id, "fingerprint": pair.key_fingerprint}
    if name not in simple:
        fail("InvalidParameterValue", f"The filter '{name}' is invalid")
    return [simple[name]]
