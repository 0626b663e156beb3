//! A DHCP client (RFC 2131) that takes an address, its mask and a router, and nothing else: no names, no servers, no
//! routes, no files. Whoever answers is the host; what it says is bounded, and decides only whether the guest is
//! reached.
//!
//! 1. [`Client::message`]: what is sent now. DISCOVER until a server offers; REQUEST to that server until it answers, four
//!    times, then from the beginning; once there is a lease REQUEST to every server, from half of its time on (RFC 2131,
//!    4.4.5: the client's REBINDING, which needs no server's Ethernet address).
//! 2. [`Client::hear`]: what a server said, or why it is not believed.
//! 3. A lease that ends is given back, and everything begins again.
//!
//! Time is an argument; the socket is [`super`]'s.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use super::frame::Mac;

/// Shortest lease that is taken: less would be a renewal after another.
const LEASE_SECONDS_MIN: u32 = 60;
/// A lease is renewed at half of its time, and after this at the latest.
const RENEW_SECONDS_MAX: Duration = Duration::from_secs(12 * 3600);
/// Between two messages: the first, doubling to the last.
const RESEND_MIN: Duration = Duration::from_secs(1);
const RESEND_MAX: Duration = Duration::from_secs(16);
/// Between two messages for a lease that is there (RFC 2131, 4.4.5).
const RESEND_RENEWING: Duration = Duration::from_secs(60);
const REQUESTS_MAX: u32 = 4;
const PREFIX_MIN: u32 = 8;

/// Fields of the fixed part (RFC 2131, figure 1).
const FIXED_BYTES: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Of old BOOTP: some servers answer nothing shorter.
const MESSAGE_BYTES_MIN: usize = 300;
const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: [u8; 2] = [1, 6]; // type and length of an address

/// Options (RFC 2132).
const PAD: u8 = 0;
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const REQUESTED_ADDRESS: u8 = 50;
const LEASE_TIME: u8 = 51;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const WANTED: u8 = 55;
const END: u8 = 255;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// What a server lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
    pub(super) router: Option<Ipv4Addr>,
    seconds: u32,
    server: Ipv4Addr,
}

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not a reply of DHCP.
    Malformed,
    /// It is for another client, or for a message that this one did not send.
    NotAsked,
    /// It is from a server that was not asked.
    OtherServer,
    /// An address that no machine may have.
    Address,
    /// A mask that is none, or too wide.
    Mask,
    /// A router that is no machine, or the client itself.
    Router,
    /// A lease that is too short.
    Time,
}

/// What changes for the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The lease is there, and was not before.
    Bound(Lease),
    /// The same lease, for longer.
    Renewed,
    /// The lease is gone.
    Lost(Lease),
}

pub(super) struct Client {
    mac: Mac,
    exchange: u32,
    state: State,
    /// When there is something to send, or a lease to give back.
    due: Instant,
    resend: Duration,
}

#[derive(Clone, Copy)]
enum State {
    Selecting,
    Requesting { offer: Lease, sent: u32 },
    Bound { lease: Lease, ends: Instant },
}

impl Client {
    /// A client without a lease. `exchange` is a number that servers give back: one that a stranger does not guess.
    pub(super) fn new(mac: Mac, exchange: u32, now: Instant) -> Self {
        Self {
            mac,
            exchange,
            state: State::Selecting,
            due: now,
            resend: RESEND_MIN,
        }
    }

    /// When [`message`](Self::message) is to be called.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The message that is due, its sender's address, and what else has changed by the time.
    pub(super) fn message(&mut self, now: Instant) -> (Vec<u8>, Ipv4Addr, Option<Change>) {
        let mut change = None;
        match self.state {
            State::Bound { lease, ends } if now >= ends => {
                change = Some(Change::Lost(lease));
                self.begin(now);
            }
            State::Requesting { sent, .. } if sent >= REQUESTS_MAX => self.begin(now),
            _ => {}
        }
        let (kind, source, options) = match &mut self.state {
            State::Selecting => (DISCOVER, Ipv4Addr::UNSPECIFIED, Vec::new()),
            State::Requesting { offer, sent } => {
                *sent += 1;
                let address = (REQUESTED_ADDRESS, offer.address);
                (
                    REQUEST,
                    Ipv4Addr::UNSPECIFIED,
                    vec![address, (SERVER, offer.server)],
                )
            }
            State::Bound { lease, .. } => (REQUEST, lease.address, Vec::new()),
        };
        self.due = match self.state {
            State::Bound { ends, .. } => ends.min(now + RESEND_RENEWING),
            _ => now + self.resend,
        };
        self.resend = (self.resend * 2).min(RESEND_MAX);
        (self.write(kind, source, &options), source, change)
    }

