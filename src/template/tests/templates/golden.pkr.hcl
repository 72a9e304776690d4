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
    filters     = { name = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*" }
    owners      = ["099720109477"]
    most_recent = true
  }
  ssh_username = "ubuntu"
  ami_regions  = ["us-east-1", "us-west-2", "eu-west-1"]
  tags = {
    Name        = local.ami_name
    App-Version = var.app_version
    Git-SHA     = "{{env `GIT_SHA`}}"
  }
}

source "docker" "app" {
  image  = "ubuntu:22.04"
  commit = true
}

build {
  sources = ["source.amazon-ebs.app", "source.docker.app"]

  provisioner "file" {
    source      = "files/cloud-init-defaults.yaml"
    destination = "/tmp/cloud-init-defaults.yaml"
  }

  provisioner "ansible" {
    playbook_file = "ansible/site.yml"
    only          = ["docker.app"]
  }

  provisioner "shell" {
    inline = [
      "rm -f /home/*/.ssh/authorized_keys",
      "history -c"
    ]
  }

  post-processor "docker-tag" {
    repository = "registry.internal/app"
    tags       = ["latest", var.build_tag]
    only       = ["docker.app"]
  }

  post-processor "manifest" {
    output     = "manifest.json"
    strip_path = true
  }
}
