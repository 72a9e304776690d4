//! The file provisioner: files go over as the SSH user.

use crate::template::lint::context::Context;
use crate::template::lint::findings::Findings;

/// Folders that only root writes to.
const ROOTS_OWN: &[&str] =
    &["/etc", "/usr", "/opt", "/root", "/var", "/lib", "/lib64", "/bin", "/sbin", "/srv", "/boot"];
const ANYBODYS: &[&str] = &["/var/tmp"];

pub fn check(context: &Context<'_>, findings: &mut Findings) {
    for build in &context.model.builds {
        if !context.is_not_root(build) {
            continue;
        }
        for provisioner in build.provisioners.iter().filter(|provisioner| provisioner.kind == "file") {
            let upload = provisioner.text("direction").is_none_or(|direction| direction != "download");
            let Some(value) = provisioner.get("destination").filter(|_| upload) else { continue };
            let Some(path) = value.text() else { continue };
            let below = |folders: &[&str]| {
                folders.iter().any(|folder| {
                    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                })
            };
            if below(ROOTS_OWN) && !below(ANYBODYS) {
                findings.add(
                    "file-destination-root-owned",
                    value.place,
                    format!("the SSH user may not write to {path}"),
                    "Files are uploaded as the SSH user, without sudo, unless an earlier provisioner opened the folder. Upload to /tmp, and let \
                     a shell provisioner move it: sudo install -m 644 /tmp/x /etc/x.",
                );
            }
        }
    }
}