    /// Takes what came to the client's port.
    ///
    /// # Errors
    /// Why it is not believed; nothing has changed then.
    pub(super) fn hear(
        &mut self,
        message: &[u8],
        now: Instant,
    ) -> core::result::Result<Option<Change>, Refusal> {
        let reply = Reply::parse(message)?;
        if reply.exchange != self.exchange || reply.mac != self.mac {
            return Err(Refusal::NotAsked);
        }
        match (self.state, reply.kind) {
            (State::Selecting, OFFER) => {
                let offer = reply.lease()?;
                self.state = State::Requesting { offer, sent: 0 };
                self.due = now;
                self.resend = RESEND_MIN;
                Ok(None)
            }
            (State::Requesting { offer, .. }, ACK | NAK) if reply.server != Some(offer.server) => {
                Err(Refusal::OtherServer)
            }
            (State::Requesting { offer, .. }, ACK) => {
                let lease = reply.lease()?;
                if lease.address != offer.address {
                    return Err(Refusal::Address);
                }
                self.keep(lease, now);
                Ok(Some(Change::Bound(lease)))
            }
            (State::Requesting { .. }, NAK) => {
                self.begin(now + RESEND_MIN);
                Ok(None)
            }
            // Any server may renew; with another address, mask or router it would be another lease.
            (State::Bound { lease, .. }, ACK) => {
                let next = reply.lease()?;
                let place = |lease: Lease| (lease.address, lease.prefix, lease.router);
                if place(next) != place(lease) {
                    return Err(Refusal::Address);
                }
                self.keep(next, now);
                Ok(Some(Change::Renewed))
            }
            (State::Bound { lease, .. }, NAK) => {
                self.begin(now + RESEND_MIN);
                Ok(Some(Change::Lost(lease)))
            }
            _ => Err(Refusal::NotAsked),
        }
    }

    fn keep(&mut self, lease: Lease, now: Instant) {
        let seconds = Duration::from_secs(lease.seconds.into());
        self.state = State::Bound {
            lease,
            ends: now + seconds,
        };
        self.due = now + (seconds / 2).min(RENEW_SECONDS_MAX);
        self.resend = RESEND_MIN;
        self.exchange = self.exchange.wrapping_add(1); // what comes twice is for nobody
    }

    fn begin(&mut self, due: Instant) {
        self.state = State::Selecting;
        self.due = due;
        self.resend = RESEND_MIN;
        self.exchange = self.exchange.wrapping_add(1);
    }

    fn write(&self, kind: u8, client: Ipv4Addr, options: &[(u8, Ipv4Addr)]) -> Vec<u8> {
        let mut message = vec![BOOT_REQUEST, ETHERNET[0], ETHERNET[1], 0];
        message.extend(self.exchange.to_be_bytes());
        message.extend([0; 4]); // seconds, flags
        message.extend(client.octets());
        message.extend([0; 12]); // addresses of others
        message.extend(self.mac);
        message.resize(FIXED_BYTES, 0);
        message.extend(COOKIE);
        message.extend([MESSAGE_TYPE, 1, kind]);
        for (option, address) in options {
            message.extend([*option, 4]);
            message.extend(address.octets());
        }
        message.extend([WANTED, 4, MASK, ROUTER, LEASE_TIME, SERVER, END]);
        message.resize(message.len().max(MESSAGE_BYTES_MIN), PAD);
        message
    }
}

/// What is read of a reply.
struct Reply {
    exchange: u32,
    mac: Mac,
    address: Ipv4Addr,
    kind: u8,
    mask: Option<Ipv4Addr>,
    router: Option<Ipv4Addr>,
    seconds: Option<u32>,
    server: Option<Ipv4Addr>,
}

