# golden-ami.pkr.hcl — production template with Ansible + cleanup

packer {
  required_plugins {
    amazon  = { version = ">= 1.3.0", source = "github.com/hashicorp/amazon" }
    ansible = { version = ">= 1.1.0", source = "github.com/hashicorp/ansible" }
  }
}

variable "app_version" { type = string }
variable "env" {
  type    = string
  default = "dev"
}

locals {
  ami_name = "app-${var.app_version}-${formatdate("YYYYMMDD-hhmm", timestamp())}"
}

source "amazon-ebs" "app" {
  ami_name      = local.ami_name
  instance_type = "t3.medium"
  region        = "us-east-1"
  source_ami_filter {
    filters = { name = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*" }
    owners      = ["099720109477"]
    most_recent = true
  }
  ssh_username = "ubuntu"
  ami_regions  = ["us-east-1", "us-west-2", "eu-west-1"]
  tags = {
    Name        = local.ami_name
    App-Version = var.app_version
    Git-SHA     = "{{env `GIT_SHA`}}"
    Built-By    = "packer"
    Base-OS     = "ubuntu-22.04"
  }
}

build {
  sources = ["source.amazon-ebs.app"]

  provisioner "file" {
    source      = "files/cloud-init-defaults.yaml"
    destination = "/tmp/cloud-init-defaults.yaml"
  }

  provisioner "ansible" {
    playbook_file   = "ansible/site.yml"
    extra_arguments = ["--extra-vars", "app_version=${var.app_version} env=${var.env}", "-v"]
    ansible_env_vars = ["ANSIBLE_HOST_KEY_CHECKING=False"]
  }

  # Security cleanup — never skip this
  provisioner "shell" {
    inline = [
      "rm -f /home/*/.ssh/authorized_keys",
      "rm -f /root/.ssh/authorized_keys",
      "sudo truncate -s 0 /etc/machine-id",
      "sudo rm -rf /tmp/* /var/tmp/*",
      "history -c"
    ]
  }

  post-processor "manifest" {
    output     = "manifest.json"
    strip_path = true
  }
}
