//! Commands that rules find something in, and commands that they leave alone.

use super::rules::Case;
use super::*;

/// Commands with a finding and without one; each is tried in both languages.
fn commands(rule: &'static str, bad: &[&str], good: &[&str]) -> Case {
    let both = |commands: &[&str]| commands.iter().flat_map(|text| [command(text), json_command(text)]).collect();
    Case { rule, bad: both(bad), good: both(good) }
}

/// All of them, by rule.
pub(super) fn all() -> Vec<Case> {
    [packages_and_pipes(), checked_and_pinned(), habits()].into_iter().flatten().collect()
}

fn packages_and_pipes() -> Vec<Case> {
    vec![
        commands(
            "package-prompt",
            &[
                "sudo apt-get install nginx",
                "sudo DEBIAN_FRONTEND=noninteractive apt install --no-install-recommends a b",
                "if ! which x; then sudo apt-get install x; fi",
                "sudo apt-get update && sudo apt-get upgrade",
                "sudo yum install httpd",
                "sudo dnf -q upgrade",
                "sudo zypper install x",
                "sudo pacman -Syu",
                "sudo amazon-linux-extras install nginx1",
                "sudo add-apt-repository ppa:x/y",
                "sudo bash -c 'apt-get install x'",
                "sudo bash <<EOF\napt-get install x\nEOF",
                "sudo apt-get \\\n  install x",
                "sudo apt-get install $PACKAGES",
            ],
            &[
                "sudo apt-get install -y nginx",
                "sudo apt-get install nginx -y",
                "sudo apt-get -qq install nginx",
                "sudo apt-get -yq install nginx",
                "sudo apt-get --yes install nginx",
                "yes | sudo apt-get install nginx",
                "sudo apt-get $OPTS install nginx",
                "sudo apt-get update",
                "# sudo apt-get install nginx",
                "echo apt-get install nginx",
                "echo 'sudo apt-get install nginx' > /tmp/x",
                "sudo yum -y install httpd",
                "sudo yum list installed",
                "sudo dnf module list",
                "sudo zypper --non-interactive install x",
                "sudo zypper -n in x",
                "sudo pacman -Syu --noconfirm",
                "sudo pacman -Q",
                "cat > /tmp/x <<EOF\napt-get install x\nEOF",
            ],
        ),
        commands(
            "package-unpinned",
            &[
                "sudo apt-get install -y nginx",
                "sudo apt-get install -y nginx=1.18 curl",
                "sudo yum install -y httpd php-fpm",
                "sudo apk add curl",
            ],
            &[
                "sudo apt-get install -y nginx=1.18.0-6ubuntu14.4",
                "sudo yum install -y httpd-2.4.57-1.amzn2",
                "sudo apt-get install -y ./x.deb",
                "sudo apt-get install -y $X",
                "sudo apk add curl=8.1.0-r0",
            ],
        ),
        commands(
            "download-piped",
            &[
                "curl -fsSL https://get.docker.com | sh",
                "curl -fsSL https://goss.rocks/install | GOSS_VER=v0.4.4 sh",
                "wget -qO- https://x.example/i.sh | sudo -E bash -",
                "curl https://x.example | sudo bash -s -- --yes",
                "bash -c \"$(curl -fsSL https://x.example/i.sh)\"",
                "sh <(curl -s https://x.example/i.sh)",
                "eval \"$(wget -qO- https://x.example)\"",
                "curl -s https://x.example/get.py | python3",
                "curl -s https://x.example/get.py | python3 -",
                "(curl -s https://x.example || wget -qO- https://x.example) | bash",
            ],
            &[
                "curl -s https://x.example/a.json | jq .x",
                "curl -s https://x.example/a.json | python3 -m json.tool",
                "curl -s https://x.example/a.json | python3 -c 'import sys'",
                "curl -fsSL https://x.example/key.gpg | sudo gpg --dearmor -o /usr/share/keyrings/x.gpg",
                "curl -s https://x.example/list | bash ./install.sh",
                "echo 'curl https://x.example | sh'",
                "VERSION=$(curl -s https://x.example/v)",
            ],
        ),
        commands(
            "download-unverified",
            &[
                "curl -LO https://x.example/v1.2.3/tool.tar.gz",
                "wget https://x.example/a_1.0_amd64.deb -O /tmp/a.deb",
                "curl -Lo tool https://x.example/v1/tool && chmod +x tool",
            ],
            &[
                "curl -LO https://x.example/a.tar.gz && echo 'abc  a.tar.gz' | sha256sum --check",
                "curl -s https://x.example/api",
                "curl -s http://169.254.169.254/latest/meta-data/x.zip",
                "curl -s http://localhost:8080/x.zip",
            ],
        ),
    ]
}