impl Reply {
    fn parse(message: &[u8]) -> core::result::Result<Self, Refusal> {
        Self::fixed(message)
            .and_then(|(reply, options)| reply.with_options(options))
            .ok_or(Refusal::Malformed)
    }

    fn fixed(message: &[u8]) -> Option<(Self, &[u8])> {
        let (fixed, rest) = message.split_at_checked(FIXED_BYTES)?;
        if *fixed.first()? != BOOT_REPLY || fixed.get(1..3)? != ETHERNET {
            return None;
        }
        let reply = Self {
            exchange: number(fixed.get(4..8)?)?,
            address: number(fixed.get(16..20)?)?.into(),
            mac: fixed.get(28..34)?.try_into().ok()?,
            kind: 0,
            mask: None,
            router: None,
            seconds: None,
            server: None,
        };
        Some((reply, rest.strip_prefix(&COOKIE)?))
    }

    /// An option that is read stands once (RFC 3396 would join its parts), and the list has an end. Those in the fields
    /// for names, where option 52 says that there are more, are not read.
    fn with_options(mut self, mut rest: &[u8]) -> Option<Self> {
        loop {
            let (code, after) = rest.split_first()?;
            match *code {
                PAD => {
                    rest = after;
                    continue;
                }
                END => return (self.kind != 0).then_some(self),
                _ => {}
            }
            let (length, after) = after.split_first()?;
            let (value, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            match *code {
                MESSAGE_TYPE if self.kind == 0 && value.len() == 1 => self.kind = *value.first()?,
                MASK if self.mask.is_none() => self.mask = Some(number(value)?.into()),
                // Several in order of preference.
                ROUTER if self.router.is_none() && value.len() % 4 == 0 => {
                    self.router = Some(number(value.get(..4)?)?.into());
                }
                LEASE_TIME if self.seconds.is_none() => self.seconds = Some(number(value)?),
                SERVER if self.server.is_none() => self.server = Some(number(value)?.into()),
                MESSAGE_TYPE | MASK | ROUTER | LEASE_TIME | SERVER => return None,
                _ => {}
            }
        }
    }

    fn lease(&self) -> core::result::Result<Lease, Refusal> {
        let server = self.server.ok_or(Refusal::Malformed)?;
        let seconds = self.seconds.ok_or(Refusal::Malformed)?;
        let mask = self.mask.ok_or(Refusal::Malformed)?;
        let prefix = mask.to_bits().leading_ones();
        if prefix < PREFIX_MIN || mask.to_bits().trailing_zeros() != 32 - prefix {
            return Err(Refusal::Mask);
        }
        if seconds < LEASE_SECONDS_MIN {
            return Err(Refusal::Time);
        }
        // The first and the last address of a network are nobody's (RFC 1122, 3.2.1.3), of two (RFC 3021) or one not.
        let machine = self.address.to_bits() & !mask.to_bits();
        if !is_machine(self.address) || (prefix < 31 && (machine == 0 || machine == !mask.to_bits())) {
            return Err(Refusal::Address);
        }
        if self
            .router
            .is_some_and(|router| !is_machine(router) || router == self.address)
        {
            return Err(Refusal::Router);
        }
        Ok(Lease {
            address: self.address,
            prefix: u8::try_from(prefix).map_err(|_| Refusal::Mask)?,
            router: self.router,
            seconds,
            server,
        })
    }
}

/// An address that one machine may have and others reach.
fn is_machine(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    (1..=223).contains(&first) && !address.is_loopback() && !address.is_link_local()
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// A lease as Compute Engine lends one, with a router outside of its network, for tests of what is done with it.
#[cfg(test)]
pub(super) fn a_lease() -> Lease {
    Lease {
        address: Ipv4Addr::new(10, 42, 0, 4),
        prefix: 32,
        router: Some(Ipv4Addr::new(10, 42, 0, 1)),
        seconds: 3600,
        server: Ipv4Addr::new(10, 42, 0, 1),
    }
}

#[cfg(test)]
pub(super) mod tests;
