//! Keeps one connection to a guest, and one session over it.

use std::{io, net::SocketAddrV4, time::Duration};

use multiplex::lively::Lively;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::streams::Streams;

const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// A guest that starts is found soon; a guest that is not there costs little.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A session that lasted so long was one: the next begins without much waiting.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// What happens to the connection.
pub(crate) enum News {
    /// It is there.
    Connected,
    /// It ended, or was not made; the next attempt comes after the wait.
    Ended {
        /// Why, in words.
        status: String,
        /// The wait.
        wait: Duration,
    },
}

/// Connects, runs a session to its end, waits, and does so again, until it is dropped.
pub(crate) async fn dial(
    streams: &Streams,
    guest: SocketAddrV4,
    connect_seconds_max: Duration,
    mut tell: impl FnMut(News),
) {
    let mut backoff = BACKOFF_MIN;
    loop {
        let begun = Instant::now();
        let ended = match connect(guest, connect_seconds_max).await {
            Ok(connection) => {
                tell(News::Connected);
                streams.run(Lively::new(connection)).await
            }
            Err(error) => Err(error),
        };
        if begun.elapsed() > HEALTHY_AFTER {
            backoff = BACKOFF_MIN;
        }
        tell(News::Ended {
            status: ended.map_or_else(|error| error.to_string(), |()| "closed".to_owned()),
            wait: backoff,
        });
        sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

async fn connect(guest: SocketAddrV4, seconds_max: Duration) -> io::Result<TcpStream> {
    let connection = timeout(seconds_max, TcpStream::connect(guest))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    connection.set_nodelay(true)?;
    Ok(connection)
}
