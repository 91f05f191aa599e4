#!/bin/sh
# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
# Runs inside the new root tree, once, at the end of the build: accounts, login, services.
set -eu

for group in admin:2001 student:2002 researcher:2003 faculty:2004; do
    groupadd --gid "${group#*:}" "${group%:*}"
done
# Written as lines, not with useradd: a directory service knows names that useradd refuses.
sed -e 's/#.*//' -e '/^[[:space:]]*$/d' /root/accounts.txt | while read -r name uid group more; do
    gid=$(getent group "$group" | cut -d: -f3)
    printf '%s:x:%s:%s:%s:/home/%s:/bin/bash\n' "$name" "$uid" "$gid" "$name" "$name" >>/etc/passwd
    printf '%s:*:20000:0:99999:7:::\n' "$name" >>/etc/shadow
    for extra in $more; do
        sed -i -E "s/^($extra:[^:]*:[^:]*:)(.*)$/\1\2,$name/; s/^($extra:[^:]*:[^:]*:),/\1/" /etc/group
    done
done
rm /root/accounts.txt
echo 'admin1 ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/50-lab-admin
chmod 0440 /etc/sudoers.d/50-lab-admin

install -d -m 0700 /root/.ssh
install -m 0600 /etc/ssh/lab_authorized_keys /root/.ssh/authorized_keys
chmod 0600 /etc/ssh/ssh_host_ed25519_key
rm -f /etc/ssh/ssh_host_rsa_key* /etc/ssh/ssh_host_ecdsa_key*

DEBIAN_FRONTEND=noninteractive pam-auth-update --enable mkhomedir
locale-gen
update-ca-certificates
install -d -m 0711 /var/lib/docker
: >/etc/machine-id

systemctl enable systemd-networkd.service ssh.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    systemd-networkd-wait-online.service getty@tty1.service
