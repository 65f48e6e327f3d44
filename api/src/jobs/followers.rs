//! Who waits for changes of which job.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::cache::Key;

/// A channel for each job that somebody follows, and none for the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followers(Arc<Mutex<HashMap<Key, watch::Sender<()>>>>);

impl Followers {
    /// Says that the job changed.
    pub(crate) fn tell(&self, key: &Key) {
        if let Some(channel) = self.lock().get(key) {
            channel.send_replace(());
        }
    }

    /// Hears of all changes of the job from now on.
    pub(crate) fn follow(&self, key: Key) -> Follower {
        let changes = self.lock().entry(key.clone()).or_insert_with(|| watch::channel(()).0).subscribe();
        Follower { followers: self.clone(), key, changes }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who follows a job.
#[derive(Debug)]
pub(crate) struct Follower {
    followers: Followers,
    key: Key,
    changes: watch::Receiver<()>,
}

impl Follower {
    /// Takes note of what happened until now: to be called before the job is looked at.
    pub(crate) fn catch_up(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Ends when the job has changed since.
    pub(crate) async fn changed(&mut self) {
        // The channel lives for as long as this one does.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut channels = self.followers.lock();
        // Nobody but this one: new ones come by the same lock.
        if channels.get(&self.key).is_some_and(|channel| channel.receiver_count() <= 1) {
            channels.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "team".into(), name: name.into() }
    }

    #[tokio::test]
    async fn a_change_is_told_to_all_who_follow_the_job_and_to_no_one_else() {
        let followers = Followers::default();
        let [mut first, mut second, mut other] = ["a", "a", "b"].map(|name| followers.follow(key(name)));
        followers.tell(&key("a"));
        followers.tell(&key("nobody's"));
        assert!(first.changed().now_or_never().is_some());
        assert!(first.changed().now_or_never().is_none(), "told twice");
        assert!(second.changed().now_or_never().is_some());
        assert!(other.changed().now_or_never().is_none());
        followers.tell(&key("a"));
        first.catch_up();
        assert!(first.changed().now_or_never().is_none(), "the job was looked at since");
    }

    #[test]
    fn nothing_is_kept_of_those_who_went_away() {
        let followers = Followers::default();
        let first = followers.follow(key("a"));
        drop(followers.follow(key("a")));
        assert_eq!(followers.lock().len(), 1);
        drop(first);
        assert_eq!(followers.lock().len(), 0);
    }
}
