//! Runs a discoverer that asks for everything now and then, and tells failures once.

use std::time::Duration;

use tidemark_ingest::discovery::Refresh;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::http::HttpAsk;
use super::mechanisms::Context;
use super::provider::Update;

/// Asks at once, then every `every`; never ends.
pub(super) async fn run(
    mut mechanism: Box<dyn Refresh>,
    ask: HttpAsk,
    every: Duration,
    context: Context,
) {
    let mut ticks = interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complaints = Complaints::new(&context);
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let refreshed = mechanism.refresh(&ask).await;
        context.stats.refreshed(&context, began.elapsed(), refreshed.is_err());
        match refreshed {
            Ok(groups) => {
                complaints.good();
                context.feed.send(Update::All(groups)).await;
            }
            Err(error) => complaints.bad(&error.to_string()),
        }
    }
}

/// Says in the log when something begins to fail, when it fails in another way, and when it works again; not every time.
pub(super) struct Complaints {
    mechanism: &'static str,
    job: String,
    last: Option<String>,
}

impl Complaints {
    /// Of one discoverer.
    pub(super) fn new(context: &Context) -> Self {
        Complaints { mechanism: context.mechanism, job: context.job.clone(), last: None }
    }

    /// It works.
    pub(super) fn good(&mut self) {
        if self.last.take().is_some() {
            tracing::info!(mechanism = self.mechanism, job = self.job, "discovery works again");
        }
    }

    /// It does not, and this is why.
    pub(super) fn bad(&mut self, error: &str) {
        if self.last.as_deref() != Some(error) {
            let (mechanism, job) = (self.mechanism, &self.job);
            tracing::warn!(mechanism, job, error, "discovery fails, targets stay as they were");
            self.last = Some(error.to_owned());
        }
    }
}