fn checked_and_pinned() -> Vec<Case> {
    vec![
        commands(
            "download-insecure",
            &[
                "curl -k https://x.example/a",
                "curl -sSk https://x.example/a",
                "wget --no-check-certificate https://x.example/a",
                "sudo apt-get install -y --allow-unauthenticated x=1",
                "sudo yum install -y --nogpgcheck x-1.2",
                "wget http://x.example/a",
                "pip install --trusted-host x.example a==1",
            ],
            &[
                "curl https://x.example/a",
                "curl -k https://localhost/health",
                "curl -o k https://x.example/a",
                "echo http://x.example/a",
                "curl http://169.254.169.254/x",
            ],
        ),
        commands(
            "download-unpinned",
            &[
                "git clone https://x.example/a.git",
                "pip install requests",
                "python3 -m pip install --user requests",
                "sudo npm install -g pm2",
                "npm i -g pm2@latest",
                "gem install bundler",
                "go install x.example/y@latest",
                "cargo install ripgrep",
                "ansible-galaxy collection install community.general",
                "docker pull nginx",
                "docker pull nginx:latest",
                "curl -LO https://x.example/releases/latest/download/tool",
                "wget https://raw.githubusercontent.com/a/b/master/x.conf",
            ],
            &[
                "git clone --branch v1.2 https://x.example/a.git",
                "git clone https://x.example/a.git && git -C a checkout abc123",
                "pip install requests==2.31.0",
                "pip install -r requirements.txt",
                "pip install --upgrade pip setuptools",
                "pip install .",
                "npm install -g pm2@5.3.0",
                "npm ci",
                "npm install",
                "npm install -g @scope/x@1.0.0",
                "gem install bundler -v 2.4.0",
                "go install x.example/y@v1.2.3",
                "cargo install ripgrep --version 14.0.0",
                "docker pull nginx:1.25",
                "curl -fsSL https://x.example/latest/key.gpg",
                "curl http://169.254.169.254/latest/meta-data/",
            ],
        ),
    ]
}

fn habits() -> Vec<Case> {
    vec![
        commands(
            "sudo-missing",
            &["apt-get install -y x", "apt update", "systemctl enable nginx"],
            &[
                "sudo apt-get install -y x",
                "sudo sh -c 'apt-get install -y x'",
                "sudo bash <<EOF\napt-get update\nEOF",
                "systemctl --user enable x",
                "systemctl status nginx",
                "[ $(id -u) = 0 ] && apt-get update",
            ],
        ),
        commands(
            "secret-in-provisioner",
            &[
                "echo 'DB_PASSWORD=hunter2' >> /etc/app/.env",
                "echo \"DB_PASSWORD=$DB_PASSWORD\" | sudo tee -a /etc/app/.env",
                "export API_TOKEN=abcdef123456",
                "docker login -u me -p hunter22 registry.example",
                "app --password hunter22",
                "mysql -uroot -phunter22 -e 'select 1'",
                "curl -u admin:hunter22 https://x.example/a",
                "git clone --branch v1 https://me:hunter22@x.example/a.git",
                "cat > /etc/app.yml <<EOF\npassword: hunter22\nEOF",
                "mysql -e \"CREATE USER a IDENTIFIED BY 'hunter22'\"",
                "aws configure set aws_access_key_id AKIAIOSFODNN7EXAMPLE",
            ],
            &[
                "export DB_PASSWORD=$(aws secretsmanager get-secret-value --secret-id x)",
                "echo \"DB_PASSWORD=$DB_PASSWORD\" > /tmp/env",
                "docker login -u me --password-stdin registry.example",
                "test -n \"$DB_PASSWORD\"",
                "sudo sed -i 's/PasswordAuthentication yes/PasswordAuthentication no/' /etc/ssh/sshd_config",
                "sudo passwd -l root",
                "app --password $DB_PASSWORD",
                "app --password-file /etc/secret",
                "curl -u $USER:$PASSWORD https://x.example/a",
                "docker run -d -p 8080:80 nginx:1.25",
                "docker build --secret id=npm,src=.npmrc .",
                "curl -H \"X-aws-ec2-metadata-token: $TOKEN\" http://169.254.169.254/latest/meta-data/",
                "sudo sed -i \"s/^DB_PASSWORD=.*/DB_PASSWORD=$X/\" /tmp/x",
                "cat > /tmp/nsswitch.conf <<EOF\npasswd:     files systemd\nEOF",
            ],
        ),
    ]
}
