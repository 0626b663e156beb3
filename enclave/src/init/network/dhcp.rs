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
pub(super) mod tests {
    use super::{super::frame::tests::CLIENT, *};

    const SERVER_ADDRESS: [u8; 4] = [10, 0, 2, 2];

    /// A server that keeps to the letter: it answers what a client of RFC 2131 may send, and panics at the rest.
    pub(in super::super) struct Server {
        address: [u8; 4],
        seconds: u32,
    }

    impl Client {
        /// As if so much time had passed.
        pub(in super::super) fn hurry(&mut self, by: Duration) {
            self.due -= by;
            if let State::Bound { ends, .. } = &mut self.state {
                *ends -= by;
            }
        }
    }

    impl Server {
        pub(in super::super) fn new() -> Self {
            Self {
                address: [10, 0, 2, 15],
                seconds: 3600,
            }
        }

        /// The fields of a reply, each for a test to change.
        fn reply(&self, message: &[u8], kind: u8) -> Written {
            assert_eq!(message[..4], [1, 1, 6, 0], "a request of a client on Ethernet");
            assert!(message.len() >= 300);
            assert_eq!(message[28..34], CLIENT);
            assert_eq!(message[236..240], COOKIE);
            Written {
                head: [2, 1, 6, 0],
                exchange: message[4..8].try_into().expect("four bytes"),
                address: self.address,
                mac: CLIENT,
                options: vec![
                    (MESSAGE_TYPE, vec![kind]),
                    (SERVER, SERVER_ADDRESS.to_vec()),
                    (MASK, vec![255, 255, 255, 0]),
                    (ROUTER, vec![10, 0, 2, 2]),
                    (LEASE_TIME, self.seconds.to_be_bytes().to_vec()),
                ],
            }
        }

        pub(in super::super) fn answer(&self, message: &[u8]) -> Vec<u8> {
            let options = options(message);
            let has = |code: u8, value: &[u8]| options.contains(&(code, value.to_vec()));
            let kind = options.first().expect("the type comes first");
            assert!(has(WANTED, &[MASK, ROUTER, LEASE_TIME, SERVER]));
            match (kind, &message[12..16]) {
                ((MESSAGE_TYPE, kind), [0, 0, 0, 0]) if *kind == [DISCOVER] => {
                    assert_eq!(options.len(), 2);
                    self.reply(message, OFFER).bytes()
                }
                // SELECTING (RFC 2131, 4.3.2).
                ((MESSAGE_TYPE, kind), [0, 0, 0, 0]) if *kind == [REQUEST] => {
                    assert!(has(SERVER, &SERVER_ADDRESS) && has(REQUESTED_ADDRESS, &self.address));
                    self.reply(message, ACK).bytes()
                }
                // REBINDING: neither of the two.
                ((MESSAGE_TYPE, kind), client) if *kind == [REQUEST] => {
                    assert_eq!(client, self.address);
                    assert_eq!(options.len(), 2);
                    self.reply(message, ACK).bytes()
                }
                other => panic!("{other:?}"),
            }
        }
    }

    struct Written {
        head: [u8; 4],
        exchange: [u8; 4],
        address: [u8; 4],
        mac: Mac,
        options: Vec<(u8, Vec<u8>)>,
    }

    impl Written {
        fn bytes(&self) -> Vec<u8> {
            let mut bytes = self.head.to_vec();
            bytes.extend(self.exchange);
            bytes.extend([0; 8]);
            bytes.extend(self.address);
            bytes.extend([0; 8]);
            bytes.extend(self.mac);
            bytes.resize(FIXED_BYTES, 0);
            bytes.extend(COOKIE);
            for (code, value) in &self.options {
                bytes.extend([*code, value.len() as u8]);
                bytes.extend(value);
            }
            bytes.push(END);
            bytes
        }

        fn set(mut self, code: u8, value: &[u8]) -> Self {
            self.options.retain(|(other, _)| *other != code);
            self.options.push((code, value.to_vec()));
            self
        }

        fn without(mut self, code: u8) -> Self {
            self.options.retain(|(other, _)| *other != code);
            self
        }
    }

    fn options(message: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut rest = &message[240..];
        let mut options = Vec::new();
        while rest[0] != END {
            let length = usize::from(rest[1]);
            options.push((rest[0], rest[2..2 + length].to_vec()));
            rest = &rest[2 + length..];
        }
        options
    }

    fn bound(server: &Server, now: Instant) -> (Client, Lease) {
        let mut client = Client::new(CLIENT, 7, now);
        let (discover, source, change) = client.message(now);
        assert_eq!((source, change), (Ipv4Addr::UNSPECIFIED, None));
        assert_eq!(client.hear(&server.answer(&discover), now), Ok(None));
        assert_eq!(client.due(), now, "the request goes at once");
        let (request, ..) = client.message(now);
        let Ok(Some(Change::Bound(lease))) = client.hear(&server.answer(&request), now) else {
            panic!("no lease");
        };
        (client, lease)
    }

