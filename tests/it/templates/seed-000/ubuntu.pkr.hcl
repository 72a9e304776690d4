source "amazon-ebs" "ubuntu" {

  ami_name      = "ubuntu-2204-{{timestamp}}"

  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami_filter {
    filters = {
      name                = "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners = ["099720109477"] # Canonical's Ubuntu AMI ID
  }
  ssh_username = "ubuntu"
  tags = {
    "OS"    = "Ubuntu",
    "Ver"   = "22.04",

    "Build" = "{{timestamp}}"

  }
}

build {
  sources = ["source.amazon-ebs.ubuntu"]

  provisioner "shell" {
    inline = [
      "sudo apt-get update",
      "sudo DEBIAN_FRONTEND=noninteractive apt-get upgrade -y",
      "sudo DEBIAN_FRONTEND=noninteractive apt-get install -y nginx",
      "sudo systemctl enable nginx",

      "echo 'Hello from Packer build {{timestamp}}' | sudo tee /var/www/html/index.html"

    ]
  }
}
