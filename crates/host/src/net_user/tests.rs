use super::*;

#[test]
fn forwards_are_read_and_written() {
    let check = |text: &str, expected: Option<&str>| {
        let forward = text.parse::<Forward>().ok().map(|forward| forward.to_string());
        assert_eq!(forward.as_deref(), expected, "{text}");
    };
    check("8080:80", Some("127.0.0.1:8080:80"));
    check("0.0.0.0:2222:22", Some("0.0.0.0:2222:22"));
    check("[::1]:2222:22", Some("[::1]:2222:22"));
    for wrong in ["", "80", "80:", ":80", "0:80", "80:0", "80:65536", "x:1:2", "a:b", "1:2:3:4"] {
        check(wrong, None);
    }
}

#[test]
fn frames_are_taken_whole() {
    let check = |bytes: &[u8], expected: Option<&[&[u8]]>, left: usize| {
        let mut bytes = bytes.to_vec();
        let frames = take_frames(&mut bytes);
        let expected = expected.map(|frames| frames.iter().map(|f| f.to_vec()).collect());
        assert_eq!(frames, expected);
        if frames.is_some() {
            assert_eq!(bytes.len(), left);
        }
    };
    check(b"", Some(&[]), 0);
    check(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c", Some(&[b"ab", b"", b"c"]), 0);
    check(b"\0\0\0\x02ab\0\0\0\x02x", Some(&[b"ab"]), 5);
    check(b"\0\0", Some(&[]), 2);
    check(b"\xff\0\0\0", None, 0);
}

fn ethernet(kind: [u8; 2], skip: usize, address: &[u8]) -> Vec<u8> {
    [&[0; 12][..], &kind, &vec![0; skip], address, &[0; 20]].concat()
}

#[test]
fn the_hosts_loopback_is_out_of_reach() {
    let check = |text: &str, expected: bool| {
        let frame = match text.parse().unwrap() {
            IpAddr::V4(address) => ethernet([8, 0], 16, &address.octets()),
            IpAddr::V6(address) => ethernet([0x86, 0xdd], 24, &address.octets()),
        };
        assert_eq!(is_for_loopback(&frame), expected, "{text}");
    };
    for address in ["127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3"] {
        check(address, true);
    }
    for address in ["::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "::ffff:0.0.0.0"] {
        check(address, true);
    }
    for address in ["10.0.0.1", "255.255.255.255", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1"] {
        check(address, false);
    }
    assert!(is_for_loopback(b"short"));
    assert!(is_for_loopback(&ethernet([8, 0], 16, &[])[..31]));
    assert!(!is_for_loopback(&ethernet([8, 6], 0, &[])), "ARP");
}

#[test]
fn nameservers_are_found() {
    let check = |text: &str, expected: &[&str]| {
        let found: Vec<String> = nameservers(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, expected);
    };
    check("# x\nnameserver 127.0.0.53\n nameserver ::1 \nsearch a\n", &["127.0.0.53", "::1"]);
    check("nameserver\nnameserver x\n", &[]);
}

#[test]
fn a_taken_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let forward: Forward = format!("{port}:80").parse().unwrap();
    let error = NetUser::start(&[forward]).unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
}

/// Debian's passt answers a DHCP request over our framing and ends with us.
#[test]
fn passt_gives_a_lease() {
    let mut net = NetUser::start(&[]).unwrap();
    net.send(&dhcp_discover()).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let offer = loop {
        assert!(std::time::Instant::now() < end, "no answer from passt");
        let frames = net.transfer().unwrap();
        if let Some(offer) = frames.into_iter().find(|frame| frame.get(36..38) == Some(&[0, 68])) {
            break offer;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    // The offer's `yiaddr`: 14 bytes Ethernet, 20 IPv4, 8 UDP, 16 into BOOTP.
    assert_ne!(offer[58..62], [0; 4]);
    let pid = net.process.as_ref().unwrap().id();
    drop(net);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

/// RFC 2131's DHCPDISCOVER in UDP, IPv4 and Ethernet, all broadcast.
fn dhcp_discover() -> Vec<u8> {
    let mac = [0x52, 0x54, 0, 1, 2, 3];
    let mut bootp = vec![1, 1, 6, 0, 1, 2, 3, 4];
    bootp.resize(28, 0);
    bootp.extend(mac);
    bootp.resize(236, 0);
    bootp.extend([99, 130, 83, 99, 53, 1, 1, 255]);
    bootp.resize(300, 0);
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    ip[2..4].copy_from_slice(&(328_u16).to_be_bytes());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = [0, 68, 0, 67, 1, 52, 0, 0];
    [&[0xff; 6][..], &mac, &[8, 0], &ip, &udp, &bootp].concat()
}
