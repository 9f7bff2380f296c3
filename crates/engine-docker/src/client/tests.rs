use engine::Reason;

use super::{reason_of, too_old};

#[test]
fn the_daemon_s_words_become_reasons() {
    let table = [
        (404, "No such image: localhost/none:1", Reason::ImageMissing),
        (403, "Pool overlaps with other one on this address space", Reason::SubnetClash),
        (403, "cannot create network ab (br-ab): conflicts with network cd (br-cd): networks have overlapping IPv4", Reason::SubnetClash),
        (500, "write /var/lib/docker/tmp/x: no space left on device", Reason::DiskFull),
        (500, "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated", Reason::PortTaken),
        (
            400,
            "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"nope\": executable file not found in $PATH: unknown",
            Reason::BadCommand,
        ),
        (400, "runc create failed: unable to start container process: exec: \"/x\": stat /x: no such file or directory: unknown", Reason::BadCommand),
        (400, "OCI runtime create failed: starting container process caused: exec: \"/etc/passwd\": permission denied: unknown", Reason::BadCommand),
        (404, "No such container: a", Reason::NoSuchInstance),
        (403, "Address already in use", Reason::EngineRefused),
        (500, "something else", Reason::EngineRefused),
    ];
    for (status, words, reason) in table {
        assert_eq!(reason_of(status, words), reason, "{words}");
    }
}

#[test]
fn an_old_engine_is_told_what_to_do() {
    let text = too_old(1, 40).to_string();
    assert!(text.contains("1.40") && text.contains("20.10"), "{text}");
}
