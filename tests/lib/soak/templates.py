"""What the soak builds: small templates on the sandbox's Debian 12, one for each thing that can go differently."""

REGION, SECOND_REGION = "us-east-1", "us-west-2"
# Lines that the template `chatty` prints. Of a build that succeeded, none may be missing.
CHATTY_LINES = 2000

_SOURCE = """
source "amazon-ebs" "%(source)s" {
  ami_name      = "%(name)s-%(source)s"
  instance_type = "t3.micro"
  region        = "%(region)s"
  ssh_username  = "admin"
  ssh_timeout   = "3m"
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }
%(options)s}
"""


def _shell(*lines):
    return "  provisioner \"shell\" {\n    inline = [%s]\n  }\n" % ", ".join('"%s"' % line for line in lines)


_PLAIN = _shell("echo provisioned")
_COUNTS = f"for i in $(seq {CHATTY_LINES}); do echo line $i; done"

# name: (how often in a hand of cards, sources, options of a source, provisioners, regions of an image, may it succeed)
KINDS = {
    "plain": (4, ["one"], "", _PLAIN, [REGION], True),
    "no-image": (2, ["one"], "  skip_create_ami = true\n", _PLAIN, [], True),
    "copied": (3, ["one"], f'  ami_regions = ["{SECOND_REGION}"]\n', _PLAIN, [REGION, SECOND_REGION], True),
    "encrypted": (2, ["one"], f'  ami_regions = ["{SECOND_REGION}"]\n  encrypt_boot = true\n', _PLAIN, [REGION, SECOND_REGION], True),
    "two": (3, ["one", "other"], "", _PLAIN, [REGION], True),
    "failing": (2, ["one"], "", _shell("echo about to fail", "exit 3"), [], False),
    "slow": (4, ["one"], "", _shell("for i in $(seq 15); do echo second $i; sleep 1; done"), [REGION], True),
    "chatty": (2, ["one"], "", _shell(_COUNTS), [REGION], True),
}


def cards():
    """One hand: every kind as often as it should come."""
    return [kind for kind, (times, *_) in KINDS.items() for _ in range(times)]


def builds(kind):
    return len(KINDS[kind][1])


def regions(kind):
    """Where a build of this kind that succeeded has an image."""
    return KINDS[kind][4]


def may_succeed(kind):
    return KINDS[kind][5]


def text(kind, number):
    """The template of run number N: the names of its images are used nowhere else."""
    _, sources, options, steps, _, _ = KINDS[kind]
    values = {"name": f"soak-{kind}-{number}", "region": REGION, "options": options}
    parts = [_SOURCE % {**values, "source": source} for source in sources]
    names = ", ".join(f'"source.amazon-ebs.{source}"' for source in sources)
    return "".join(parts) + f"\nbuild {{\n  sources = [{names}]\n{steps}}}\n"
