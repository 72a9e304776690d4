"""The images that are there from the start: what Canonical, Amazon and Debian publish, and one impostor.

Owner ids, names and aliases are the real ones, so that templates work unchanged. Image ids differ by region, as
they do there.
"""

import hashlib

CANONICAL, AMAZON, DEBIAN, STRANGER = "099720109477", "137112412989", "136693071363", "444455556666"

_UBUNTU = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-"
_UBUNTU_20 = "ubuntu/images/hvm-ssd/ubuntu-focal-20.04-amd64-server-"
# (owner, alias, family, root device, name, creation date)
_EVERYWHERE = (
    # Just one, so that a filter without `most_recent` has one answer; of the others there are several.
    [(CANONICAL, "amazon", "ubuntu", "/dev/sda1", f"{_UBUNTU}20250305", "20250305")]
    + [(CANONICAL, "amazon", "ubuntu", "/dev/sda1", f"{_UBUNTU_20}{d}", d) for d in ("20240207", "20241002", "20250115")]
    + [(AMAZON, "amazon", "amazon", "/dev/xvda", f"amzn2-ami-hvm-2.0.{d}.0-x86_64-gp2", d)
       for d in ("20240306", "20241014", "20250220")]
    + [(DEBIAN, "amazon", "debian", "/dev/xvda", f"debian-12-amd64-{d}", d[:8])
       for d in ("20240702-1796", "20250115-1993")]
    # Whoever asks for this name without an owner gets a stranger's image, because it is the newest one.
    + [(STRANGER, None, "ubuntu", "/dev/sda1", f"{_UBUNTU}29991231", "20250401")]
)
# Ids that published templates name directly.
_FIXED = {
    "us-east-1": [("ami-cd0f5cb6", CANONICAL, "amazon", "ubuntu", "/dev/sda1",
                   "ubuntu/images/hvm-ssd/ubuntu-xenial-16.04-amd64-server-20170721", "20170721")],
    "ap-northeast-1": [("ami-00000000", AMAZON, "amazon", "amazon", "/dev/xvda",
                        "amzn2-ami-hvm-2.0.20190618-x86_64-gp2", "20190618")],
}
USER_NAMES = {"ubuntu": "ubuntu", "amazon": "ec2-user", "debian": "admin"}


def _identifier(kind, region, name):
    return f"{kind}-0" + hashlib.sha256(f"{region}/{name}".encode()).hexdigest()[:16]


def images_of(region):
    """Yields (image id, owner, alias, family, root device, name, creation date, snapshot id)."""
    rows = _FIXED.get(region, []) + [(_identifier("ami", region, row[4]), *row) for row in _EVERYWHERE]
    for image_id, owner, alias, family, device, name, date in rows:
        created = f"{date[:4]}-{date[4:6]}-{date[6:8]}T05:31:07.000Z"
        yield image_id, owner, alias, family, device, name, created, _identifier("snap", region, name)