    #[test]
    fn a_lease_is_taken_renewed_and_given_back() {
        let now = Instant::now();
        let mut server = Server::new();
        let (mut client, lease) = bound(&server, now);
        assert_eq!(lease.address, Ipv4Addr::new(10, 0, 2, 15));
        assert_eq!(
            (lease.prefix, lease.router),
            (24, Some(Ipv4Addr::new(10, 0, 2, 2)))
        );
        assert_eq!(client.due(), now + Duration::from_secs(1800));

        let later = client.due();
        let (renewal, source, change) = client.message(later);
        assert_eq!((source, change), (lease.address, None));
        assert_eq!(client.due(), later + RESEND_RENEWING, "asked again");
        server.seconds = 600;
        assert_eq!(
            client.hear(&server.answer(&renewal), later),
            Ok(Some(Change::Renewed))
        );
        assert_eq!(
            client.hear(&server.answer(&renewal), later),
            Err(Refusal::NotAsked),
            "once"
        );
        assert_eq!(client.due(), later + Duration::from_secs(300));

        // Nobody answers any more: the lease ends, and the search begins.
        let ends = later + Duration::from_secs(600);
        let mut lost = None;
        while client.due() <= ends {
            let now = client.due();
            let (message, _, change) = client.message(now);
            if change.is_some() {
                assert_eq!(now, ends);
                assert_eq!(options(&message)[0].1, [DISCOVER]);
                lost = change;
            }
        }
        assert!(matches!(lost, Some(Change::Lost(lease)) if lease.address == Ipv4Addr::new(10, 0, 2, 15)));
    }

    #[test]
    fn a_lease_without_end_is_renewed_all_the_same() {
        let now = Instant::now();
        let server = Server {
            seconds: u32::MAX,
            ..Server::new()
        };
        let (client, _) = bound(&server, now);
        assert_eq!(client.due(), now + RENEW_SECONDS_MAX);
    }

    #[test]
    fn an_offer_that_nobody_confirms_is_forgotten_and_waits_grow() {
        let now = Instant::now();
        let server = Server::new();
        let mut client = Client::new(CLIENT, 7, now);
        let (discover, ..) = client.message(now);
        let offer = server.answer(&discover);
        client.hear(&offer, now).expect("an offer");
        let mut kinds = Vec::new();
        let mut waits = Vec::new();
        for _ in 0..10 {
            let at = client.due();
            let (message, ..) = client.message(at);
            kinds.push(options(&message)[0].1[0]);
            waits.push((client.due() - at).as_secs());
        }
        assert_eq!(kinds, [[REQUEST; 4].as_slice(), &[DISCOVER; 6]].concat());
        assert_eq!(waits, [1, 2, 4, 8, 1, 2, 4, 8, 16, 16]);
        assert_eq!(client.hear(&offer, now), Err(Refusal::NotAsked), "an old offer");
    }

    #[test]
    fn a_refused_request_and_a_refused_renewal_begin_again() {
        let now = Instant::now();
        let server = Server::new();
        let mut client = Client::new(CLIENT, 7, now);
        let (discover, ..) = client.message(now);
        client.hear(&server.answer(&discover), now).expect("an offer");
        let (request, ..) = client.message(now);
        let nak = server.reply(&request, NAK);
        let other = server.reply(&request, NAK).set(SERVER, &[10, 0, 2, 3]);
        assert_eq!(client.hear(&other.bytes(), now), Err(Refusal::OtherServer));
        assert_eq!(client.hear(&nak.bytes(), now), Ok(None));
        assert_eq!(
            client.due(),
            now + RESEND_MIN,
            "not at once: a server that always refuses"
        );

        let (mut client, lease) = bound(&server, now);
        let (renewal, ..) = client.message(client.due());
        let nak = server.reply(&renewal, NAK).bytes();
        assert_eq!(client.hear(&nak, now), Ok(Some(Change::Lost(lease))));
    }

