//! What the daemon tells the service manager that started it, if one did: that it serves, that it lives, that it stops.
//!
//! Where no service manager listens nothing is said, and what cannot be said harms nobody but the service manager's picture.

use sd_notify::NotifyState;

/// The daemon serves.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The bell rang: where the unit has a watchdog, it is fed by nothing else.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The daemon was told to stop and finishes what it is at.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
