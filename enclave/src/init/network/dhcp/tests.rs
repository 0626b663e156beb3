//! Answers of a server, good and bad, and the times of a lease.

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
