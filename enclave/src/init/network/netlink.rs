//! An interface's state, address and route, set through rtnetlink(7): a few messages, each answered by a code.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::Ipv4Addr,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use super::dhcp::Lease;

/// Kinds of messages and flags (linux/netlink.h, linux/rtnetlink.h).
const ERROR: u16 = 2;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const REQUEST_AND_ANSWER: u16 = 0x0001 | 0x0004;
const CREATE: u16 = 0x0400;
const REPLACE: u16 = 0x0100;
const HEADER_BYTES: usize = 16;

const FAMILY: u8 = 2; // AF_INET
const UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const MAIN_TABLE: u8 = 254;
const OF_DHCP: u8 = 16;
const UNICAST: u8 = 1;
/// The router is on the link whatever the mask says.
const ON_LINK: u32 = 4;

/// Sets an interface, by its number.
pub(super) struct Netlink {
    socket: File,
    interface: u32,
}

impl Netlink {
    pub(super) fn of(interface: u32) -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self {
            socket: socket.into(),
            interface,
        })
    }

    pub(super) fn up(&mut self) -> io::Result<()> {
        self.ask(NEW_LINK, 0, &link(self.interface))
    }

    /// The lease's address, and the way to its router for everything that is not on the link.
    pub(super) fn set(&mut self, lease: &Lease) -> io::Result<()> {
        self.ask(NEW_ADDRESS, CREATE | REPLACE, &address(self.interface, lease))?;
        match lease.router {
            Some(router) => self.ask(NEW_ROUTE, CREATE | REPLACE, &route(self.interface, router)),
            None => Ok(()),
        }
    }

    /// Takes both away.
    pub(super) fn unset(&mut self, lease: &Lease) -> io::Result<()> {
        if let Some(router) = lease.router {
            self.ask(DELETE_ROUTE, 0, &route(self.interface, router))?;
        }
        self.ask(DELETE_ADDRESS, 0, &address(self.interface, lease))
    }

    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.socket.write_all(&message(kind, flags, body))?;
        let mut answer = [0; 4096];
        let read = self.socket.read(&mut answer)?;
        outcome(answer.get(..read).unwrap_or_default())
    }
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).expect("a message of ours is short");
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST_AND_ANSWER | flags).to_ne_bytes());
    message.extend([0; 8]); // sequence, sender: one message is under way at a time
    message.extend(body);
    message
}

fn attribute(kind: u16, value: [u8; 4]) -> Vec<u8> {
    let mut attribute = 8_u16.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute
}

fn link(interface: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(interface.to_ne_bytes());
    body.extend(UP.to_ne_bytes());
    body.extend(UP.to_ne_bytes()); // which flags change
    body
}

fn address(interface: u32, lease: &Lease) -> Vec<u8> {
    let mut body = vec![FAMILY, lease.prefix, 0, 0];
    body.extend(interface.to_ne_bytes());
    body.extend(attribute(IFA_LOCAL, lease.address.octets()));
    body.extend(attribute(IFA_ADDRESS, lease.address.octets()));
    body
}

fn route(interface: u32, router: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![FAMILY, 0, 0, 0, MAIN_TABLE, OF_DHCP, 0, UNICAST];
    body.extend(ON_LINK.to_ne_bytes());
    body.extend(attribute(RTA_GATEWAY, router.octets()));
    body.extend(attribute(RTA_OIF, interface.to_ne_bytes()));
    body
}

/// The code in the kernel's answer: zero, or an error's negative.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let kind = answer.get(4..6).ok_or_else(malformed)?;
    let code = answer.get(HEADER_BYTES..HEADER_BYTES + 4).ok_or_else(malformed)?;
    if kind != ERROR.to_ne_bytes() {
        return Err(malformed());
    }
    match i32::from_ne_bytes(code.try_into().map_err(|_| malformed())?) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

#[cfg(test)]
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
mod tests {
    use std::process::Command;

    use super::{super::dhcp::a_lease, *};

    #[test]
    fn an_answer_is_zero_an_error_or_nothing_that_is_believed() {
        let answer = |kind: u16, code: i32| {
            let mut answer = message(kind, 0, &code.to_ne_bytes());
            answer.resize(36, 0);
            answer
        };
        assert!(outcome(&answer(ERROR, 0)).is_ok());
        let refused = outcome(&answer(ERROR, -1)).expect_err("EPERM");
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(outcome(&answer(NEW_LINK, 0)).is_err());
        assert!(outcome(&answer(ERROR, i32::MIN)).is_err());
        for length in 0..20 {
            assert!(outcome(&answer(ERROR, 0)[..length]).is_err(), "{length}");
        }
    }

    /// The kernel itself is asked, in a network namespace where only the loopback is there to be set.
    #[test]
    fn the_kernel_sets_what_it_is_told() {
        let this = std::env::current_exe().expect("it runs");
        let name = "init::network::netlink::tests::in_a_namespace_of_its_own";
        let ran = Command::new("unshare")
            .args(["--map-root-user", "--net"])
            .arg(this)
            .args(["--exact", name, "--ignored", "--nocapture"])
            .output();
        match ran {
            Ok(output) if output.status.success() => {
                assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
            }
            Ok(output) if output.stdout.is_empty() => {
                eprintln!("NOT RUN: netlink: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) => eprintln!("NOT RUN: netlink: unshare: {error}"),
        }
    }

    #[test]
    #[ignore = "the_kernel_sets_what_it_is_told runs it where it harms nobody"]
    fn in_a_namespace_of_its_own() {
        let interfaces = std::fs::read_to_string("/proc/net/dev").expect("a file");
        assert_eq!(
            interfaces.lines().count(),
            3,
            "a fresh namespace has the loopback alone: {interfaces}"
        );
        let mut netlink = Netlink::of(1).expect("a socket");
        let lease = a_lease();
        assert!(
            netlink.set(&lease).is_err(),
            "no route over an interface that is down"
        );
        netlink.up().expect("up");
        netlink.set(&lease).expect("set");
        netlink.set(&lease).expect("set again");
        let bound = |address: Ipv4Addr| std::net::TcpListener::bind((address, 0)).is_ok();
        let routes = || std::fs::read_to_string("/proc/net/route").expect("a file");
        assert!(bound(lease.address));
        assert!(routes().contains("lo\t00000000\t01002A0A\t0003"), "{}", routes());
        netlink.unset(&lease).expect("unset");
        assert!(!bound(lease.address));
        assert!(!routes().contains("01002A0A"), "{}", routes());
        assert!(
            Netlink::of(7).expect("a socket").up().is_err(),
            "no such interface"
        );
    }
}