    #[test]
    fn each_field_of_a_reply_is_looked_at() {
        let now = Instant::now();
        let server = Server::new();
        let mut client = Client::new(CLIENT, 7, now);
        let (discover, ..) = client.message(now);
        let offer = || server.reply(&discover, OFFER);
        let mut kept: Vec<(&str, Written, Refusal)> = vec![
            ("a request", offer(), Refusal::Malformed),
            ("of Token Ring", offer(), Refusal::Malformed),
            ("with a longer address", offer(), Refusal::Malformed),
            ("for another exchange", offer(), Refusal::NotAsked),
            ("for another client", offer(), Refusal::NotAsked),
            ("without an address", offer(), Refusal::Address),
        ];
        kept[0].1.head = [1, 1, 6, 0];
        kept[1].1.head = [2, 6, 6, 0];
        kept[2].1.head = [2, 1, 16, 0];
        kept[3].1.exchange = [0, 0, 0, 8];
        kept[4].1.mac[5] = 8;
        kept[5].1.address = [0; 4];
        for address in [
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [255; 4],
            [169, 254, 169, 254],
            [10, 0, 2, 0],
            [10, 0, 2, 255],
        ] {
            let mut reply = offer();
            reply.address = address;
            kept.push(("with an address of no machine", reply, Refusal::Address));
        }
        for (what, reply, refusal) in [
            (
                "an ACK first",
                offer().set(MESSAGE_TYPE, &[ACK]),
                Refusal::NotAsked,
            ),
            ("no type", offer().without(MESSAGE_TYPE), Refusal::Malformed),
            (
                "a long type",
                offer().set(MESSAGE_TYPE, &[OFFER, 0]),
                Refusal::Malformed,
            ),
            ("no server", offer().without(SERVER), Refusal::Malformed),
            (
                "a short server",
                offer().set(SERVER, &[10, 0, 2]),
                Refusal::Malformed,
            ),
            ("no mask", offer().without(MASK), Refusal::Malformed),
            (
                "a mask with a hole",
                offer().set(MASK, &[255, 0, 255, 0]),
                Refusal::Mask,
            ),
            ("a mask of all", offer().set(MASK, &[0; 4]), Refusal::Mask),
            (
                "a mask that is too wide",
                offer().set(MASK, &[254, 0, 0, 0]),
                Refusal::Mask,
            ),
            ("no time", offer().without(LEASE_TIME), Refusal::Malformed),
            (
                "a short lease",
                offer().set(LEASE_TIME, &[0, 0, 0, 59]),
                Refusal::Time,
            ),
            (
                "no router in its option",
                offer().set(ROUTER, &[]),
                Refusal::Malformed,
            ),
            (
                "a router and a half",
                offer().set(ROUTER, &[10, 0, 2, 2, 10, 0]),
                Refusal::Malformed,
            ),
            (
                "a router that is the client",
                offer().set(ROUTER, &[10, 0, 2, 15]),
                Refusal::Router,
            ),
            (
                "a router of no machine",
                offer().set(ROUTER, &[0; 4]),
                Refusal::Router,
            ),
        ] {
            kept.push((what, reply, refusal));
        }
        let mut twice = offer();
        twice.options.push((MASK, vec![255, 255, 0, 0]));
        kept.push(("a mask twice", twice, Refusal::Malformed));
        for (what, reply, refusal) in &kept {
            assert_eq!(client.hear(&reply.bytes(), now), Err(*refusal), "{what}");
        }
        let whole = offer().bytes();
        for length in 0..whole.len() {
            assert_eq!(
                client.hear(&whole[..length], now),
                Err(Refusal::Malformed),
                "{length}"
            );
        }
        assert_eq!(
            client.hear(&whole, now),
            Ok(None),
            "and the offer itself is taken"
        );
        assert_eq!(client.hear(&whole, now), Err(Refusal::NotAsked), "once");

        let (request, ..) = client.message(now);
        let mut moved = server.reply(&request, ACK);
        moved.address = [10, 0, 2, 16];
        assert_eq!(
            client.hear(&moved.bytes(), now),
            Err(Refusal::Address),
            "another address"
        );
        let other = server.reply(&request, ACK).set(SERVER, &[10, 0, 2, 3]);
        assert_eq!(client.hear(&other.bytes(), now), Err(Refusal::OtherServer));
    }

    /// Every value of every byte, in every state: taken or refused, and a lease keeps within its bounds.
    #[test]
    fn no_byte_of_a_reply_breaks_the_client() {
        let now = Instant::now();
        let server = Server::new();
        for state in 0..3 {
            let fresh = || {
                let mut client = Client::new(CLIENT, 7, now);
                let mut reply = Vec::new();
                for kind in [OFFER, ACK, ACK].into_iter().take(state + 1) {
                    if !reply.is_empty() {
                        client.hear(&reply, now).expect("taken");
                    }
                    let (message, ..) = client.message(now);
                    reply = server.reply(&message, kind).bytes();
                }
                (client, reply)
            };
            let (_, reply) = fresh();
            for at in 0..reply.len() {
                for value in 0..=u8::MAX {
                    let (mut client, mut reply) = fresh();
                    reply[at] = value;
                    if let Ok(Some(Change::Bound(lease))) = client.hear(&reply, now) {
                        assert!((8..=32).contains(&lease.prefix) && is_machine(lease.address));
                        assert!(client.due() >= now + Duration::from_secs(30));
                    }
                }
            }
        }
    }

    /// Compute Engine lends a network of one, with a router outside of it.
    #[test]
    fn a_network_of_one_and_a_lease_without_a_router_are_taken() {
        let now = Instant::now();
        let server = Server::new();
        for (change, wanted) in [
            (
                server_of_one as fn(Written) -> Written,
                (32, Some(Ipv4Addr::new(10, 42, 0, 1))),
            ),
            (|reply| reply.without(ROUTER), (24, None)),
        ] {
            let mut client = Client::new(CLIENT, 7, now);
            for kind in [OFFER, ACK] {
                let (message, ..) = client.message(now);
                let reply = change(server.reply(&message, kind));
                if let Some(Change::Bound(lease)) = client.hear(&reply.bytes(), now).expect("taken") {
                    assert_eq!((lease.prefix, lease.router), wanted);
                }
            }
        }
        fn server_of_one(reply: Written) -> Written {
            reply.set(MASK, &[255; 4]).set(ROUTER, &[10, 42, 0, 1])
        }
    }
}
