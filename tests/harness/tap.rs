//! A TCP forwarder that keeps what passes, in both directions: the network's view of the system.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// Forwards connections to `target` and keeps every byte.
pub struct Tap {
    address: SocketAddr,
    captured: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// Listens on a free loopback port. It serves until the process ends.
    pub fn new(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let captured = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&captured);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else {
                    continue;
                };
                let (Ok(client_half), Ok(server_half)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                forward(client, server, Arc::clone(&keep));
                forward(server_half, client_half, Arc::clone(&keep));
            }
        });
        Ok(Self { address, captured })
    }

    /// Where to connect instead of the target.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that has passed so far.
    pub fn captured(&self) -> Vec<u8> {
        self.captured.lock().expect("no holder panics").clone()
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, keep: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            keep.lock()
                .expect("no holder panics")
                .extend_from_slice(&buffer[..read]);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write); // the other side may have closed first
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_kept() {
        let server = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let target = server.local_addr().expect("bound");
        thread::spawn(move || {
            let (mut socket, _) = server.accept().expect("one client");
            let mut request = [0; 4];
            socket.read_exact(&mut request).expect("four bytes");
            socket.write_all(b"pong").expect("written");
        });
        let tap = Tap::new(target).expect("loopback");
        let mut client = TcpStream::connect(tap.address()).expect("the tap listens");
        client.write_all(b"ping").expect("written");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("the server closes");
        assert_eq!(answer, b"pong");
        let kept = tap.captured();
        assert!(kept.windows(4).any(|w| w == b"ping") && kept.windows(4).any(|w| w == b"pong"));
    }
}
