//! The two ways in which clients send: as fast as answers come, and as the clock says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Client, Tally};

/// Each client sends its next request as soon as the one before was answered, for so long.
pub async fn closed<C: Client>(clients: Vec<C>, length: Duration) -> Tally {
    let start = Instant::now();
    let step = clients.len() as u64;
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        tasks.spawn(send_until(client, number as u64, step, start + length));
    }
    let tallies = tasks.join_all().await;
    merged(tallies.iter()).over(start.elapsed())
}

async fn send_until<C: Client>(mut client: C, first: u64, step: u64, end: Instant) -> Tally {
    let mut tally = Tally::default();
    let mut number = first;
    loop {
        let begun = Instant::now();
        if begun >= end {
            return tally;
        }
        tally.add(&client.send(number).await, begun.elapsed());
        number += step;
    }
}

/// Requests are sent at the times of `schedule`, counted from now, by whichever client is free. How long one takes counts from when it was due, so that
/// one that had to wait for a client is not taken for a quick one. Returns a tally for each of `kinds`, of which `kind` tells one by the request's number.
pub async fn paced<C: Client, const KINDS: usize>(
    clients: Vec<C>,
    schedule: impl Iterator<Item = Duration> + Send + 'static,
    kind: impl Fn(u64) -> usize + Copy + Send + 'static,
) -> [Tally; KINDS] {
    let start = Instant::now();
    let due = Arc::new(Mutex::new((0..).zip(schedule)));
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let due = Arc::clone(&due);
        tasks.spawn(async move {
            let mut tallies: [Tally; KINDS] = std::array::from_fn(|_| Tally::default());
            loop {
                let next = due.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((number, at)) = next else { return tallies };
                let at = start + at;
                sleep_until(at).await;
                let outcome = client.send(number).await;
                if let Some(tally) = tallies.get_mut(kind(number)) {
                    tally.add(&outcome, at.elapsed());
                }
            }
        });
    }
    let all = tasks.join_all().await;
    let lasted = start.elapsed();
    std::array::from_fn(|kind| merged(all.iter().map(|tallies| &tallies[kind])).over(lasted))
}

fn merged<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies.fold(Tally::default(), |mut all, tally| {
        all.merge(tally);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow;

    impl Client for Slow {
        async fn send(&mut self, number: u64) -> anyhow::Result<u16> {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(if number == 0 { 503 } else { 200 })
        }
    }

    #[tokio::test]
    async fn clients_send_one_request_after_the_other() {
        let tally = closed(vec![Slow, Slow], Duration::from_millis(50)).await;
        assert!((2..=20).contains(&tally.count()), "{}", tally.count());
        assert_eq!(tally.successes(), tally.count() - 1);
    }

    #[tokio::test]
    async fn a_request_that_waits_for_a_client_takes_as_long_as_it_waited() {
        let schedule = (0..10).map(|_| Duration::from_millis(5));
        let [even, odd] = paced(vec![Slow], schedule, |number| usize::from(number % 2 == 1)).await;
        assert_eq!((even.count(), odd.count()), (5, 5));
        assert!(odd.milliseconds(1.0) >= 49.0, "the last was answered after ten times 5 ms");
    }
}
