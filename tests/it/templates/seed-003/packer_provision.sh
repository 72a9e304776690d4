set -x

sudo apt update

sudo apt -y install nginx
