# A web server's image: Ubuntu 22.04 with nginx and a page of its own.
#
# With the sandbox as it is; with AWS as well, for the filter finds Canonical's images there.

packer {
  required_plugins {
    amazon = {
      version = ">= 1.3.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}

variable "aws_region" {
  type    = string
  default = "us-east-1"
}

variable "greeting" {
  type        = string
  default     = "Baked by Ingot"
  description = "What the page says."
}

source "amazon-ebs" "ubuntu" {
  ami_name      = "ubuntu-nginx-{{timestamp}}"
  instance_type = "t3.micro"
  region        = var.aws_region
  ssh_username  = "ubuntu"

  source_ami_filter {
    filters = {
      name                = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["099720109477"] # Canonical
    most_recent = true
  }

  tags = {
    Name       = "ubuntu-nginx"
    OS         = "Ubuntu"
    Built-By   = "ingot"
    Git-SHA    = "{{env `GIT_SHA`}}"
    Build-Time = "{{timestamp}}"
  }
}

build {
  sources = ["source.amazon-ebs.ubuntu"]

  provisioner "file" {
    content = templatefile("index.html.pkrtpl", {
      greeting = var.greeting
      built_at = formatdate("D MMM YYYY, hh:mm ZZZ", timestamp())
    })
    destination = "/tmp/index.html"
  }

  provisioner "shell" {
    environment_vars = ["DEBIAN_FRONTEND=noninteractive"]
    inline = [
      "sudo apt-get update",
      "sudo -E apt-get install -y nginx",
      "sudo install --mode=644 /tmp/index.html /var/www/html/index.html",
      "sudo systemctl enable nginx",
    ]
  }

  post-processor "manifest" {
    output     = "manifest.json"
    strip_path = true
  }
}
