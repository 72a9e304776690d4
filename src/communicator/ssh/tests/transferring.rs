//! Files over SFTP.

use std::os::unix::fs::PermissionsExt;

use tokio_util::sync::CancellationToken;

use crate::communicator::ssh::test_support::{Sshd, free_port};
use crate::communicator::{Communicator, CommunicatorError, DownloadLimits};
use crate::domain::bundle::BundleFile;

const LIMITS: DownloadLimits = DownloadLimits { bytes: 1000, files: 10 };

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn twenty_megabytes_go_up_and_come_back() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let none = CancellationToken::new();
    let bytes: Vec<u8> = (0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = sshd.path("big");
    ssh.upload(&path, &bytes, 0o640, &none).await.unwrap();
    assert_eq!(mode(&path), 0o640);
    assert!(ssh.download(&path, 20_000_000, &none).await.unwrap() == bytes);
    let error = ssh.download(&path, 19_999_999, &none).await.unwrap_err();
    assert_eq!(error, CommunicatorError::TooLarge { path: path.clone(), limit_bytes: 19_999_999 });
    // A shorter file replaces it whole and takes the new mode.
    ssh.upload(&path, b"short", 0o755, &none).await.unwrap();
    assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"short".to_vec(), 0o755));
    ssh.remove_file(&path, &none).await.unwrap();
    ssh.remove_file(&path, &none).await.expect("gone already is success");
    assert!(!std::fs::exists(&path).unwrap());
    // A file of unknown length.
    assert!(!ssh.download("/proc/self/status", 100_000, &none).await.unwrap().is_empty());
    assert!(matches!(ssh.download("/dev/zero", 1000, &none).await, Err(CommunicatorError::TooLarge { .. })));
}

#[tokio::test]
async fn folders_keep_their_shape_and_modes() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let none = CancellationToken::new();
    let plain = BundleFile { bytes: b"a".to_vec(), executable: false };
    let program = BundleFile { bytes: b"#!/bin/sh\n".to_vec(), executable: true };
    let mut files =
        vec![("run.sh".to_owned(), &program), ("a/b/c.txt".to_owned(), &plain), ("a/d.txt".to_owned(), &plain)];
    let to = sshd.path("new/folder");
    for _ in 0..2 {
        ssh.upload_directory(&files, &to, &none).await.unwrap();
    }
    assert_eq!((mode(&format!("{to}/run.sh")), mode(&format!("{to}/a/b/c.txt"))), (0o755, 0o644));
    assert!(ssh.is_directory(&to, &none).await.unwrap());
    assert!(!ssh.is_directory(&format!("{to}/run.sh"), &none).await.unwrap());
    assert!(!ssh.is_directory(&format!("{to}/nothing"), &none).await.unwrap());
    std::os::unix::fs::symlink("run.sh", format!("{to}/link")).unwrap();
    std::os::unix::fs::symlink("..", format!("{to}/a/circle")).unwrap();
    let back = ssh.download_directory(&to, LIMITS, &none).await.unwrap();
    let names: Vec<_> = back.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a/b/c.txt", "a/d.txt", "link", "run.sh"]);
    assert_eq!(back[2].1, program.bytes);
    let few = DownloadLimits { files: 3, ..LIMITS };
    assert!(matches!(ssh.download_directory(&to, few, &none).await, Err(CommunicatorError::TooManyFiles { .. })));
    let small = DownloadLimits { bytes: 20, ..LIMITS };
    assert!(matches!(ssh.download_directory(&to, small, &none).await, Err(CommunicatorError::TooLarge { .. })));
    // A file where a folder should be.
    files = vec![("run.sh/x".to_owned(), &plain)];
    let error = ssh.upload_directory(&files, &to, &none).await.unwrap_err().to_string();
    assert!(error.contains("making the folder") && error.contains("a file of that name is there"), "{error}");
}

#[tokio::test]
async fn errors_name_the_path_and_the_reason() {
    let sshd = Sshd::start();
    let ssh = sshd.connect().await;
    let none = CancellationToken::new();
    let error = ssh.upload("/nowhere/at/all", b"", 0o600, &none).await.unwrap_err();
    assert_eq!(error.to_string(), "writing \"/nowhere/at/all\" failed: No such file");
    let folder = sshd.path("");
    let error = ssh.upload(folder.trim_end_matches('/'), b"", 0o600, &none).await.unwrap_err().to_string();
    assert!(error.contains("it is a folder; end the destination with /"), "{error}");
    let error = ssh.download("/nowhere", 10, &none).await.unwrap_err();
    assert!(matches!(error, CommunicatorError::File { missing: true, .. }), "{error:?}");
}

#[tokio::test]
async fn a_machine_without_sftp_says_so() {
    let none = CancellationToken::new();
    for subsystem in ["", "Subsystem sftp /nowhere/sftp-server"] {
        let sshd = Sshd::start_on(free_port(), 100, subsystem);
        let ssh = sshd.connect().await;
        let error = ssh.upload("/tmp/x", b"", 0o600, &none).await.unwrap_err();
        assert_eq!(error, CommunicatorError::NoSftp, "{subsystem:?}");
    }
}
