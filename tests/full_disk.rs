// SPDX-License-Identifier: Apache-2.0
//! The disk is full: clients are told, nothing is half done, and once there is room all is as before.

use slb_lab::site::Site;

/// slb, built by cargo.
const SLB: &str = env!("CARGO_BIN_EXE_slb");

/// More backends than a full disk has room for. Few disks are filled to the last block: the store's own free pages come first.
const BACKENDS: u32 = 20_000;

fn a_full_disk_is_said_and_survived() {
    let site = Site::new(SLB);
    let _web = site.web();
    let state_dir = site.state_dir();
    site.lb.sh(&format!("mkdir -p {state_dir} && mount -t tmpfs -o size=4m tmpfs {state_dir}"));
    let server = site.start(&[]);
    let web = site.balanced(&server);
    site.lb.sh(&format!("! dd if=/dev/zero of={state_dir}/filler bs=4k 2>/dev/null"));
    let (kernel, list) = (site.lb.kernel_state(), server.list());

    let targets: Vec<String> =
        (0..BACKENDS).map(|n| format!(r#"{{"ip":"10.1.{}.{}","port":80}}"#, n / 250, n % 250 + 1)).collect();
    let many = format!(r#"{{"name":"x","port":80,"backends":[{}]}}"#, targets.join(","));
    for _ in 0..2 {
        let response = server.ask("POST", "/loadbalancer", &many);
        assert_eq!(response.status, 507, "{}", response.body);
        assert!(response.body.contains("No space left on device"), "{}", response.body);
    }
    assert_eq!(site.lb.kernel_state(), kernel);
    assert_eq!(server.list(), list);
    assert!(site.get(&web).is_ok());

    site.lb.sh(&format!("rm {state_dir}/filler"));
    let later = server.create(r#"{"name":"later","port":80}"#);
    server.kill();
    let server = site.start(&[]);
    let names: Vec<String> =
        server.list().as_array().into_iter().flatten().map(|each| each["name"].to_string()).collect();
    assert_eq!(names, [r#""web""#, r#""later""#]);
    server.delete(&later);
}

slb_lab::main! { fast: [a_full_disk_is_said_and_survived], user: [a_full_disk_is_said_and_survived] }
