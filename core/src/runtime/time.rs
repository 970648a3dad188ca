//! Sleeping and time-outs.

use super::clock::Instant;
use super::context;
use futures_util::future::LocalBoxFuture;
use glommio::timer::Timer;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// A future that is ready once its time has come.
pub struct Sleep(Kind);

enum Kind {
    Real(Timer),
    Simulated(LocalBoxFuture<'static, ()>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Real(timer) => Pin::new(timer).poll(cx).map(|_| ()),
            Kind::Simulated(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

/// The longest sleep, some thirty years: longer ones are cut, so that no sum of times overflows.
const SLEEP_MAX: Duration = Duration::from_secs(1 << 30);

/// Sleeps for `duration` at least.
pub fn sleep(duration: Duration) -> Sleep {
    let duration = duration.min(SLEEP_MAX);
    Sleep(match context::twin() {
        None => Kind::Real(Timer::new(duration)),
        Some(twin) => {
            let deadline = Instant::now() + duration;
            Kind::Simulated(twin.sleep_until(deadline.as_nanos()))
        }
    })
}

/// Sleeps until `deadline`; not at all when it has passed.
pub fn sleep_until(deadline: Instant) -> Sleep {
    sleep(deadline.duration_since(Instant::now()))
}

/// The time ran out first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

/// Awaits `future` for `duration` at most; it is dropped, and so canceled, when the time runs out.
pub async fn timeout<T>(
    duration: Duration,
    future: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    let mut future = pin!(future);
    let mut sleep = sleep(duration);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(value) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| Err(TimedOut))
    })
    .await
}
