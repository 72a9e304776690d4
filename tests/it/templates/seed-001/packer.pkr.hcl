# packer.pkr.hcl
packer {
required_plugins {
amazon = {
source = "github.com/hashicorp/amazon"
version = "~> 1.0"
}
}
}
variable "aws_region" {
type = string
default = "ap-southeast-1"
}
variable "ami_name_prefix" {
type = string
default = "my-app"
}
source "amazon-ebs" "app" {
ami_name = "${var.ami_name_prefix}-{{timestamp}}"
instance_type = "t3.micro"
region = var.aws_region
source_ami_filter {
filters = {
name = "amzn2-ami-hvm-*-x86_64-gp2"
root-device-type = "ebs"
virtualization-type = "hvm"
}
owners = ["amazon"]
most_recent = true
}
ssh_username = "ec2-user"
}
build {
sources = ["source.amazon-ebs.app"]
provisioner "shell" {
inline = [
"sudo yum update -y",
"sudo yum install -y nginx",
"sudo systemctl enable nginx"
]
}
provisioner "file" {
source = "app.conf"
destination = "/tmp/app.conf"
}
provisioner "shell" {
inline = ["sudo mv /tmp/app.conf /etc/nginx/conf.d/"]
}
}
