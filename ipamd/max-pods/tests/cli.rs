//! The program as an operator and a bootstrap script call it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

fn max_pods(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_max-pods"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = max_pods(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_flags_of_the_script_as_they_are() {
    for (arguments, expected) in [
        (
            &["--instance-type", "t3.medium", "--cni-version", "1.7.5"][..],
            "17\n",
        ),
        (&["--instance-type", "t3.medium"], "17\n"),
        (
            &[
                "--instance-type",
                "m5.24xlarge",
                "--cni-version",
                "v1.9.0",
                "--show-max-allowed",
            ],
            "737\n",
        ),
        (&["--instance-type", "m5.24xlarge"], "250\n"),
        (
            &[
                "--instance-type",
                "m5.large",
                "--cni-prefix-delegation-enabled",
                "--cni-version",
                "1.9.0",
            ],
            "110\n",
        ),
        (
            &[
                "--instance-type",
                "m5.large",
                "--cni-custom-networking-enabled",
                "--cni-max-eni",
                "1",
            ],
            "2\n",
        ),
        (&["--instance-type", "m5.large,t3.small,c5.large"], "11\n"),
        (
            &["stray", "--instance-type", "m5.large", "--profile", "dev"],
            "29\n",
        ),
    ] {
        assert_eq!(stdout(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn refusals_have_their_exit_code_and_next_step() {
    for (arguments, code, words) in [
        (&[][..], 1, "--instance-type"),
        (&["--instance-type", "m5.lrage"], 3, "did you mean m5.large"),
        (
            &["--instance-type", "m5.large", "--cni-max-eni", "abc"],
            2,
            "--cni-max-eni",
        ),
        (
            &["--instance-type", "m5.large", "--cni-version", "x"],
            2,
            "1.18.3",
        ),
        (&["--instance-type", "m5.large", "--unknown"], 2, "--unknown"),
        (&["--instance-type", "hs1.8xlarge"], 4, "--show-max-allowed"),
        (
            &["--instance-type", "t3.large", "--security-groups-for-pods"],
            4,
            "trunk",
        ),
        (&["--instance-type", "m5.lrage,q9.huge"], 3, "q9.huge"),
    ] {
        let output = max_pods(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(max_pods(&["--help"]).status.success());
}

#[test]
fn every_form_of_output() {
    let one: serde_json::Value =
        serde_json::from_str(&stdout(&["--instance-type", "t3.medium", "--output", "json"])).unwrap();
    assert_eq!(
        (one["instance_type"].as_str(), one["max_pods"].as_u64()),
        (Some("t3.medium"), Some(17))
    );
    let all: serde_json::Value = serde_json::from_str(&stdout(&["--all", "--output", "json"])).unwrap();
    assert!(all.as_array().unwrap().len() > 1400);
    assert!(stdout(&["--all"]).lines().any(|line| line.split_whitespace().eq([
        "t3.medium",
        "17",
        "3",
        "17"
    ])));
    assert!(stdout(&["--instance-type", "t3.medium", "--output", "kubelet"]).ends_with("maxPods: 17\n"));
    let why = stdout(&["--instance-type", "t3.medium", "--explain"]);
    assert!(
        why.contains("3 × (6 − 1) + 2 = 17") && why.contains("2026-11-21"),
        "{why}"
    );
}

/// A metadata service that knows one token and one type, for as many connections as are made.
fn metadata() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap());
        }
    });
    endpoint
}

fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let (status, body) = if request.starts_with("put /latest/api/token") {
        ("200 OK", "token-1")
    } else if request.contains("x-aws-ec2-metadata-token: token-1") {
        ("200 OK", "t3.medium")
    } else {
        ("401 Unauthorized", "")
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

#[test]
fn the_type_comes_from_metadata_when_asked_for() {
    let ask = |endpoint: &str| {
        Command::new(env!("CARGO_BIN_EXE_max-pods"))
            .args(["--instance-type-from-imds", "--instance-type", "m5.large"])
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
            .output()
            .unwrap()
    };
    assert_eq!(String::from_utf8(ask(&metadata()).stdout).unwrap(), "17\n");
    let nobody = ask("http://127.0.0.1:1");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("instance metadata"));
}
